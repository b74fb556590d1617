"""The hash chain: every record of the journal bound to the one before, so that none is changed or lost unseen.

A record holds digests of what may speak of a person, never the text: taking images out of the journal later does not
break it. A value that was taken out is its own digest, so both are compared in the same way.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lib.journal.database import SEALED
from lib.journal.tables import CHAIN, EVENTS, HEAD, RUNS, STEPS
from lib.model import iso, now
from lib.person import digest

Entry = Mapping[Any, Any]
"""A row of one of the journal's tables, or what is to become one."""

_RUN_CLEAR = ("environment", "pool", "table", "kind", "undo_of", "snapshot", "digest", "plan_digest")
_RUN_SEALED = ("why", "message", "plan")
_RUN_MOVING = ("state", "who", "started_at", "ended_at")
_STEP_CLEAR = ("number", "action", "situation")
_STEP_SEALED = ("account_id", "sub", "row_id", "account", "condition", "reason")
_STEP_MOVING = ("before", "after", "message")
_EVENT_CLEAR = ("at", "kind", "environment", "who")
_EVENT_SEALED = ("why", "body")


@dataclass(frozen=True)
class Verdict:
    """What reading the chain showed: ``broken`` is where it breaks first, in one sentence, None where it holds.

    ``records`` are those that were read, ``before`` the runs and decisions older than the chain, which it cannot vouch
    for.
    """

    records: int
    before: int
    head: str
    broken: str | None = None


def sealed(value: str | None) -> str | None:
    """Return the digest by which a record vouches for a text; what is one already stays as it is."""
    return value if value is None or value.startswith(SEALED) else digest(value)


def append(connection: Connection, kind: str, body: Entry, run_id: str | None = None, step: int | None = None) -> int:
    """Add a record in this very transaction and return its number; others wait until it is committed."""
    # First, so that nobody else reads the same head: SQLite and PostgreSQL both lock by writing.
    connection.execute(sa.update(HEAD).values(number=HEAD.c.number + 1))
    number, head = connection.execute(sa.select(HEAD.c.number, HEAD.c.head)).one()
    record = {"number": number, "at": iso(now()), "kind": kind, "run_id": run_id, "step": step}
    record["body"] = json.dumps(dict(body), sort_keys=True)
    record["head"] = _linked(head, record)
    connection.execute(sa.insert(CHAIN).values(record))
    connection.execute(sa.update(HEAD).values(head=record["head"]))
    return int(number)


def begun(run: Entry, steps: Iterable[Entry]) -> dict[str, Any]:
    """Return what the first record of a run says, columns as they are stored."""
    return _run(run) | {"steps": {str(step["number"]): _step(step) for step in steps}}


def event(values: Entry, number: int) -> dict[str, Any]:
    """Return what the record of a decision says, columns as they are stored."""
    clear = {name: values[name] for name in _EVENT_CLEAR}
    return clear | {name: sealed(values[name]) for name in _EVENT_SEALED} | {"number": number}


def changed(values: Entry) -> dict[str, Any]:
    """Return what the record of a change to a run or a step says, columns as they are stored."""
    secret = (*_STEP_MOVING, "why")
    return {name: sealed(value) if name in secret else value for name, value in values.items()}


def verified(connection: Connection, head: str | None = None) -> Verdict:
    """Read the whole chain and hold the journal's tables against it.

    ``head`` is one that was printed earlier: without it, a journal rewritten from end to end would pass.
    """
    start = connection.execute(sa.select(HEAD)).mappings().one()
    told = _Told()
    found = head is None
    last, number = "", start["start"]
    for record in connection.execute(sa.select(CHAIN).order_by(CHAIN.c.number)).mappings():
        if record["number"] != number + 1 or record["head"] != _linked(last, record):
            return _broken(start, number, last, f"Record {number + 1} {_said(record, number + 1)}.")
        last, number = record["head"], record["number"]
        found = found or last == head
        told.hear(record)
    broken = next(_contradictions(connection, told, start), None)
    if (number, last) != (start["number"], start["head"]):
        broken = f"Records {number + 1} to {start['number']} at its end are missing."
    elif not found:
        broken = "The head that was given is not in it: the journal is another one, or was written anew."
    return _broken(start, number, last, broken)


