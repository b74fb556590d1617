"""A scripted AWS on 127.0.0.1: each operation answers what a test scripts for it, good or bad."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import boto3
from botocore.config import Config

from lib.aws.session import Aws
from lib.config import Settings

POOL = "eu-west-1_Pool00001"
HTML = b"<html><body><h1>Service Unavailable</h1></body></html>"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; ``how`` is "", reset (no answer), cut (half the body) or slow (after the client's time-out)."""

    body: bytes = b"{}"
    status: int = 200
    how: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def error(code: str, message: str = "", status: int = 400, **members: Any) -> Answer:
    return Answer(json.dumps({"__type": f"com.amazonaws#{code}", "message": message, **members}).encode(), status)


def page(**members: Any) -> Answer:
    return Answer(json.dumps(members).encode())


def described_table(*keys: tuple[str, str, str]) -> Answer:
    keys = keys or (("id", "HASH", "S"),)
    return page(
        Table={
            "TableName": "User",
            "TableStatus": "ACTIVE",
            "ItemCount": 3,
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind, _ in keys],
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": type_} for name, _, type_ in keys],
        }
    )


def user(name: str, **attributes: str) -> dict[str, Any]:
    return {
        "Username": name,
        "Attributes": [{"Name": key, "Value": value} for key, value in attributes.items()],
        "UserCreateDate": 1694153465.123,
        "UserLastModifiedDate": 1694153466.5,
        "Enabled": True,
        "UserStatus": "CONFIRMED",
    }


def users(*names: str, **members: Any) -> Answer:
    return page(Users=[user(name) for name in names], **members)


Script = Sequence[Answer] | Callable[[dict[str, Any]], Answer]


class ScriptedAws:
    """Answers per operation name (REST: "GET /path"); the last answer of a list is repeated."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self._scripts: dict[str, Script] = {}
        self._lock = threading.Lock()

    def reset(self) -> None:
        self.requests.clear()
        self.headers.clear()
        self._scripts.clear()

    def script(self, operation: str, *answers: Answer) -> None:
        self._scripts[operation] = list(answers)

    def script_by(self, operation: str, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self._scripts[operation] = answer

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [body for name, body in self.requests if name == operation]

    def answer(self, operation: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self._lock:
            self.requests.append((operation, body))
            self.headers.append(headers)
            script = self._scripts.get(operation)
            if script is None:
                return error("UnscriptedException", operation)
            if callable(script):
                return script(body)
            return script.pop(0) if isinstance(script, list) and len(script) > 1 else script[0]


class Hasty(Aws):
    """Gives up after the second attempt and half a second, so that a test of giving up is quick."""

    _shared: ClassVar[dict[Any, boto3.Session]] = {}

    def _opened(self) -> boto3.Session:
        # A session's loaded service models are most of the time that a test takes.
        return self._shared.setdefault(self.settings.credentials, super()._opened())

    @staticmethod
    def _config(endpoint: str | None, retries: dict[str, Any], *read_timeout: int) -> Config:
        # Adaptive retries would slow down every later test of the same client.
        hasty = Config(retries={"mode": "standard", "total_max_attempts": 2}, read_timeout=0.5)
        return Aws._config(endpoint, retries, *read_timeout).merge(hasty)


def settings(url: str, **changed: Any) -> Settings:
    usual: dict[str, Any] = {
        "name": "test",
        "user_pool_id": POOL,
        "region": "eu-west-1",
        "endpoint_url": url,
        "credentials": ("AKIDEXAMPLE", "wJalrXUtnFEMI"),
        "list_users_rps": 1000,
    }
    return Settings(**usual | changed)


@cache
def botocores_own(service: str, url: str) -> Any:
    """Return a plain client, whose answers botocore parses itself."""
    return boto3.client(
        service,
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(proxies={}),
    )


class _Handler(BaseHTTPRequestHandler):
    fake: ScriptedAws
    wbufsize = -1  # one packet an answer: two would wait for each other's acknowledgement
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        target = self.headers.get("x-amz-target")
        operation = target.rpartition(".")[2] if target else f"{self.command} {self.path.partition('?')[0]}"
        body = json.loads(content) if content[:1] == b"{" else {}
        self.deliver(self.fake.answer(operation, body, {name.lower(): value for name, value in self.headers.items()}))

    do_GET = do_POST  # noqa: N815

    def deliver(self, answer: Answer) -> None:
        if answer.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if answer.how == "slow":
            time.sleep(0.8)
        self.send_response(answer.status)
        for name, value in {"x-amzn-requestid": "request-1", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        cut = answer.how == "cut"
        self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        pass

    def finish(self) -> None:
        # The client of a slow answer, and the socket of a reset one, are gone by now.
        with suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()


@contextmanager
def scripted_aws() -> Iterator[ScriptedAws]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake = handler.fake = ScriptedAws(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
