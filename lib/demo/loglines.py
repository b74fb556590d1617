"""What the Node trigger and the Lambda platform write to the log, line by line, in the text format."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MEMORY_MB = 128
TIMEOUT_S = 25
_RUNTIME = (
    "nodejs:22.v71\tRuntime Version ARN: arn:aws:lambda:{region}::runtime:"
    "775dab0d220a0b97f3ec34fe1692d7a07b5d13049153b00f03204c9543bd69e4"
)
_ANSWERS = ("autoConfirmUser", "autoVerifyEmail", "autoVerifyPhone")
_EXITS = {
    "exit": ("exit status 1", "Runtime.ExitError"),
    "oom": ("signal: killed", "Runtime.OutOfMemory"),
}
_NO_MODULE = {
    "errorType": "Runtime.ImportModuleError",
    "errorMessage": "Error: Cannot find module 'node-fetch'\nRequire stack:\n- /var/task/index.js",
    "name": "Runtime.ImportModuleError",
    "stack": [
        "Runtime.ImportModuleError: Error: Cannot find module 'node-fetch'",
        "Require stack:",
        "- /var/task/index.js",
        "    at loadModule (file:///var/runtime/index.mjs:575:13)",
        "    at async UserFunctionLoader.load (file:///var/runtime/index.mjs:506:20)",
        "    at async createRuntime (file:///var/runtime/index.mjs:1219:52)",
        "    at async ignition (file:///var/runtime/index.mjs:1635:21)",
    ],
}
_NO_EMAIL = {
    "errorType": "TypeError",
    "errorMessage": "Cannot read properties of undefined (reading 'email')",
    "stack": [
        "TypeError: Cannot read properties of undefined (reading 'email')",
        "    at exports.handler (/var/task/index.js:21:43)",
        "    at BufferedInvokeProcessor.processInvoke (file:///var/runtime/index.mjs:1094:33)",
        "    at file:///var/runtime/index.mjs:1180:98",
    ],
}


@dataclass(frozen=True)
class Line:
    """One log event before it has an id: milliseconds since 1970, and the message."""

    at_ms: int
    message: str


@dataclass(frozen=True)
class Execution:
    """One run of the trigger as the platform sees it.

    ``ending`` is completed, error, timeout, oom, exit, incomplete or init_error; ``init_ms`` is None when the sandbox
    was warm; ``logged`` is an error that the handler caught and printed.
    """

    request_id: str
    started_ms: int
    duration_ms: float
    ending: str = "completed"
    init_ms: float | None = None
    used_mb: int = 70
    logged: str | None = None


def cognito_event(
    *, region: str, pool: str, client: str, username: str, source: str, attributes: Mapping[str, str]
) -> dict[str, Any]:
    """Return the event that Cognito hands to the trigger."""
    return {
        "version": "1",
        "region": region,
        "userPoolId": pool,
        "userName": username,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": client},
        "triggerSource": source,
        "request": {"userAttributes": dict(attributes), "validationData": None},
        "response": dict.fromkeys(_ANSWERS, False) if source.startswith("PreSignUp_") else {},
    }


def execution_lines(run: Execution, event: Mapping[str, Any]) -> list[Line]:
    """Return everything that one run leaves in its stream, in order of time."""
    if run.ending == "init_error":
        return _init_failure(run, str(event["region"]))
    lines = init_lines(run, str(event["region"]))
    lines += [Line(run.started_ms, f"START RequestId: {run.request_id} Version: $LATEST\n")]
    lines += [_said(run, 2, "INFO", "debug cognito EVENT: " + _compact(event))]
    if run.ending == "error":
        lines += [_said(run, 3, "ERROR", "Invoke Error \t" + _compact(_NO_EMAIL))]
    else:
        variables = debug_variables(str(event["userName"]), event["request"]["userAttributes"].get("email"))
        lines += [_said(run, 3, "INFO", "#### debug variables:  " + variables)]
    if run.logged:
        lines += [_said(run, int(run.duration_ms), "ERROR", run.logged)]
    return lines + end_lines(run)


def init_lines(run: Execution, region: str) -> list[Line]:
    """Return the line of a cold start; nothing when the sandbox was warm."""
    if run.init_ms is None:
        return []
    return [
        Line(run.started_ms - int(run.init_ms) - 3, f"INIT_START Runtime Version: {_RUNTIME.format(region=region)}\n")
    ]


def end_lines(run: Execution) -> list[Line]:
    """Return how the platform closes a run; nothing when it never did."""
    if run.ending == "incomplete":
        return []
    at = run.started_ms + math.ceil(run.duration_ms)
    lines, status = [], ""
    if run.ending == "timeout":
        status = "Status: timeout"
        sentence = f"Task timed out after {TIMEOUT_S}.00 seconds"
        lines = [Line(at, f"{_iso(at)} {run.request_id} {sentence}\n\n")]
    elif run.ending in _EXITS:
        how, kind = _EXITS[run.ending]
        status = f"Status: error\tError Type: {kind}"
        lines = [Line(at, f"RequestId: {run.request_id} Error: Runtime exited with error: {how}\nRuntime.ExitError\n")]
    return [*lines, Line(at, f"END RequestId: {run.request_id}\n"), Line(at, _report(run, status))]


def debug_variables(username: str, email: str | None) -> str:
    """Return the input as Node's util.inspect prints it: on one line where it is short enough."""
    entries = [f"id: {_quoted(username)}", f"email: {'undefined' if email is None else _quoted(email)}"]
    # util.inspect (compact 3, breakLength 80) counts 17 around two entries one level in, 13 around the outer one.
    if sum(map(len, entries)) + 17 > 80:
        return "{\n  input: {\n    " + ",\n    ".join(entries) + "\n  }\n}"
    inner = "input: { " + ", ".join(entries) + " }"
    return f"{{ {inner} }}" if len(inner) + 13 <= 80 else "{\n  " + inner + "\n}"


