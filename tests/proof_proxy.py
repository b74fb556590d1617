"""An HTTP proxy between a process under test and its world: it breaks calls, kills the caller, and bears witness.

What it records of a write is the row before and after it, read from the table itself while no other write goes on:
neither the answer nor the journal is taken for it.
"""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from lib.repair.step import SERVICE_SET

Item = dict[str, Any]

WRITES = ("PutItem", "UpdateItem", "DeleteItem", "createUser", "updateUser", "deleteUser")
_PASSED_ON = ("x-amz-target", "content-type", "authorization", "x-api-key", "x-amz-date", "x-amz-content-sha256")


@dataclass(frozen=True)
class Call:
    """One request of the process under test, as far as a fate depends on it."""

    service: str  # cognito-idp | dynamodb | appsync | other
    operation: str
    row_id: str | None
    point: str  # account read | row read | write | read back | other


@dataclass(frozen=True)
class Write:
    """What one write did to one row, and who asked for it."""

    by: str  # us | app
    operation: str
    row_id: str
    before: Item | None
    after: Item | None

    @property
    def effective(self) -> bool:
        """Whether the app can tell: a version that AUTOMERGE counted up on its own is no effect."""
        return application(self.before) != application(self.after)


@dataclass(frozen=True)
class Fate:
    """What becomes of one call. In this order: ``app`` acts, ``fault`` befalls it, ``kill`` ends the caller.

    ``fault``: throttled, 500 before, 500 after, dropped before, dropped after, delayed, expired.
    ``kill``: `lost` before it is forwarded, which it never is; `late` before, and it is forwarded all the same;
    `unheard` after it was forwarded, without an answer; `heard` right after the answer.
    """

    fault: str | None = None
    kill: str | None = None
    app: Callable[[], None] | None = None
    seconds: float = 0


Fates = Callable[[Call], Fate]


def application(item: Item | None) -> Item | None:
    """Return what of a row is the app's own; None for no row and for a soft-deleted one."""
    if item is None or item.get("_deleted") == {"BOOL": True}:
        return None
    return {name: value for name, value in item.items() if name not in SERVICE_SET}


@dataclass
class Witness:
    """Every write that reached the table through the proxy or by the app, in its order."""

    image: Callable[[str], Item | None]
    writes: list[Write] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def watched(self, by: str, operation: str, row_id: str, write: Callable[[], Any]) -> Any:
        """Do one write while no other goes on, and record what it did."""
        with self._lock:
            before = self.image(row_id)
            answer = write()
            self.writes.append(Write(by, operation, row_id, before, self.image(row_id)))
        return answer


