"""What happened to one account, in order: what the pool, the trigger's log, the table and the journal say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lib.model import moment
from lib.snapshot import Snapshot
from lib.views.lookup import Detail, Record

LATE_MS = 5000
"""Cognito waits so long for its trigger; what that writes later, it writes for a sign-up that was refused."""

_RETRY = timedelta(seconds=9)
_ATTEMPTS = 3
_SOON = timedelta(seconds=10)


@dataclass(frozen=True)
class Moment:
    """One thing that happened. ``what`` is in our own words; ``said`` may quote a user, a log or an operator.

    ``state`` is ok, warning, problem or neutral; ``id`` is what the source (pool, log, table, journal) calls it.
    ``at`` is None where the source has no readable time.
    """

    at: datetime | None
    what: str
    said: str
    state: str
    source: str
    id: str | None = None


def timeline(snapshot: Snapshot, detail: Detail, steps: Iterable[Record] = ()) -> list[Moment]:
    """Return the moments of one account, oldest first, those without a time last.

    ``steps`` are the journal's steps on its row, each also with its run's ``who``, ``why`` and ``kind``.
    """
    moments = [*_account(snapshot, detail), *_runs(detail), *_row(snapshot, detail), *_repairs(steps)]
    dated = sorted((each for each in moments if each.at is not None), key=lambda each: (each.at, _ORDER[each.source]))
    return dated + [each for each in moments if each.at is None]


# At the same millisecond the account comes first, then what it set off.
_ORDER = {"pool": 0, "log": 1, "table": 2, "journal": 3}

_MADE_BY = {"FORCE_CHANGE_PASSWORD": "Created by an administrator", "RESET_REQUIRED": "Imported"}


def _account(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    account = detail.account
    if account is None:
        yield from _never_or_gone(snapshot, detail)
        return
    status = str(account["status"] or "UNKNOWN")
    what = "Federated sign-in" if account["provider"] else _MADE_BY.get(status, "Account created")
    by = f"through {account['provider']}" if account["provider"] else ""
    yield Moment(account["created_at"], what, by, "ok", "pool")
    changed = account["modified_at"]
    if changed is not None and changed != account["created_at"]:
        # Cognito keeps the time of the last change only, and not what it was.
        confirmed = status == "CONFIRMED" and changed - account["created_at"] < timedelta(days=1)
        said = "The pool keeps the time of the last change only"
        yield Moment(changed, "Confirmed" if confirmed else "Account changed", said, "neutral", "pool")


def _never_or_gone(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    if detail.line["situation"] == "duplicate":
        return
    known = snapshot.sql(
        "select max(last_seen) as last_seen from seen where kind = 'account' and id = $id",
        id=detail.line["row_id"] or "",
    )
    last = known["last_seen"].iloc[0]
    if last == last and last is not None:
        yield Moment(last.to_pydatetime(), "Account last seen", "It was gone at the next look", "problem", "pool")
    else:
        yield Moment(_read_at(snapshot, "accounts"), "No account", _looked(snapshot), "problem", "pool")


def _runs(detail: Detail) -> Iterator[Moment]:
    before: Record | None = None
    attempt = 1
    for run in detail.invocations:
        attempt = attempt % _ATTEMPTS + 1 if before and _follows(before, run) else 1
        before = run
        name = run["trigger_source"] or "start"
        what = f"Trigger {name}" + (f", attempt {attempt}" if attempt > 1 else "")
        in_vain = _in_vain(detail, run)
        yield Moment(run["started_at"], what, _ran(run, in_vain), _state(run, in_vain), "log", run["request_id"])


def _in_vain(detail: Detail, run: Record) -> bool:
    """Return whether no row came of a run that should have written it: none is there, or it came long after."""
    if detail.row is None:
        return bool(detail.line["situation"] == "orphaned_account" and detail.line["cause"] != "row_deleted")
    written, ended = detail.row["created_at"], run["ended_at"] or run["started_at"]
    return written is not None and ended is not None and bool(written - ended > _SOON)


def _follows(before: Record, run: Record) -> bool:
    if before["trigger_source"] != run["trigger_source"] or None in (before["started_at"], run["started_at"]):
        return False
    return bool(run["started_at"] - before["started_at"] <= _RETRY)


_ENDED = {
    "completed": "finished without an error",
    "error": "failed",
    "timeout": "timed out",
    "oom": "ran out of memory",
    "exit": "exited before it answered",
    "init_error": "could not start",
    "incomplete": "never finished as far as the log shows",
}


def _ran(run: Record, in_vain: bool) -> str:
    ended = _ENDED.get(run["outcome"], str(run["outcome"]))
    if run["outcome"] == "completed" and run["logged_error"]:
        ended = "finished, but logged an error"
    elif run["outcome"] == "completed" and in_vain:
        ended += ", yet no row was written"
    parts = [ended]
    if run["duration_ms"] is not None:
        parts.append(f"{run['duration_ms']:,.0f} ms")
    if is_late(run):
        parts.append("longer than the 5 s that Cognito waits")
    return " · ".join(parts)


def is_late(run: Record) -> bool:
    """Return whether a run took longer than Cognito waits."""
    if run["started_at"] is not None and run["ended_at"] is not None:
        return bool(run["ended_at"] - run["started_at"] > timedelta(milliseconds=LATE_MS))
    return (run["duration_ms"] or 0) > LATE_MS


def told(run: Record) -> str | None:
    """Return what a failed run said of its error; None where it said nothing."""
    error = ": ".join(filter(None, [run["error_type"], run["error_message"]]))
    return error or run["logged_error"]


def _state(run: Record, in_vain: bool) -> str:
    if run["outcome"] != "completed":
        return "problem"
    return "warning" if in_vain or run["logged_error"] or is_late(run) else "ok"


def _row(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    row = detail.row
    if row is None:
        if detail.line["situation"] != "duplicate":
            state = "neutral" if detail.line["situation"] in ("in_flight", "out_of_scope") else "problem"
            yield Moment(_read_at(snapshot, "rows"), "No row", _looked(snapshot), state, "table")
        return
    deleted = bool(row["deleted"])
    changed = row["last_changed_at"] or row["updated_at"]
    is_new = changed is None or row["created_at"] is None or changed - row["created_at"] < timedelta(seconds=1)
    version = "" if row["version"] is None else f"version {row['version']:.0f}"
    came = version if is_new and not deleted else ""
    yield Moment(row["created_at"], "Row created", came, "ok", "table")
    if deleted:
        yield Moment(changed, "Row soft-deleted", version, "problem", "table")
    elif not is_new:
        yield Moment(changed, "Row changed", version, "neutral", "table")


def _looked(snapshot: Snapshot) -> str:
    return f"Looked up by {snapshot.wiring.correlation}"


def _read_at(snapshot: Snapshot, source: str) -> datetime | None:
    return moment(snapshot.manifest["sources"][source]["ended_at"])


_DID = {"create_row": "Row created", "update_row": "Row updated", "delete_row": "Row deleted"}
_SETTLED = {"done": "ok", "already": "ok", "refused": "warning", "failed": "problem", "unknown": "warning"}


def _repairs(steps: Iterable[Record]) -> Iterator[Moment]:
    for step in steps:
        if step["state"] not in _SETTLED:
            continue
        door = "an undo" if step["kind"] == "undo" else "a repair"
        did = _DID.get(step["action"], "Row written")
        what = f"{did} by {door}" if step["state"] == "done" else f"{did} by {door}: {step['state']}"
        said = " · ".join(filter(None, [_who(step), step["why"], step["message"]]))
        yield Moment(
            moment(step["settled_at"] or step["intent_at"]),
            what,
            said,
            _SETTLED[step["state"]],
            "journal",
            step["run_id"],
        )


def _who(step: Record) -> str:
    return f"by {step['who']}" if step["who"] else ""
