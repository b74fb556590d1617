import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

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
DAY = timedelta(days=1)
CREATED = {"data": {"createUser": {"id": USER, "email": "ann@example.org"}}}


def refusal(error_type: str, message: str, field: str = "createUser") -> dict[str, Any]:
    return {"data": {field: None}, "errors": [{"path": [field], "errorType": error_type, "message": message}]}


EXISTS = refusal("DynamoDB:ConditionalCheckFailedException", "The conditional request failed")
TOMBSTONE = "a soft-deleted row holds this id, so no new one can be created"
NO_VERSIONS = {"data": None, "errors": [{"message": "Validation error of type FieldUndefined: Field '_deleted' ..."}]}


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


@pytest.fixture
def fake() -> Iterator[Fake]:
    fake = Fake(answers=[CREATED])
    server = serve(fake.next)
    fake.url = f"http://127.0.0.1:{server.server_port}/graphql"
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "PAUSE_S", 0.01)


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


@pytest.mark.parametrize(
    "source",
    ["PreSignUp_SignUp", "PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider", "PostConfirmation_ConfirmSignUp"],
)
def test_a_sign_up_creates_the_row_of_its_user(fake: Fake, source: str) -> None:
    lines = run(fake.url, EVENT | {"triggerSource": source})
    ((headers, body),) = fake.calls
    assert headers["x-api-key"] == KEY
    assert body["variables"] == {"input": {"id": USER, "email": "ann@example.org"}}
    assert [(line["level"], line["message"]) for line in lines] == [
        ("INFO", "event received"),
        ("INFO", "row created"),
    ]


@pytest.mark.parametrize("source", ["PostConfirmation_ConfirmForgotPassword", "CustomMessage_SignUp", None])
def test_what_is_not_a_sign_up_is_left_alone(fake: Fake, source: str | None) -> None:
    lines = run(fake.url, EVENT | {"triggerSource": source})
    assert not fake.calls
    assert lines[-1]["message"] == "not a sign-up: nothing to do"


def test_the_first_line_identifies_the_event_and_keeps_the_rest_of_it_out(fake: Fake) -> None:
    first, last = run(fake.url)
    known = {"version", "region", "userPoolId", "userName", "callerContext", "triggerSource"}
    kept = {name: value for name, value in EVENT.items() if name in known}
    assert first["event"] == kept | {"request": {"userAttributes": {"email": "ann@example.org"}}}
    assert first["requestId"] == last["requestId"] == Context().aws_request_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["timestamp"])
    for hidden in ("captcha-value", "invite-value", "+6591234567"):
        assert hidden not in json.dumps([first, last])


def test_a_user_without_an_email_gets_a_row_without_one(fake: Fake) -> None:
    run(fake.url, EVENT | {"request": {"userAttributes": {"phone_number": "+6591234567"}}})
    assert fake.calls[0][1]["variables"] == {"input": {"id": USER}}


