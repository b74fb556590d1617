import io
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
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
from trigger_kit import CREATED, EVENT, EXISTS, Context, Fake, environment, failure, refusal, row, run, serve

from lib import trigger

DAY = timedelta(days=1)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake.serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "PAUSE_S", 0.01)


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


def test_the_budget_leaves_cognito_a_second() -> None:
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
