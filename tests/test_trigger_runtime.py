import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from trigger_kit import CREATED, EVENT, KEY, USER, Fake, environment, serve

from lib import trigger
from lib.logparse import invocations


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake.serving() as fake:
        yield fake


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


def platform_lines(log_format: str, request_id: str) -> tuple[str, str]:
    """Return what Lambda itself logs before and after a run."""
    if log_format == "Text":
        told = ["Duration: 24.47 ms", "Billed Duration: 25 ms", "Memory Size: 128 MB", "Max Memory Used: 68 MB", "\n"]
        start = f"START RequestId: {request_id} Version: $LATEST\n"
        return start, "\t".join([f"REPORT RequestId: {request_id}", *told])
    start = {"type": "platform.start", "record": {"requestId": request_id, "version": "$LATEST"}}
    metrics = {"durationMs": 24.466, "billedDurationMs": 25, "memorySizeMB": 128, "maxMemoryUsedMB": 68}
    report = {"type": "platform.report", "record": {"requestId": request_id, "metrics": metrics, "status": "success"}}
    time = {"time": "2026-11-20T06:00:00.000Z"}
    return json.dumps(time | start), json.dumps(time | report)


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_our_own_log_parser_reads_who_it_was_and_why_there_is_no_row(fake: Fake, log_format: str) -> None:
    fake.answers = [(401, json.dumps({"errors": [{"errorType": "UnauthorizedException", "message": "No."}]}))]
    _, log = invoke([EVENT], environment(fake.url), log_format)
    request_id = "8f968149-6b07-48b3-a29c-2868aa6f4be9"
    start, report = platform_lines(log_format, request_id)
    messages = [start, *log.replace("request-0", request_id).splitlines(keepends=True), report]
    events = [
        {
            "logStreamName": "2026/11/20/[$LATEST]12c810ecdde14d54bc0be9d5913a4fe7",
            "timestamp": 1795154400000 + at,
            "ingestionTime": 1795154400500 + at,
            "eventId": f"{4 * 10**55 + at}",
            "message": message,
        }
        for at, message in enumerate(messages)
    ]
    (run,) = invocations(events).to_dict("records")
    assert (run["request_id"], run["outcome"]) == (request_id, "completed")
    assert (run["username"], run["email"], run["trigger_source"]) == (USER, "ann@example.org", "PreSignUp_SignUp")
    assert run["logged_error"] == (
        "Error: no row for this sign-up: AppSync answered HTTP 401 UnauthorizedException: No."
    )
    # A replay takes the event from the log: it holds what createUser needs, and nothing of the log line around it.
    assert set(json.loads(run["event"])) == set(EVENT) - {"response"}


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