SILENT = {
    "expired key": (
        (401, json.dumps({"errors": [{"errorType": "UnauthorizedException", "message": "You are not authorized."}]})),
        "UnauthorizedException",
    ),
    "not authorised": (refusal("Unauthorized", "Not Authorized to access createUser on type User"), "Unauthorized"),
    "nothing came back": ({"data": {"createUser": None}}, "NoRowReturned"),
    "another row came back": ({"data": {"createUser": {"id": "other"}}}, "NoRowReturned"),
    "no data": ({"data": None}, "NoRowReturned"),
    "an error without a type": ({"data": None, "errors": [{"message": "Validation error"}]}, "GraphQLError"),
    "errors that are none": ({"data": None, "errors": ["x", None]}, "NoRowReturned"),
    "errors that are no list": ({"data": None, "errors": 5}, "NoRowReturned"),
    "a list": ([1], "NotGraphQL"),
    "an abyss": ((200, "[" * 100_000), "NotGraphQL"),
    "HTML with 200": ((200, "<html>"), "NotGraphQL"),
    "forbidden": ((403, "<html>"), "Http403"),
    "wrong address": ((404, "{}"), "Http404"),
    "moved": ((301, ""), "Http301"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_failure_that_the_original_kept_silent_is_logged_with_its_reason(fake: Fake, name: str) -> None:
    answer, error_type = SILENT[name]
    fake.answers = [answer]
    line = failure(run(fake.url))
    assert line["errorType"] == error_type
    assert line["signUp"] == "goes on without a row"
    assert len(fake.calls) == 1


@pytest.mark.parametrize("setting", ["raise", " Raise "])
def test_on_failure_raise_refuses_the_sign_up_and_tells_its_user_nothing(fake: Fake, setting: str) -> None:
    fake.answers = [refusal("Unauthorized", "Not Authorized to access createUser on type User")]
    out = io.StringIO()
    with pytest.raises(trigger.SignUpRefused) as refused:
        trigger.sync(EVENT, Context(), environment(fake.url, ON_FAILURE=setting), out)
    assert str(refused.value) == "The sign-up could not be completed. Please try again."
    assert refused.value.__suppress_context__
    assert failure([json.loads(line) for line in out.getvalue().splitlines()])["signUp"] == "refused"


def test_errors_beside_a_row_that_came_back_are_no_failure(fake: Fake) -> None:
    fake.answers = [CREATED | {"errors": [{"errorType": "Unauthorized", "message": "Not Authorized to access email"}]}]
    assert run(fake.url)[-1]["message"] == "row created"


@pytest.mark.parametrize(
    ("look", "level", "message"),
    [
        (row(), "INFO", "row exists"),
        (row(email=" ANN@example.org", _deleted=None), "INFO", "row exists"),
        (row(email="other@example.org"), "WARN", "row exists with another e-mail"),
        (NO_VERSIONS, "INFO", "row exists; it could not be looked at"),
        ({"data": {"getUser": None}}, "INFO", "row exists; it could not be looked at"),
        ((403, ""), "INFO", "row exists; it could not be looked at"),
        (row(_deleted=True), "ERROR", f"Error: no row for this sign-up: {TOMBSTONE}"),
    ],
)
def test_an_existing_row_is_success_and_a_tombstone_is_not(fake: Fake, look: Any, level: str, message: str) -> None:
    fake.answers = [EXISTS, look]
    last = run(fake.url)[-1]
    assert (last["level"], last["message"]) == (level, message)
    assert fake.calls[1][1]["variables"] == {"id": USER}


def drop(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def cut_short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"data": {')
    request.close_connection = True


@pytest.mark.parametrize(
    "hiccup", [(500, "<html>"), (429, "{}"), drop, cut_short, refusal("DynamoDB:ThrottlingException", "slow down")]
)
def test_a_transient_failure_is_tried_again(fake: Fake, hiccup: Any) -> None:
    fake.answers = [hiccup, hiccup, CREATED]
    assert run(fake.url)[-1]["message"] == "row created"
    assert len(fake.calls) == 3


def test_an_answer_that_was_lost_is_found_by_trying_again(fake: Fake) -> None:
    fake.answers = [drop, EXISTS, row()]
    assert run(fake.url)[-1]["message"] == "row exists"


def test_it_gives_up_after_some_attempts(fake: Fake) -> None:
    fake.answers = [(503, "")]
    assert failure(run(fake.url))["errorType"] == "Http503"
    assert len(fake.calls) == trigger.ATTEMPTS


def test_it_does_not_wait_for_an_attempt_that_would_come_too_late(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "PAUSE_S", 3)
    fake.answers = [(503, "")]
    started = time.monotonic()
    assert failure(run(fake.url, remaining_ms=1000))["errorType"] == "Http503"
    assert time.monotonic() - started < 1


def close_after(request: BaseHTTPRequestHandler) -> None:
    text = json.dumps(CREATED).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(text)))
    request.send_header("Connection", "close")
    request.end_headers()
    request.wfile.write(text)


def chunked(request: BaseHTTPRequestHandler) -> None:
    text = json.dumps(CREATED).encode()
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for part in (text[:10], text[10:], b""):
        request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))


@pytest.mark.parametrize("answer", [close_after, chunked])
def test_an_answer_is_read_to_its_end_however_it_is_sent(fake: Fake, answer: Any) -> None:
    fake.answers = [answer]
    assert run(fake.url)[-1]["message"] == "row created"
    assert len(fake.calls) == 1


