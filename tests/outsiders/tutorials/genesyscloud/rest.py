"""What calls raise."""


class ApiException(Exception):
    """An answer that is no success."""

    def __init__(self, status, reason):
        super().__init__(f"({status}) {reason}")
        self.status, self.reason = status, reason
