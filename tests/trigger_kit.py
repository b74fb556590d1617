"""A fake AppSync on loopback, and one run of the trigger against it."""

import io
import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lib import trigger

KEY = "da2-abcdefghijklmnopqrstuvwxyz"
USER = "297a252c-a061-4b6b-a0ef-2a1b4f0d3c11"
EVENT = {
    "version": "1",
    "region": "ap-southeast-1",
    "userPoolId": "ap-southeast-1_hKnIMMR91",
    "userName": USER,
    "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "client"},
    "triggerSource": "PreSignUp_SignUp",
    "request": {
        "userAttributes": {"email": "ann@example.org", "phone_number": "+6591234567"},
        "validationData": {"captcha": "captcha-value"},
        "clientMetadata": {"invite": "invite-value"},
    },
    "response": {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
}
CREATED = {"data": {"createUser": {"id": USER, "email": "ann@example.org"}}}


def refusal(error_type: str, message: str, field: str = "createUser") -> dict[str, Any]:
    return {"data": {field: None}, "errors": [{"path": [field], "errorType": error_type, "message": message}]}


EXISTS = refusal("DynamoDB:ConditionalCheckFailedException", "The conditional request failed")


def row(**values: Any) -> dict[str, Any]:
    return {"data": {"getUser": {"id": USER, "email": "ann@example.org"} | values}}


@dataclass
class Fake:
    """AppSync as one list of answers: a body with 200, a (status, text), or a function that does what it likes."""

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    calls: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)

    def next(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.calls.append((request.headers, json.loads(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer(request)
            return
        status, text = answer if isinstance(answer, tuple) else (200, json.dumps(answer))
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text.encode())

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator["Fake"]:
        fake = cls(answers=[CREATED])
        server = serve(fake.next)
        fake.url = f"http://127.0.0.1:{server.server_port}/graphql"
        yield fake
        server.shutdown()
        server.server_close()


def serve(
    answer: Callable[[BaseHTTPRequestHandler], None], context: ssl.SSLContext | None = None
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        do_GET = do_POST = lambda self: answer(self)  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            assert isinstance(sys.exception(), OSError)

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@dataclass
class Context:
    aws_request_id: str = "8f968149-6b07-48b3-a29c-2868aa6f4be9"
    remaining_ms: int = 25_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def environment(url: str, **others: str) -> dict[str, str]:
    return {"API_APP_GRAPHQLAPIENDPOINTOUTPUT": url, "API_APP_GRAPHQLAPIKEYOUTPUT": KEY, "REGION": "eu-west-1"} | others


def run(url: str, event: dict[str, Any] = EVENT, remaining_ms: int = 25_000, **environ: str) -> list[dict[str, Any]]:
    """Run one invocation that lets the sign-up go on, and return its log lines."""
    out = io.StringIO()
    before = json.dumps(event)
    assert trigger.sync(event, Context(remaining_ms=remaining_ms), environment(url, **environ), out) is event
    assert json.dumps(event) == before
    assert KEY not in out.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def failure(lines: list[dict[str, Any]]) -> dict[str, Any]:
    (line,) = [line for line in lines if line["level"] == "ERROR"]
    assert line["message"].startswith("Error: no row for this sign-up: ")
    return line
