"""A source that answers from a script: source.py SCRIPTS.json CALLS.jsonl

SCRIPTS.json maps a client id to its script; many runs use one server at the same time, each with a client id of its own.
A script is {"answers": {KEY: [[STATUS, BODY, HEADERS?], ...]}, "secret": ..., "form": bool}. KEY is the number of the
page that a request asks for, whatever the protocol calls it ("1" when it names none); "*" stands for every other page.
The answers of a key are given one after the other, the last of them for ever. HEADERS is optional. With a "day", a query
for other days finds nothing.

Every request is a line of CALLS.jsonl: {"client", "method", "path", "query", "body"}. Prints the port it listens on.
"""

import base64
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

QUERY = "/api/v2/analytics/conversations/details/query"
JOBS = "/api/v2/analytics/conversations/details/jobs"


class Script:
    """What one client is answered."""

    def __init__(self, script):
        self.answers = script["answers"]
        self.secret = script.get("secret", "the secret")
        self.form = script.get("form", False)
        self.day = script.get("day")
        self.available = script.get("available", "2026-01-01T00:00:00Z")
        self.given = {}
        self.lock = threading.Lock()

    def answer(self, key):
        with self.lock:
            key = key if key in self.answers else "*"
            given = self.given.get(key, 0)
            self.given[key] = given + 1
        answers = self.answers.get(key) or [[200, "{}"]]
        return answers[min(given, len(answers) - 1)]


def page_asked_for(body):
    """The key of a query's page: a cursor, or a page number of either spelling."""
    if body.get("pageCursor") not in (None, ""):
        return str(body["pageCursor"])
    paging = body.get("paging") or {}
    return str(paging.get("pageNumber") or body.get("pageNumber") or 1)


def leaves_out(body, day):
    """Whether a query's range has nothing of a day."""
    first, _, last = body.get("interval", "/").partition("/")
    first = first or body.get("startTime") or body.get("dateFrom")
    last = last or body.get("endTime") or body.get("dateTo")
    return day is not None and not first[:10] <= day < last


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *_):
        pass

    def send(self, status, body, headers=None):
        data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, status, value):
        self.send(status, json.dumps(value))

    def read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()

    def client(self):
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        name = token.removeprefix("token-of-")
        return name if kind.lower() == "bearer" and name in self.server.scripts else None

    def note(self, client, url, body):
        line = {"client": client, "method": self.command, "path": url.path, "query": url.query, "body": body}
        with self.server.lock:
            self.server.calls.write(json.dumps(line) + "\n")
            self.server.calls.flush()

    def token(self, url):
        form = dict(urllib.parse.parse_qsl(self.read_body()))
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        in_header = kind.lower() == "basic"
        if in_header:
            name, _, secret = base64.b64decode(pair).decode().partition(":")
        self.note(name, url, "header" if in_header else "form")
        script = self.server.scripts.get(name)
        if script is None or secret != script.secret or (script.form and in_header):
            # Some servers say all that they were told.
            said = "client not found: %s with %s by %s" % (name, secret, self.headers.get("Authorization", "a form"))
            self.send_json(400, {"error": "invalid_client", "description": said, "error_description": said})
        else:
            self.send_json(200, {"access_token": "token-of-" + name, "token_type": "bearer", "expires_in": 86400})

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path.endswith("/oauth/token"):
            return self.token(url)
        text = self.read_body()
        client = self.client()
        self.note(client, url, text)
        if client is None:
            return self.send_json(401, {"code": "bad.credentials", "message": "Invalid login credentials."})
        script = self.server.scripts[client]
        if url.path == QUERY:
            body = json.loads(text)
            if leaves_out(body, script.day):
                return self.send_json(200, {"entities": [], "conversations": []})
            return self.send(*script.answer(page_asked_for(body)))
        if url.path == JOBS:
            return self.send_json(202, {"jobId": "job-1"})
        return self.send_json(404, {"code": "not.found", "message": "no such path"})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        client = self.client()
        self.note(client, url, "")
        if client is None:
            return self.send_json(401, {"code": "bad.credentials", "message": "Invalid login credentials."})
        script = self.server.scripts[client]
        if url.path == JOBS + "/availability":
            return self.send_json(200, {"dataAvailabilityDate": script.available})
        if url.path == JOBS + "/job-1":
            return self.send_json(200, {"state": "FULFILLED", "submissionDate": "2025-04-01T00:00:00.000Z"})
        if url.path == JOBS + "/job-1/results":
            cursor = urllib.parse.parse_qs(url.query).get("cursor", ["1"])[0]
            return self.send(*script.answer(cursor))
        return self.send_json(404, {"code": "not.found", "message": "no such path"})

    def do_DELETE(self):
        self.note(self.client(), urllib.parse.urlsplit(self.path), "")
        self.send(204, "")


class Source(ThreadingHTTPServer):
    """All clients' scripts behind one port."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, scripts, calls):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts = {name: Script(script) for name, script in scripts.items()}
        self.calls = calls
        self.lock = threading.Lock()


def main():
    with open(sys.argv[1], encoding="utf-8") as scripts, open(sys.argv[2], "w", encoding="utf-8") as calls:
        source = Source(json.load(scripts), calls)
        print(source.server_address[1], flush=True)
        source.serve_forever()


main()
