"""The call."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

from genesyscloud.rest import ApiException

PATH = "/api/v2/analytics/conversations/details/query"


def camel(name):
    return re.sub("_(.)", lambda match: match[1].upper(), name)


def snake(name):
    return re.sub("([A-Z])", lambda match: "_" + match[1].lower(), name)


class Answer:
    """An object of an answer: members by the names that the SDK gives them; dictionaries of metrics as they come."""

    def __init__(self, members):
        self.raw = members
        for name, value in members.items():
            if name == "entities":
                value = [Answer(entity) for entity in value]
            setattr(self, snake(name), value)


class AnalyticsApi:
    """The analytics API of a client."""

    records = []

    def __init__(self, client=None):
        self.client = client

    def post_analytics_conversations_details_query(self, body, page_cursor=None):
        query = "?" + urllib.parse.urlencode({"pageCursor": page_cursor}) if page_cursor else ""
        data = json.dumps({camel(name): value for name, value in vars(body).items()}).encode()
        headers = {"Authorization": self.client.authorization(), "Content-Type": "application/json"}
        request = urllib.request.Request(self.client.base + PATH + query, data, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return Answer(json.load(answer))
        except urllib.error.HTTPError as error:
            raise ApiException(error.code, error.reason) from error