def stall(seconds: float, after_headers: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        text = json.dumps(CREATED).encode()
        if not after_headers:
            time.sleep(seconds)
        request.send_response(200)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        for byte in text:
            request.wfile.write(bytes([byte]))
            time.sleep(seconds / 10 if after_headers else 0)

    return answer


@pytest.mark.parametrize("after_headers", [False, True])
def test_it_answers_within_its_budget_however_slow_appsync_is(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, after_headers: bool
) -> None:
    monkeypatch.setattr(trigger, "BUDGET_S", 0.5)
    fake.answers = [stall(2, after_headers)]
    started = time.monotonic()
    assert failure(run(fake.url))["errorType"] == "Timeout"
    assert time.monotonic() - started < 1


def test_the_budget_leaves_cognito_a_second(fake: Fake) -> None:
    assert trigger.BUDGET_S == 4


def test_it_answers_before_the_functions_own_time_out(fake: Fake) -> None:
    fake.answers = [stall(2, False)]
    started = time.monotonic()
    assert failure(run(fake.url, remaining_ms=600))["errorType"] == "Timeout"
    assert time.monotonic() - started < 0.6


def test_a_function_that_is_already_out_of_time_says_so_without_a_call(fake: Fake) -> None:
    assert failure(run(fake.url, remaining_ms=100))["errorType"] == "Timeout"
    assert not fake.calls


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(secret + signed.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_spoken_and_the_certificate_checked(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, trusted: bool
) -> None:
    fake = Fake(answers=[CREATED])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(fake.next, context)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate) if trusted else os.devnull)
    trigger._tls.cache_clear()
    last = run(f"https://127.0.0.1:{server.server_port}/graphql")[-1]
    trigger._tls.cache_clear()
    server.shutdown()
    server.server_close()
    assert last["message"] == "row created" if trusted else last["errorType"] == "SSLCertVerificationError"
    assert len(fake.calls) == trusted


def test_a_dead_endpoint_is_named_as_such() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        line = failure(run(f"http://127.0.0.1:{unused.getsockname()[1]}/graphql"))
    assert line["errorType"] == "ConnectionRefusedError"


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": ""}, "names 0 GraphQL APIs"),
        ({"API_TWO_GRAPHQLAPIENDPOINTOUTPUT": "https://x.test/graphql"}, "names 2 GraphQL APIs"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "ftp://x.test"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "http://x.test:port"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "http://[x"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIKEYOUTPUT": KEY + "\nX-Other: 1"}, "characters that no API key has"),
        ({"API_APP_GRAPHQLAPIKEYOUTPUT": "", "REGION": ""}, "no role or region"),
    ],
)
def test_a_wrong_environment_is_a_reason_too(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], reason: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    line = failure(run(fake.url, **environ))
    assert reason in line["message"]
    assert line["errorType"] == "Configuration"
    assert not fake.calls


@pytest.mark.parametrize("event", [{}, {"userName": ""}, {"userName": "x", "request": None}, {"request": []}])
def test_a_malformed_event_is_a_reason_too(fake: Fake, event: dict[str, Any]) -> None:
    fake.answers = [{"data": {"createUser": {"id": "x"}}}]
    lines = run(fake.url, {"triggerSource": "PreSignUp_SignUp"} | event)
    assert lines[-1].get("errorType", "none") == ("none" if event.get("userName") else "MalformedEvent")


def test_the_key_is_blotted_out_of_what_the_service_says(fake: Fake) -> None:
    fake.answers = [(403, json.dumps({"errors": [{"errorType": "Bad", "message": f"unknown key {KEY}"}]}))]
    assert "unknown key ***" in failure(run(fake.url))["message"]


