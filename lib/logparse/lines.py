"""What one log event says, by itself: its kind, the request it belongs to, and its body.

Every form is anchored to the whole message, because any part of it may be a user's own words.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from lib.logparse.decode import cut_string, dumps, first_fields, loads

START, END, REPORT, DONE, TIMED_OUT, EXITED, APP, ERROR, INIT_START, INIT_REPORT, NOTE, WHOLE = range(12)
"""Kinds of lines: the platform's; the application's with its request id (APP); an uncaught error without one (ERROR);
anything else (NOTE); all lines of a run at once (WHOLE)."""


Line = tuple[int, str | None, int, Any, str]
"""One classified event: kind, request id, epoch milliseconds, a body that depends on the kind, the application's level.

A bare tuple, for there are millions of them.
"""


class Fault(NamedTuple):
    """An error as the log tells it, either part "" where it does not.

    ``uncaught`` is None where its form does not say whether the handler logged it or the runtime.
    """

    type: str
    message: str
    uncaught: bool | None = True


class Report(NamedTuple):
    """The figures and the verdict of a REPORT, in either format."""

    status: str | None = None
    error_type: str | None = None
    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: int | None = None
    max_memory_mb: int | None = None
    init_ms: float | None = None
    phase: str | None = None


_ID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
REQUEST_ID = re.compile(_ID)
_TIMED_OUT = re.compile(rf"\S+Z ({_ID}) (Task timed out after [\d.]+ seconds)\s*")
_EXITED = re.compile(rf"RequestId: ({_ID}) (?:Error: )?((?:Runtime|Process) exited [^\n]*)\s*(?:Runtime\.\w+\s*)?")
# Without the telemetry descriptor the runtime writes \r where it would write \n.
_TRACEBACK = re.compile(r"\[ERROR\] ([\w.]+)(?:: (.*?))?[\r\n]Traceback \(most recent call last\):.*", re.DOTALL)
_PLAIN_REPORT = re.compile(
    r"Duration: ([0-9.]+) ms\tBilled Duration: ([0-9]+) ms\tMemory Size: ([0-9]+) MB\tMax Memory Used: ([0-9]+) MB\t"
    r"(?:Init Duration: ([0-9.]+) ms\t)?\n?"
)
_CUT_RECORD = re.compile(
    r'\{"timestamp": ?"[^"]*", ?"level": ?"([A-Z]+)", ?(?:"requestId": ?"([^"]*)", ?)?"message": ?"(.*)', re.DOTALL
)
_MAX_FIGURE = 2**53
_UNCAUGHT = ("Invoke Error \t", "Init Error \t", "Uncaught Exception \t", "Unhandled Promise Rejection \t")


def classify(message: str, at: int) -> Line:
    """Return what a message says; ``at`` is its time in epoch milliseconds."""
    return _BY_FIRST.get(message[:1], _note)(message, at)


def report(body: Any) -> Report:
    """Return the figures of a REPORT, INIT_REPORT or DONE line's body."""
    if not isinstance(body, str):
        return _report_of_record(body)
    plain = _PLAIN_REPORT.fullmatch(body)
    if plain:
        duration, billed, memory, used, init = plain.groups()
        figures = float(duration), float(billed), int(memory), int(used), float(init) if init else None
        return Report._make((None, None, *figures, None))
    return _report_of_text(body)


def fault(level: str, body: Any) -> Fault | None:
    """Return the error that an application line reports in a form of the runtime's own, if it does."""
    if isinstance(body, dict):
        return _fault_of_record(body)
    if level == "ERROR" and body.startswith(_UNCAUGHT):
        text = body.partition("\t")[2]
        told = _object(text) or first_fields(text, stop="stack")
        return Fault(_text(told.get("errorType")) or "", _text(told.get("errorMessage")) or "")
    return None


def text_of(body: Any) -> str:
    """Return an application line's own words: in JSON its ``message``, in text all of it."""
    if isinstance(body, str):
        return body.rstrip("\r\n")
    message = body.get("message")
    if isinstance(message, str):
        return message
    named = _fault_of_record(body)
    if named:
        return f"{named.type}: {named.message}"
    return "" if message is None else dumps(message)


def _note(message: str, at: int) -> Line:
    return NOTE, None, at, message, ""


def _start(message: str, at: int) -> Line:
    if message.startswith("START RequestId: ") and message[53:63] == " Version: " and "\n" not in message[63:-1]:
        return START, message[17:53], at, None, ""
    return _note(message, at)


def _end(message: str, at: int) -> Line:
    if message.startswith("END RequestId: ") and message[51:] in ("\n", ""):
        return END, message[15:51], at, None, ""
    return _note(message, at)


def _report(message: str, at: int) -> Line:
    if message.startswith("REPORT RequestId: ") and message[54:55] == "\t":
        return REPORT, message[18:54], at, message[55:], ""
    exited = _EXITED.fullmatch(message)
    return (EXITED, exited[1], at, exited[2], "") if exited else _note(message, at)


def _init(message: str, at: int) -> Line:
    if message.startswith("INIT_START Runtime Version: "):
        return INIT_START, None, at, None, ""
    if message.startswith("INIT_REPORT Init Duration: "):
        return INIT_REPORT, None, at, message[17:], ""
    return _note(message, at)