def _broken(start: Entry, number: int, head: str, broken: str | None) -> Verdict:
    return Verdict(number - start["start"], start["runs_before"] + start["events_before"], head, broken)


def _said(record: Entry, expected: int) -> str:
    if record["number"] != expected:
        return f"is missing: after it comes {record['number']}, of {record['at']}"
    of = f" of run {record['run_id']}" if record["run_id"] else ""
    return f"({record['kind']}{of}, {record['at']}) does not follow from the one before: one of the two was changed"


class _Told:
    """What the records say the tables hold."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, dict[str, str]] = {}
        self.moved: dict[tuple[str, int], dict[str, Any]] = {}
        self.events: dict[int, dict[str, Any]] = {}

    def hear(self, record: Entry) -> None:
        body, run_id = json.loads(record["body"]), record["run_id"]
        if record["kind"] == "event":
            self.events[body.pop("number")] = body
        elif record["kind"] == "begin":
            self.steps[run_id] = body.pop("steps")
            self.runs[run_id] = body
        elif record["step"] is None:
            self.runs.setdefault(run_id, {}).update(body)
        else:
            self.moved.setdefault((run_id, record["step"]), {}).update(body)


def _contradictions(connection: Connection, told: _Told, start: Entry) -> Iterator[str]:
    """Yield a sentence for each run, step and decision that is not as the chain says."""
    yield from _of_runs(connection, told, start["runs_before"])
    planned = dict.fromkeys(told.steps, 0)
    for step in connection.execute(sa.select(STEPS).order_by(STEPS.c.run_id, STEPS.c.number)).mappings():
        run_id, number = step["run_id"], step["number"]
        if run_id in planned:
            planned[run_id] += 1
            if told.steps[run_id].get(str(number)) != _step(step):
                yield f"Step {number} of run {run_id} is not the one that was planned."
        moved = told.moved.get((run_id, number), {})
        names = [name for name, value in moved.items() if changed({name: step[name]})[name] != value]
        if names:
            yield f"Step {number} of run {run_id} was changed: {', '.join(names)}."
    for run_id, count in planned.items():
        if count != len(told.steps[run_id]):
            yield f"Run {run_id} has {count} steps of {len(told.steps[run_id])}."
    yield from _of_events(connection, told, start["events_before"])


def _of_runs(connection: Connection, told: _Told, before: int) -> Iterator[str]:
    there = set()
    for run in connection.execute(sa.select(RUNS)).mappings():
        there.add(run["run_id"])
        known = told.runs.get(run["run_id"])
        if known is None:
            if run["number"] > before:
                yield f"Run {run['run_id']} is not in the chain."
            continue
        present = _run(run)
        names = [name for name, value in known.items() if present[name] != value]
        if names:
            yield f"Run {run['run_id']} was changed: {', '.join(names)}."
    yield from (f"Run {run_id} is missing." for run_id in told.runs if run_id not in there)


def _of_events(connection: Connection, told: _Told, before: int) -> Iterator[str]:
    there = set()
    for entry in connection.execute(sa.select(EVENTS).where(EVENTS.c.number > before)).mappings():
        there.add(entry["number"])
        known = told.events.get(entry["number"])
        if known is None or known | {"number": entry["number"]} != event(entry, entry["number"]):
            yield f"Decision {entry['number']} ({entry['kind']}, {entry['at']}) is not as it was recorded."
    yield from (f"Decision {number} is missing." for number in told.events if number not in there)


def _run(run: Entry) -> dict[str, Any]:
    clear = {name: run.get(name) for name in (*_RUN_CLEAR, *_RUN_MOVING)}
    return clear | {name: sealed(run.get(name)) for name in _RUN_SEALED}


def _step(step: Entry) -> str:
    known = {name: step[name] for name in _STEP_CLEAR} | {name: sealed(step.get(name)) for name in _STEP_SEALED}
    return digest(json.dumps(known, sort_keys=True))


def _linked(head: str, record: Entry) -> str:
    content = {name: value for name, value in record.items() if name != "head"}
    return hashlib.sha256(f"{head}\n{json.dumps(content, sort_keys=True)}".encode()).hexdigest()