class Proxy:
    """Answers on 127.0.0.1 with what the world answers, unless ``fates`` has it otherwise.

    ``table_url`` is where DynamoDB's own calls go, when that is not the world's address.
    """

    def __init__(self, upstream: str, witness: Witness, table_url: str | None = None) -> None:
        self.upstream = upstream
        self.table_url = table_url or upstream
        self.witness = witness
        self.fates: Fates = lambda _call: Fate()
        self.kill: Callable[[], None] = lambda: None
        self.faults: list[str] = []
        self.written: set[str] = set()
        self._under_way = 0
        self._idle = threading.Condition()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        serve = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        serve.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def drained(self) -> None:
        """Wait until no call is under way any more, those of the dead included."""
        with self._idle:
            assert self._idle.wait_for(lambda: not self._under_way, timeout=30)

    def carry(self, call: Call, forward: Callable[[], "Answer"], answer: Callable[["Answer | None"], None]) -> None:
        """Take one call to its end."""
        with self._idle:
            self._under_way += 1
        try:
            self._carry(call, forward, answer)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _carry(self, call: Call, forward: Callable[[], "Answer"], answer: Callable[["Answer | None"], None]) -> None:
        fate = self.fates(call)
        if fate.app:
            fate.app()
        if fate.fault:
            self.faults.append(fate.fault)
        if fate.kill in ("lost", "late"):
            self.kill()
        if fate.fault == "delayed" or fate.kill == "late":
            threading.Event().wait(fate.seconds)
        if fate.kill == "lost" or fate.fault == "dropped before":
            return answer(None)
        if fate.fault in ("throttled", "500 before", "expired"):
            return answer(_refusal(call, fate.fault))
        found = self._forwarded(call, forward)
        if fate.kill == "unheard":
            self.kill()
        if fate.kill in ("late", "unheard") or fate.fault == "dropped after":
            return answer(None)
        answer(_refusal(call, fate.fault) if fate.fault == "500 after" else found)
        if fate.kill == "heard":
            threading.Event().wait(fate.seconds)
            self.kill()
        return None

    def _forwarded(self, call: Call, forward: Callable[[], "Answer"]) -> "Answer":
        if call.operation not in WRITES or call.row_id is None:
            return forward()
        self.written.add(call.row_id)
        found: Answer = self.witness.watched("us", call.operation, call.row_id, forward)
        return found

    def call(self, path: str, target: str, body: bytes) -> Call:
        """Return what a request asks for."""
        service, _, operation = target.rpartition(".")
        if path == "/graphql":
            return self._graphql(json.loads(body))
        if service.startswith("DynamoDB"):
            return self._dynamodb(operation, json.loads(body))
        if operation == "AdminGetUser":
            return Call("cognito-idp", operation, None, "account read")
        return Call("other", operation or path, None, "other")

    def _graphql(self, asked: dict[str, Any]) -> Call:
        query, given = str(asked["query"]), asked.get("variables") or {}
        operation = next((name for name in WRITES[3:] if name in query), "query")
        row_id = (given.get("input") or given).get("id")
        read = self._read(row_id) if row_id else "other"
        return Call("appsync", operation, row_id, "write" if operation in WRITES else read)

    def _dynamodb(self, operation: str, asked: dict[str, Any]) -> Call:
        row_id = (asked.get("Key") or asked.get("Item") or {}).get("id", {}).get("S")
        if operation in WRITES:
            return Call("dynamodb", operation, row_id, "write")
        return Call("dynamodb", operation, row_id, self._read(row_id) if operation == "GetItem" else "other")

    def _read(self, row_id: str | None) -> str:
        return "read back" if row_id in self.written else "row read"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Iterable[tuple[str, str]]
    body: bytes


def _refusal(call: Call, fault: str) -> Answer:
    if fault.startswith("500"):
        code, status = "InternalServerError", 500
    elif fault == "throttled":
        code = "ProvisionedThroughputExceededException" if call.service == "dynamodb" else "TooManyRequestsException"
        status = 429 if call.service == "appsync" else 400
    else:
        code, status = "ExpiredTokenException", 400
        if call.service == "appsync":
            code, status = "UnauthorizedException", 401
    content = {"__type": code, "message": "told to", "errors": [{"errorType": code, "message": "told to"}]}
    return Answer(status, [("content-type", "application/x-amz-json-1.0")], json.dumps(content).encode())


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        call = self.proxy.call(self.path, self.headers.get("x-amz-target") or "", body)
        self.proxy.carry(call, lambda: self._forward(call, body), self._deliver)

    do_GET = do_POST  # noqa: N815

    def _forward(self, call: Call, body: bytes) -> Answer:
        url = self.proxy.table_url if call.service == "dynamodb" else self.proxy.upstream
        upstream = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        sent = {name: value for name in _PASSED_ON if (value := self.headers.get(name))}
        try:
            upstream.request(self.command, self.path, body, sent)
            found = upstream.getresponse()
            return Answer(found.status, found.getheaders(), found.read())
        finally:
            upstream.close()

    def _deliver(self, answer: Answer | None) -> None:
        """Send the answer; None drops the connection."""
        # Whoever asked may be dead by now.
        with suppress(OSError, ValueError):
            if answer is None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("server", "date", "connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()
