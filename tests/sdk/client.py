"""Genesys' own Python SDK against a server that says it is Genesys Cloud: everything that an exporter needs of it.

Prints one JSON object of what came back; asserts what the SDK must have understood.

    client.py FROM TO             dates; the range is at most a week
"""

import json
import os
import sys
import time
from datetime import date, datetime
from functools import partial
from urllib.parse import parse_qs, urlsplit

import PureCloudPlatformClientV2 as sdk
from PureCloudPlatformClientV2.rest import ApiException

# A singleton that has to be told before any client is made; its file watcher would outlive the script.
sdk.configuration.host = os.environ["CONVLAKE_BASE_URL"]
sdk.configuration.live_reload_config = False

CLIENT_ID = os.environ["GENESYSCLOUD_OAUTHCLIENT_ID"]
CLIENT_SECRET = os.environ["GENESYSCLOUD_OAUTHCLIENT_SECRET"]


def status_of(call, *arguments) -> int:
    """The status with which a call is refused."""
    try:
        call(*arguments)
    except ApiException as error:
        return error.status
    raise AssertionError("the call was not refused")


def query_all(api: sdk.ConversationsApi, interval: str) -> list:
    """The details query, page by page until one has no conversations."""
    query = sdk.ConversationQuery()
    query.interval, query.order, query.order_by = interval, "asc", "conversationStart"
    query.paging = sdk.PagingSpec()
    query.paging.page_size, query.paging.page_number = 100, 1
    conversations = []
    while True:
        answer = api.post_analytics_conversations_details_query(query)
        assert answer.total_hits is not None
        if not answer.conversations:
            return conversations
        conversations += answer.conversations
        query.paging.page_number += 1


def job_all(api: sdk.AnalyticsApi, interval: str) -> tuple[list, list[str], int]:
    """A job from submission to the last cursor: conversations, the states it was seen in, pages."""
    body = sdk.AsyncConversationQuery()
    body.interval, body.start_of_day_interval_matching = interval, True
    job = api.post_analytics_conversations_details_jobs(body).job_id
    states = []
    while not states or states[-1] != "FULFILLED":
        state = api.get_analytics_conversations_details_job(job).state
        assert state in ("QUEUED", "PENDING", "FULFILLED"), state
        states += [state] if state not in states else []
        time.sleep(0.1)
    conversations, cursor, pages = [], {}, 0
    while True:
        answer = api.get_analytics_conversations_details_job_results(job, page_size=100, **cursor)
        assert isinstance(answer.data_availability_date, datetime)
        conversations += answer.conversations or []
        pages += 1
        if not answer.cursor:
            return conversations, states, pages
        cursor = {"cursor": answer.cursor}


def numbered(call) -> list:
    """All pages of a list, as its documents page it."""
    entities, number = [], 1
    while True:
        answer = call(page_size=7, page_number=number)
        entities += answer.entities
        if not answer.next_uri:
            assert number == max(answer.page_count, 1) and answer.total == len(entities)
            return entities
        number += 1


def linked(call) -> list:
    """The same of a list that goes on behind a cursor."""
    entities, after = [], {}
    while True:
        answer = call(page_size=2, **after)
        entities += answer.entities
        if not answer.next_uri:
            return entities
        after = {"after": parse_qs(urlsplit(answer.next_uri).query)["after"][0]}


def dimensions(client) -> dict:
    """Ids and names of everything that conversations name by id only."""
    routing = sdk.RoutingApi(client)
    lists = {
        "queues": numbered(routing.get_routing_queues),
        "users": numbered(partial(sdk.UsersApi(client).get_users, state="any")),
        "wrap_up_codes": numbered(routing.get_routing_wrapupcodes),
        "skills": numbered(routing.get_routing_skills),
        "divisions": numbered(sdk.AuthorizationApi(client).get_authorization_divisions),
        "flows": numbered(partial(sdk.ArchitectApi(client).get_flows, deleted=True)),
        "teams": linked(sdk.TeamsApi(client).get_teams),
    }
    return {name: {entity.id: entity.name for entity in entities} for name, entities in lists.items()}


def check_typed(conversation) -> None:
    """Deep enough that a wrong shape on the way would show."""
    assert isinstance(conversation.conversation_start, datetime)
    for participant in conversation.participants:
        assert isinstance(participant.purpose, str)
        for session in participant.sessions:
            assert isinstance(session.media_type, str)
            for metric in session.metrics or []:
                assert isinstance(metric.value, int) and isinstance(metric.emit_date, datetime)
            for segment in session.segments or []:
                assert isinstance(segment.segment_start, datetime) and isinstance(segment.segment_type, str)


def main(start: str, end: str) -> None:
    interval = f"{start}T00:00:00.000Z/{end}T00:00:00.000Z"
    wrong_secret = status_of(sdk.api_client.ApiClient().get_client_credentials_token, CLIENT_ID, "wrong")
    no_token = status_of(
        sdk.AnalyticsApi(sdk.api_client.ApiClient()).get_analytics_conversations_details_jobs_availability
    )
    client = sdk.api_client.ApiClient().get_client_credentials_token(CLIENT_ID, CLIENT_SECRET)
    queried = query_all(sdk.ConversationsApi(client), interval)
    analytics = sdk.AnalyticsApi(client)
    availability = analytics.get_analytics_conversations_details_jobs_availability().data_availability_date
    assert isinstance(availability, datetime)
    from_job, states, pages = job_all(analytics, interval)
    for conversation in queried + from_job:
        check_typed(conversation)
    # A day that the end of the interval only touches is not part of the range.
    queried, from_job = (
        [c for c in found if c.conversation_start.date() < date.fromisoformat(end)] for found in (queried, from_job)
    )
    attributes = sum(len(p.attributes or {}) for c in from_job for p in c.participants)
    print(json.dumps({
        "wrong_secret": wrong_secret,
        "no_token": no_token,
        "dimensions": dimensions(client),
        "query": [c.conversation_id for c in queried],
        "query_type": type(queried[0]).__name__,
        "jobs": [c.conversation_id for c in from_job],
        "jobs_type": type(from_job[0]).__name__,
        "jobs_attributes": attributes,
        "states": states,
        "pages": pages,
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
