"""What happened to one account, in order: what the pool, the trigger's log, the table and the journal say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lib.model import moment
from lib.snapshot import Snapshot
from lib.views.failures import LIMIT_MS
from lib.views.lookup import Detail, Record
from lib.views.retries import attempt_numbers
from lib.views.trends import OVERWRITTEN, taken_at

_SOON = timedelta(seconds=10)


@dataclass(frozen=True)
class Moment:
    """One thing that happened. ``what`` is in our own words; ``said`` may quote a user, a log or an operator.

    ``state`` is ok, warning, problem or neutral; ``id`` is what the source calls it: the pool's Username, the log's
    request id, the table's row id, the journal's run, the snapshot's stamp.
    ``at`` is None where the source has no readable time.
    """

    at: datetime | None
    what: str
    said: str
    state: str
    source: str
    id: str | None = None


@dataclass(frozen=True)
class DriftSeen:
    """The first snapshot that shows an account's drift; ``oldest`` when no earlier one is kept."""

    at: datetime
    stamp: str
    oldest: bool


def drift_seen(snapshots: Iterable[Snapshot], detail: Detail) -> DriftSeen | None:
    """Return since which of the snapshots (newest first) an account's e-mails differ; None where none shows it.

    Only as many are opened as show it, and one more.
    """
    first: Snapshot | None = None
    for snapshot in (each for each in snapshots if each.manifest["complete"]):
        shown = snapshot.sql(
            "select 1 from findings where situation = 'drift' and account_id = $id", id=detail.line["account_id"] or ""
        )
        if shown.empty:
            return _drift_in(first, oldest=False)
        first = snapshot
    return _drift_in(first, oldest=True)


def _drift_in(first: Snapshot | None, *, oldest: bool) -> DriftSeen | None:
    return None if first is None else DriftSeen(taken_at(first), first.stamp, oldest)


def timeline(
    snapshot: Snapshot, detail: Detail, steps: Iterable[Record] = (), drift: DriftSeen | None = None
) -> list[Moment]:
    """Return the moments of one account, oldest first, those without a time last.

    ``steps`` are the journal's steps on its row, each also with its run's ``who``, ``why`` and ``kind``; ``drift`` is
    what ``drift_seen`` found.
    """
    moments = [
        *_account(snapshot, detail),
        *_runs(snapshot, detail),
        *_row(snapshot, detail),
        *_drift(drift),
        *_repairs(steps),
    ]
    dated = sorted((each for each in moments if each.at is not None), key=lambda each: (each.at, _ORDER[each.source]))
    return dated + [each for each in moments if each.at is None]


# At the same millisecond the account comes first, then what it set off.
_ORDER = {"pool": 0, "log": 1, "table": 2, "journal": 3, "snapshot": 4}

_MADE_BY = {"FORCE_CHANGE_PASSWORD": "Created by an administrator", "RESET_REQUIRED": "Imported"}


def _account(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    account = detail.account
    if account is None:
        yield from _never_or_gone(snapshot, detail)
        return
    status, name = str(account["status"] or "UNKNOWN"), account["username"]
    created, changed = account["created_at"], account["modified_at"]
    what = "Federated sign-in" if account["provider"] else _MADE_BY.get(status, "Account created")
    at_once = status == "CONFIRMED" and changed is not None and changed == created
    said = [f"through {account['provider']}" if account["provider"] else "", "confirmed at once" if at_once else ""]
    yield Moment(created, what, " · ".join(filter(None, said)), "ok", "pool", name)
    confirming = next((run for run in detail.invocations if run["trigger_source"] == _CONFIRMING), None)
    if confirming is not None:
        yield Moment(
            confirming["started_at"], "Confirmed", "That ran the trigger", "ok", "log", confirming["request_id"]
        )
    if changed is not None and changed != created:
        # Cognito keeps the time of the last change only, and not what it was.
        is_known = status != "CONFIRMED" or confirming is not None
        what = "Account changed" if is_known else "Confirmed by then"
        yield Moment(changed, what, "The pool keeps the time of its last change only", "neutral", "pool", name)


_CONFIRMING = "PostConfirmation_ConfirmSignUp"


def _never_or_gone(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    if detail.line["situation"] == "duplicate":
        return
    known = snapshot.sql(
        "select max(last_seen) as last_seen from seen where kind = 'account' and id = $id",
        id=detail.line["row_id"] or "",
    )
    last = known["last_seen"].iloc[0]
    if last == last and last is not None:
        yield Moment(
            last.to_pydatetime(),
            "Account last seen",
            "It was gone at the next look",
            "problem",
            "pool",
            detail.line["row_id"],
        )
    else:
        yield Moment(_read_at(snapshot, "accounts"), "No account", _looked(snapshot), "problem", "pool")


def _runs(snapshot: Snapshot, detail: Detail) -> Iterator[Moment]:
    numbers = attempt_numbers(snapshot, detail.line["account_id"] or detail.line["row_id"] or "")
    for run in detail.invocations:
        attempt = numbers.get(run["request_id"], 1)
        name = run["trigger_source"] or "start"
        what = f"Trigger {name}" + (f", attempt {attempt}" if attempt > 1 else "")
        in_vain = _in_vain(detail, run)
        yield Moment(run["started_at"], what, _ran(run, in_vain), _state(run, in_vain), "log", run["request_id"])


def _in_vain(detail: Detail, run: Record) -> bool:
    """Return whether no row came of a run that should have written it: none is there, or it came long after."""
    if detail.row is None:
        return bool(detail.line["situation"] == "orphaned_account" and detail.line["cause"] != "row_deleted")
    if OVERWRITTEN in (detail.line["notes"] or ()):
        return False  # The row's own times are those of the reset: they tell nothing of the runs before it.
    written, ended = detail.row["created_at"], run["ended_at"] or run["started_at"]
    return written is not None and ended is not None and bool(written - ended > _SOON)


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
        return bool(run["ended_at"] - run["started_at"] > timedelta(milliseconds=LIMIT_MS))
    return (run["duration_ms"] or 0) > LIMIT_MS


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
    changed = row["last_changed_at"] or row["updated_at"]
    is_new = changed is None or row["created_at"] is None or changed - row["created_at"] < timedelta(seconds=1)
    version = "" if row["version"] is None else f"version {row['version']:.0f}"
    came = version if is_new and not row["deleted"] else ""
    yield _row_came(detail, came)
    if row["deleted"]:
        yield Moment(changed, "Row soft-deleted", version, "problem", "table", row["id"])
    elif not is_new:
        yield Moment(changed, "Row changed", version, "neutral", "table", row["id"])


def _row_came(detail: Detail, version: str) -> Moment:
    row = detail.row or {}
    if OVERWRITTEN not in detail.line["notes"]:
        return Moment(row["created_at"], "Row created", version, "ok", "table", row["id"])
    reset = next((run for run in detail.invocations if run["request_id"] in detail.line["request_ids"]), None)
    by = f"in the run {reset['request_id'][:8]} of {reset['trigger_source']}" if reset else ""
    said = " · ".join(filter(None, [by, version]))
    return Moment(row["created_at"], "Row overwritten by a password reset", said, "warning", "table", row["id"])


def _drift(seen: DriftSeen | None) -> Iterator[Moment]:
    if seen is not None:
        said = "Already in the oldest snapshot that is kept" if seen.oldest else "The snapshot before had them alike"
        yield Moment(seen.at, "E-mail drift seen", said, "problem", "snapshot", seen.stamp)


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