def _timed(message: str, at: int) -> Line:
    """Node's application line, ``time TAB id TAB level TAB text``, or the platform's time-out sentence."""
    if message[23:25] == "Z\t" and message[61:62] == "\t" and (end := message.find("\t", 62)) > 0:
        return APP, message[25:61], at, message[end + 1 :], message[62:end]
    timed_out = _TIMED_OUT.fullmatch(message)
    if timed_out:
        return TIMED_OUT, timed_out[1], at, timed_out[2], ""
    parts = message.split("\t", 3)
    if len(parts) == 4 and parts[1] in ("-", "undefined", ""):
        return _without_id(parts[3], parts[2], at)
    return _note(message, at)


def _bracket(message: str, at: int) -> Line:
    """Python's application line, ``[level] TAB time TAB id TAB text``, or its runtime's traceback."""
    level, _, rest = message.partition("]\t")
    if rest[23:25] == "Z\t" and rest[61:62] == "\t":
        return APP, rest[25:61], at, rest[62:], level[1:]
    traceback = _TRACEBACK.fullmatch(message)
    if traceback:
        return ERROR, None, at, Fault(traceback[1], traceback[2] or ""), ""
    return _note(message, at)


def _without_id(body: Any, level: str, at: int) -> Line:
    named = fault(level, body)
    if named and level == "ERROR":
        return ERROR, None, at, named, ""
    return NOTE, None, at, body, level


def _json(message: str, at: int) -> Line:
    record = _object(message)
    if record is None:
        return _cut(message, at)
    kind = record.get("type")
    if isinstance(kind, str) and kind.startswith("platform.") and isinstance(record.get("record"), dict):
        return _platform(kind, record["record"], record.get("time"), at)
    level = record.get("level")
    if not isinstance(level, str) or "timestamp" not in record:
        return _note(message, at)
    level = level.upper()
    request_id = record.get("requestId")
    if isinstance(request_id, str) and REQUEST_ID.fullmatch(request_id):
        return APP, request_id, at, record, level
    return _without_id(record, level, at)


def _cut(message: str, at: int) -> Line:
    """An application record that lost its end: what stands before the cut is still its own."""
    cut = _CUT_RECORD.fullmatch(message)
    if not cut:
        return _note(message, at)
    level, request_id, text = cut.groups()
    body = cut_string(text)
    if request_id and REQUEST_ID.fullmatch(request_id):
        return APP, request_id, at, body, level
    return NOTE, None, at, body, level


_PLATFORM = {
    "platform.start": START,
    "platform.report": REPORT,
    "platform.runtimeDone": DONE,
    "platform.initStart": INIT_START,
    "platform.initReport": INIT_REPORT,
}


def _platform(kind: str, record: dict[str, Any], time: object, at: int) -> Line:
    request_id = record.get("requestId")
    known = _PLATFORM.get(kind)
    if known is None or (known in (START, REPORT, DONE) and not isinstance(request_id, str)):
        return NOTE, None, at, "", ""
    return known, request_id if known in (START, REPORT, DONE) else None, _ms(time, at), record, ""


def _ms(time: object, otherwise: int) -> int:
    # The event's own time is when the platform wrote the record: up to a few ms after what it tells of.
    try:
        moment = datetime.fromisoformat(str(time))
    except ValueError:
        return otherwise
    return round(moment.timestamp() * 1000) if moment.tzinfo else otherwise


def _report_of_record(record: dict[str, Any]) -> Report:
    found = record.get("metrics")
    metrics = found if isinstance(found, dict) else {}
    return Report(
        _text(record.get("status")),
        _text(record.get("errorType")),
        _number(metrics.get("durationMs")),
        _number(metrics.get("billedDurationMs")),
        _whole(metrics.get("memorySizeMB")),
        _whole(metrics.get("maxMemoryUsedMB")),
        _number(metrics.get("initDurationMs")),
        _text(record.get("phase")),
    )


def _report_of_text(body: str) -> Report:
    pairs = dict(part.strip().partition(": ")[::2] for part in re.split(r"[\t\n]", body) if ": " in part)
    return Report(
        pairs.get("Status"),
        pairs.get("Error Type"),
        _number(pairs.get("Duration")),
        _number(pairs.get("Billed Duration")),
        _whole(pairs.get("Memory Size")),
        _whole(pairs.get("Max Memory Used")),
        _number(pairs.get("Init Duration")),
        pairs.get("Phase"),
    )


def _fault_of_record(record: dict[str, Any]) -> Fault | None:
    # Python's runtime reports without ``message``; its logger always has one. Node's forms are the same for both.
    if "message" not in record:
        return _named(record, uncaught=True)
    message = record["message"]
    return _named(message, uncaught=None) if isinstance(message, dict) else None


def _named(error: dict[str, Any] | None, *, uncaught: bool | None) -> Fault | None:
    if error is None or not isinstance(error.get("errorType"), str):
        return None
    return Fault(error["errorType"], _text(error.get("errorMessage")) or "", uncaught)


def _object(text: str) -> dict[str, Any] | None:
    value = loads(text)
    return value if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """Return a figure, its unit cut off; None where it is none or could not be one."""
    try:
        number = float(str(value).split(" ", 1)[0])
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < _MAX_FIGURE else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


_BY_FIRST: dict[str, Callable[[str, int], Line]] = {
    "S": _start,
    "E": _end,
    "R": _report,
    "I": _init,
    "2": _timed,
    "[": _bracket,
    "{": _json,
}
