"""The API as the two tutorials describe it: server.py SETTINGS.json CALLS.jsonl

Everything here is from their text. One asks with startTime and endTime and follows nextPageCursor; the other asks with
dateFrom and dateTo and counts pages. A client's id says what is special about its answers:

  cursor-in-query, cursor-in-body   the cursor counts only there
  limited                           every third query is answered 429 first, without a header (cursor) or with one (page)
  short                             an interval of more than 7 days is "Invalid Time Range"
  small                             a size of more than 40 is "Invalid PageSize"
  expiring                          a token serves two queries
  denied                            queries are answered 403
  broken                            the second page has no entities
  hollow                            pages are counted, and the first one is empty
  form-only                         the token is given for a form only, and for everybody else by header or form
  statistics, listed                metrics are objects of statistics, or a list of them

Every request is a line of CALLS.jsonl: {"client", "method", "path", "query", "body"}. Prints the port it listens on.
"""

import base64
import datetime
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

QUERY = "/api/v2/analytics/conversations/details/query"
GRAINS = ("hour", "day", "week", "month")
PER_CURSOR_PAGE = 25
FIRST = datetime.datetime(2025, 3, 1, tzinfo=datetime.timezone.utc)
DAYS = 45
A_DAY = 12


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def text_of(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (time.microsecond // 1000)


def world():
    """540 conversations of 45 days, each of a queue and a user."""
    made = []
    for number in range(DAYS * A_DAY):
        start = FIRST + datetime.timedelta(days=number // A_DAY, minutes=110 * (number % A_DAY) + 7)
        made.append({
            "id": "10000000-0000-4000-8000-%012d" % number,
            "start": start,
            "end": start + datetime.timedelta(seconds=60 + number),
            "queue": "20000000-0000-4000-8000-%012d" % (number % 3),
            "user": "30000000-0000-4000-8000-%012d" % (number % 4),
            "skill": "40000000-0000-4000-8000-%012d" % (number % 5),
            "number": number,
        })
    return made


DURATIONS = {"handleDuration": 1000, "talkDuration": 700, "waitDuration": 50, "holdDuration": 30, "wrapupDuration": 20}
RATES = {"offerRate": 0.5, "offerAnswerRate": 0.25, "talkRate": 0.125}


def numbers(conversation, names):
    """The metrics that a query names: durations are milliseconds, rates are fractions, others are counts."""
    number = conversation["number"]
    values = {}
    for name in names:
        if name in DURATIONS:
            values[name] = DURATIONS[name] + number
        elif name in RATES:
            values[name] = RATES[name] + number / 1024
        else:
            values[name] = number
    return values


def metrics_of(conversation, names, client):
    values = numbers(conversation, names)
    stats = {name: {"count": 2, "min": 1, "max": value, "sum": value, "total": value} for name, value in values.items()}
    if client == "listed":
        return [{"metric": name, "stats": value} for name, value in stats.items()]
    if client == "statistics":
        return stats
    return {name: {"total": value} if name in DURATIONS else value for name, value in values.items()}


class Bad(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message, headers=None):
        super().__init__(message)
        self.status, self.body = status, {"status": status, "code": code, "message": message}
        self.headers = headers or {}


def by_cursor(client, body, query):
    start, end = instant(body["startTime"]), instant(body["endTime"])
    longest = datetime.timedelta(days=7 if client == "short" else 30)
    if end - start > longest or start > datetime.datetime.now(datetime.timezone.utc):
        raise Bad(400, "bad.request", "Invalid Time Range")
    if body.get("granularity") not in GRAINS:
        raise Bad(400, "bad.request", "Invalid granularity")
    found = [it for it in WORLD if start <= it["start"] <= end]
    entities = body.get("entities") or []
    if entities:
        found = [it for it in found if any(it[entity["type"]] == entity["id"] for entity in entities)]
    in_query = urllib.parse.parse_qs(query).get("pageCursor", [None])[0]
    in_body = body.get("pageCursor")
    cursor = {"cursor-in-query": in_query, "cursor-in-body": in_body}.get(client, in_query or in_body)
    at = int(base64.b64decode(cursor)) if cursor else 0
    page = found[at:at + PER_CURSOR_PAGE]
    answer = {"entities": [], "totalRecords": len(found), "pageSize": len(page), "nextPageCursor": None}
    for it in page:
        answer["entities"].append({
            "conversationId": it["id"], "startTime": text_of(it["start"]), "endTime": text_of(it["end"]),
            "userId": it["user"], "queueId": it["queue"], "metrics": metrics_of(it, body.get("metrics") or [], client),
        })
    if at + len(page) < len(found):
        answer["nextPageCursor"] = base64.b64encode(str(at + len(page)).encode()).decode()
    return answer


FIELDS = {"queueId": "queue", "userId": "user", "skillId": "skill"}
PATHS = {"queue.id": "queue", "user.id": "user"}


def by_page(client, body):
    start, end = instant(body["dateFrom"]), instant(body["dateTo"])
    size = body.get("size")
    if not isinstance(size, int) or not 1 <= size <= (40 if client == "small" else 1000):
        raise Bad(400, "bad.request", "Invalid PageSize")
    found = [it for it in WORLD if start <= it["start"] <= end]
    for predicate in (body.get("filters") or {}).get("and", []):
        if predicate["operator"] != "in":
            raise Bad(400, "bad.request", "Invalid operator")
        found = [it for it in found if it[PATHS[predicate["path"]]] in predicate["values"]]
    number = body["pageNumber"]
    page = found[(number - 1) * size:number * size]
    if client == "hollow":
        page = []
    answer = {"entities": [], "paging": {"pageNumber": number, "pageSize": len(page),
                                         "pageCount": -(-len(found) // size)}}
    for it in page:
        record = {"conversationId": it["id"], "startTime": text_of(it["start"]), "endTime": text_of(it["end"]),
                  "metrics": metrics_of(it, body.get("metrics") or [], client)}
        record.update({name: it[FIELDS[name]] for name in body.get("groupBy") or [] if name in FIELDS})
        answer["entities"].append(record)
    if client == "broken" and number == 2:
        del answer["entities"]
    return answer


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *_):
        pass

    def send_json(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def note(self, client, url, body):
        line = {"client": client, "method": self.command, "path": url.path, "query": url.query, "body": body}
        with self.server.lock:
            self.server.calls.write(json.dumps(line) + "\n")
            self.server.calls.flush()

    def token(self, url, text):
        form = dict(urllib.parse.parse_qsl(text))
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        in_header = kind.lower() == "basic"
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if in_header:
            name, _, secret = base64.b64decode(pair).decode().partition(":")
        self.note(name, url, "header" if in_header else "form")
        if secret != "the secret" or (in_header and name == "form-only"):
            return self.send_json(401, {"error": "invalid_client", "error_description": "client not found"})
        with self.server.lock:
            self.server.tokens += 1
            token = "%s/%d" % (name, self.server.tokens)
        return self.send_json(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})

    def answer(self, client, token, url, text):
        with self.server.lock:
            count = self.server.counts[client] = self.server.counts.get(client, 0) + 1
            used = self.server.used[token] = self.server.used.get(token, 0) + 1
        body = json.loads(text)
        if client == "expiring" and used > 2:
            raise Bad(401, "bad.credentials", "Invalid login credentials.")
        if client == "denied":
            raise Bad(403, "missing.permissions", "Missing analytics:conversation:details:view")
        if client == "limited" and count % 3 == 2:
            headers = {"Retry-After": "1"} if "dateFrom" in body else {}
            raise Bad(429, "too.many.requests", "Too many requests", headers)
        return by_page(client, body) if "dateFrom" in body else by_cursor(client, body, url.query)

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if url.path == "/oauth/token":
            return self.token(url, text)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        client = token.partition("/")[0]
        self.note(client, url, text)
        if not client:
            return self.send_json(401, {"code": "authentication.required", "message": "No bearer token"})
        if url.path != QUERY:
            return self.send_json(404, {"code": "not.found", "message": "no such path"})
        try:
            return self.send_json(200, self.answer(client, token, url, text))
        except Bad as bad:
            return self.send_json(bad.status, bad.body, bad.headers)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.note(self.headers.get("Authorization", "").removeprefix("Bearer ").partition("/")[0], url, "")
        self.send_json(404, {"code": "not.found", "message": "no such path"})


class Server(ThreadingHTTPServer):
    """All clients behind one port."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, calls):
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls, self.lock = calls, threading.Lock()
        self.counts, self.used, self.tokens = {}, {}, 0


WORLD = world()
if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8") as calls:
        server = Server(calls)
        print(server.server_address[1], flush=True)
        server.serve_forever()
