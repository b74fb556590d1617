"""Log events made by hand, and the score of the parser on the sample logs.

    python tests/logparse_kit.py [FOLDER]

prints, for every NAME.jsonl with its NAME.truth.json, how many fields, outcomes and invocations are wrong.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from lib.logparse import invocations

CORPORA = Path(__file__).parent / "trigger-logs"
EVENT_ID = itertools.count(4 * 10**55)

ID = "5b452bf3-fd87-434f-8b2f-054e022d0242"
OTHER = "0badc0de-0000-4000-8000-000000000001"
USER = "76fbc3a8-232e-4dd9-873f-e51c00d05bc7"
REPORTED = "Duration: 41.40 ms\tBilled Duration: 42 ms\tMemory Size: 128 MB\tMax Memory Used: 71 MB\t"
COGNITO = {
    "version": "1",
    "region": "ap-southeast-1",
    "userPoolId": "ap-southeast-1_hKnIMMR91",
    "userName": USER,
    "callerContext": {"awsSdkVersion": "x", "clientId": "c"},
    "triggerSource": "PreSignUp_SignUp",
    "request": {"userAttributes": {"email": "ann@mail.test"}, "validationData": None},
    "response": {},
}

# What the truth calls it, and how far a figure may be off: it was written with two decimals, times are of two clocks.
IDENTITY = {"username": "userName", "email": "email", "trigger_source": "triggerSource"}
FIGURES = {
    "duration_ms": ("durationMs", 0.0101),
    "billed_ms": ("billedMs", 0),
    "memory_mb": ("memoryMB", 0),
    "max_memory_mb": ("maxMemoryMB", 0),
    "init_ms": ("initMs", 0.0101),
    "cold_start": ("coldStart", 0),
    "ended_at": ("endTs", 1),
}


def event(message: str, at: int = 0, stream: str = "2026/11/20/[$LATEST]aa") -> dict[str, Any]:
    """One event as FilterLogEvents gives it, at so many milliseconds."""
    at += 1_795_154_400_000
    number = str(next(EVENT_ID))
    return {"logStreamName": stream, "timestamp": at, "ingestionTime": at, "eventId": number, "message": message}


def start(request_id=ID, at=0):
    return event(f"START RequestId: {request_id} Version: $LATEST\n", at)


def end(request_id=ID, at=50):
    return event(f"END RequestId: {request_id}\n", at)


def report(more="\n", request_id=ID, at=50):
    return event(f"REPORT RequestId: {request_id}\t{REPORTED}{more}", at)


def says(text, at=2, level="INFO", request_id=ID):
    return event(f"2026-11-20T06:00:00.358Z\t{request_id}\t{level}\t{text}\n", at)


def python(text, at=2, level="INFO", request_id=ID):
    return event(f"[{level}]\t2026-11-20T06:00:00.358Z\t{request_id}\t{text}\n", at)


def whole(*middle):
    return [start(), *middle, end(), report()]


def platform(kind, at=0, request_id=ID, **record):
    moment = (datetime(2026, 11, 20, 6, tzinfo=UTC) + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")
    record = {"requestId": request_id} | record
    return event(json.dumps({"time": moment, "type": f"platform.{kind}", "record": record}), at)


def logs(message, at=2, level="INFO", request_id=ID, **more):
    return event(json.dumps({"timestamp": "t", "level": level, "requestId": request_id, "message": message} | more), at)


def read(name: str, folder: Path = CORPORA) -> list[dict[str, Any]]:
    with (folder / f"{name}.jsonl").open(newline="\n", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def only(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The one invocation in these events, its nulls as None."""
    (record,) = records(invocations(events))
    return record


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if not isinstance(value, str) and pd.isna(value) else value for name, value in record.items()}
        for record in frame.to_dict("records")
    ]


@dataclass
class Score:
    """What is wrong in one corpus."""

    name: str
    count: int = 0
    fields: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.fields or self.outcomes or self.phantoms or self.missing)

    def __str__(self) -> str:
        wrong = [len(part) for part in (self.fields, self.outcomes, self.phantoms, self.missing)]
        return f"{self.name:42} {self.count:5} " + " ".join(f"{number:9}" for number in wrong)


def score(name: str, folder: Path = CORPORA) -> Score:
    """Compare every invocation of a corpus with the truth about what its log holds."""
    events = read(name, folder)
    truth = json.loads((folder / f"{name}.truth.json").read_text(encoding="utf-8"))["invocations"]
    found = {record["request_id"]: record for record in records(invocations(events))}
    result = Score(name, len(truth), phantoms=sorted(set(found) - set(truth)), missing=sorted(set(truth) - set(found)))
    for request_id in set(truth) & set(found):
        _compare(result, found[request_id], truth[request_id], events)
    return result


def _compare(result: Score, record: dict[str, Any], truth: dict[str, Any], events: list[dict[str, Any]]) -> None:
    if record["outcome"] != truth["logOutcome"]:
        result.outcomes.append(f"{record['request_id']}: {record['outcome']}, not {truth['logOutcome']}")
    for name, wanted, tolerance in _held(truth, events):
        value = record[name]
        value = round(value.timestamp() * 1000) if isinstance(value, pd.Timestamp) else value
        close = tolerance and None not in (value, wanted) and abs(value - wanted) <= tolerance
        if value != wanted and not close:
            result.fields.append(f"{record['request_id']} {name}: {value!r}, not {wanted!r}")


def _held(truth: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[tuple[str, Any, float]]:
    """Yield each field with what the log holds of it: None where the truth is not in the log."""
    named = truth.get("identityVisible", True) and truth["logOutcome"] != "init_error"
    for name, key in IDENTITY.items():
        kept = named and (not truth.get("defects") or _kept(truth, truth[key], events))
        yield name, truth[key] if kept else None, 0
    reported = truth.get("durationVisible", True)
    for name, (key, tolerance) in FIGURES.items():
        if name != "ended_at" or reported:
            yield name, truth[key] if reported else None, tolerance
    yield "started_at", truth["startTs"], 2  # without its START a run's first line counts
    yield "log_stream", truth["logStreamName"], 0
    yield "error_type", truth["errorType"], 0
    if "errorMessage" in truth:
        yield "error_message", truth["errorMessage"], 0


def _kept(truth: dict[str, Any], value: str | None, events: list[dict[str, Any]]) -> bool:
    """Whether an invocation that lost lines still has one with this value; a hostile one is written with escapes."""
    plain = value is not None and value.isascii() and value.isprintable() and not set(value) & set("\"'\\")
    return not plain or any(
        value in event["message"] for event in events if truth["requestId"] in event["message"] and value is not None
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPORA
    sys.stdout.write(f"{'corpus':42} {'runs':>5} {'fields':>9} {'outcomes':>9} {'phantoms':>9} {'missing':>9}\n")
    for path in sorted(folder.glob("*.jsonl")):
        result = score(path.stem, folder)
        worst = [*result.outcomes, *result.fields, *result.phantoms, *result.missing][:5]
        sys.stdout.write("\n    ".join([str(result), *worst]) + "\n")


if __name__ == "__main__":
    main()