def test_without_a_key_the_call_is_signed_with_the_role(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    role = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_SESSION_TOKEN": "token"}
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    trigger.sync(EVENT, Context(), environment(fake.url, API_APP_GRAPHQLAPIKEYOUTPUT=""), out)
    ((headers, body),) = fake.calls
    assert "x-api-key" not in headers
    assert headers["X-Amz-Security-Token"] == "token"
    sent = {name: headers[name] for name in ("Content-Type", "Host", "X-Amz-Date", "X-Amz-Security-Token")}
    request = AWSRequest("POST", fake.url, sent, json.dumps(body).encode())
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(*role.values()), "appsync", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert "/eu-west-1/appsync/aws4_request" in headers["Authorization"]
    assert "very-secret" not in out.getvalue()


def test_a_role_without_credentials_is_a_reason(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    line = failure(run(fake.url, API_APP_GRAPHQLAPIKEYOUTPUT=""))
    assert line["errorType"] == "Configuration"


TEXT = st.text(st.characters(), max_size=40)  # lone surrogates, line separators and controls included


@settings(deadline=None, max_examples=60)
@given(user=TEXT, email=TEXT, reason=TEXT)
def test_hostile_text_never_breaks_a_log_line(user: str, email: str, reason: str) -> None:
    out = io.StringIO()
    event = EVENT | {"userName": user, "request": {"userAttributes": {"email": email}}, "triggerSource": "Other"}
    trigger.sync(event, Context(), environment(reason), out)
    assert out.getvalue().isascii()
    first, _ = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["event"]["userName"], first["event"]["request"]["userAttributes"]["email"]) == (user, email)


@dataclass
class Runtime:
    """Lambda's Runtime API: gives each event once, then waits, and keeps what comes back."""

    events: list[dict[str, Any]]
    answers: list[tuple[str, Any]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("/invocation/next"):
            self.give(request)
            return
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.answers.append((request.path.rsplit("/", 1)[1], body))
        request.send_response(202)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def give(self, request: BaseHTTPRequestHandler) -> None:
        if not self.events:
            self.done.set()
            time.sleep(60)
            return
        text = json.dumps(self.events.pop(0)).encode()
        request.send_response(200)
        request.send_header("Lambda-Runtime-Aws-Request-Id", f"request-{len(self.answers)}")
        request.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 25_000))
        request.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:f")
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)


def invoke(events: list[dict[str, Any]], environ: dict[str, str], log_format: str) -> tuple[Runtime, str]:
    """Run the events under AWS's own runtime client; return what it answered, and the log."""
    runtime = Runtime(list(events))
    server = serve(runtime.answer)
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "trigger.handler"],
        cwd=Path(trigger.__file__).parent,
        env=os.environ
        | environ
        | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}", "AWS_LAMBDA_LOG_FORMAT": log_format},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert runtime.done.wait(30)
    finally:
        process.kill()
        log, _ = process.communicate()
        server.shutdown()
        server.server_close()
    return runtime, log


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_under_awss_own_runtime_the_event_comes_back_and_the_log_says_why(fake: Fake, log_format: str) -> None:
    fake.answers = [CREATED, (401, "{}")]
    runtime, log = invoke([EVENT, EVENT], environment(fake.url), log_format)
    assert runtime.answers == [("response", EVENT), ("response", EVENT)]
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "INFO", "INFO", "ERROR"]
    assert [line["requestId"] for line in lines] == ["request-0", "request-0", "request-1", "request-1"]
    assert lines[3]["message"].startswith("Error: no row for this sign-up: AppSync answered HTTP 401")


def test_under_awss_own_runtime_a_refused_sign_up_is_an_error_without_a_secret(fake: Fake) -> None:
    fake.answers = [(401, "{}")]
    runtime, log = invoke([EVENT], environment(fake.url, ON_FAILURE="raise"), "Text")
    ((kind, error),) = runtime.answers
    assert kind == "error"
    assert error["errorType"] == "SignUpRefused"
    assert "HTTP 401" in log
    assert "HTTP 401" not in json.dumps(error)
    assert KEY not in log + json.dumps(error)


def test_it_stands_alone_and_a_keyed_call_loads_no_botocore() -> None:
    code = "import sys, trigger; print([m for m in sys.modules if m.split('.')[0] in ('lib', 'botocore', 'boto3')])"
    folder = Path(trigger.__file__).parent
    assert subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True).strip() == "[]"
