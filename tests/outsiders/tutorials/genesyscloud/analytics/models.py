"""What is asked."""


class AnalyticsConversationDetailQuery:
    """A query: members are set one by one."""