def _init_failure(run: Execution, region: str) -> list[Line]:
    """Return an init failure as Node writes it: twice, before the START it belongs to, with no usable request id."""
    init = run.init_ms or 280.0
    first = run.started_ms - 1000
    lines = [Line(first - int(init), _init_start(region))]
    for at, phase, took in ((first, "init", init), (run.started_ms - 60, "invoke", run.duration_ms)):
        lines += [Line(at, f"{_iso(at)}\t-\tERROR\tInit Error \t{_compact(_NO_MODULE)}\n")]
        lines += [Line(at + 30, message) for message in _crash()]
        status = f"Phase: {phase}\tStatus: error\tError Type: Runtime.ImportModuleError"
        lines += [Line(at + 55, f"INIT_REPORT Init Duration: {took:.2f} ms\t{status}\n")]
    at = run.started_ms
    lines += [Line(at, f"START RequestId: {run.request_id} Version: $LATEST\n")]
    lines += [Line(at, f"END RequestId: {run.request_id}\n")]
    return [*lines, Line(at, _report(run, "Status: error\tError Type: Runtime.ImportModuleError"))]


def _init_start(region: str) -> str:
    return f"INIT_START Runtime Version: {_RUNTIME.format(region=region)}\n"


def _crash() -> list[str]:
    stack = [f"{text}\n" for text in _NO_MODULE["stack"][1:]]
    return [
        "node:internal/process/promises:394\n",
        "    triggerUncaughtException(err, true /* fromPromise */);\n",
        "    ^\n",
        "\n",
        "ImportModuleError [Runtime.ImportModuleError]: Error: Cannot find module 'node-fetch'\n",
        *stack,
        "\n",
        "Node.js v22.23.3\n",
    ]


def _report(run: Execution, status: str) -> str:
    cold = run.init_ms if run.ending != "init_error" else None
    fields = [
        f"REPORT RequestId: {run.request_id}",
        f"Duration: {run.duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(run.duration_ms + (cold or 0))} ms",
        f"Memory Size: {MEMORY_MB} MB",
        f"Max Memory Used: {run.used_mb} MB",
        *([f"Init Duration: {cold:.2f} ms"] if cold is not None else []),
    ]
    return "\t".join([*fields, f"{status}\n"])


def _said(run: Execution, after_ms: int, level: str, text: str) -> Line:
    at = run.started_ms + after_ms
    return Line(at, f"{_iso(at)}\t{run.request_id}\t{level}\t{text}\n")


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _quoted(text: str) -> str:
    # util.inspect prefers '...', then "...", then `...`, whichever needs no escape.
    quote = next((quote for quote in "'\"`" if quote not in text), "'")
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return quote + (escaped.replace("'", "\\'") if quote == "'" else escaped) + quote


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
