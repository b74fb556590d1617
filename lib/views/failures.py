"""What the Failures page shows: runs of the trigger that failed or lost a row, grouped by what they have in common."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from lib.snapshot import Snapshot
from lib.views.trends import Period, log_reach

KINDS = {
    "silent": "Silent failure",
    "caught": "Caught error",
    "error": "Failed",
    "timeout": "Timed out",
    "oom": "Out of memory",
    "exit": "Process exited",
    "init_error": "Could not start",
    "incomplete": "Never finished",
}
"""How a run failed, with its name on screen: by its outcome, or though it finished."""

LIMIT_MS = 5000
"""Cognito waits this long for a trigger, then it tries again, at most three times."""

# Identifiers, addresses, times and figures vary between runs of one failure. A three-figure number from 400 on is
# kept: 401 and 403 are different failures.
_VARIABLE = (
    (r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", "…"),
    (r"[^\s\"<>()\[\]{},;:]+@[^\s\"<>()\[\]{},;:]+", "…"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "…"),
    (r"\b[0-9a-fA-F]{12,}\b", "…"),
    (r"\b(\d+\.\d+|\d{4,}|\d{1,2}|[0-36-9]\d\d)(ms|s)?\b", "#"),
)


def _fingerprint(message: str) -> str:
    for pattern, instead in _VARIABLE:
        message = f"regexp_replace({message}, '{pattern}', '{instead}', 'g')"
    return message


@dataclass(frozen=True)
class Evidence:
    """How far the log's evidence reaches, and where it looks odd; None and 0 where there is nothing.

    ``proven_from`` is as of ``trends.log_reach``; ``examples`` are the runs with most suspicious lines, by request
    id, and how many these are; ``suspicious_outside`` are the suspicious lines that stand in no run.
    """

    runs: int
    oldest: datetime | None
    proven_from: datetime | None
    retention_days: int | None
    suspicious: int
    suspicious_runs: int
    suspicious_outside: int
    examples: list[tuple[str, int]]


RUNS = """
with silent as (
    select request_id, min(cause) as cause from (select unnest(request_ids) as request_id, cause from pairs)
    where cause in ('silent_failure', 'api_key_expired') group by request_id
), runs as (
    select i.*,
        coalesce(i.request_id, 'at-' || left(md5(concat_ws(' ', i.log_group, i.log_stream, i.started_at)), 16)) as key,
        case
            when i.outcome <> 'completed' then i.outcome
            when s.cause is not null then 'silent'
            when i.logged_error is not null then 'caught'
        end as kind,
        case
            when s.cause = 'api_key_expired' and i.outcome = 'completed'
                then 'Finished without an error, no row written: the API key had expired'
            when s.cause is not null and i.outcome = 'completed' then 'Finished without an error, no row written'
            when i.outcome = 'completed' then i.logged_error
            when i.error_message is null or starts_with(i.error_message, i.error_type)
                then coalesce(i.error_message, i.error_type)
            else concat_ws(': ', i.error_type, i.error_message)
        end as said
    from invocations i left join silent s on s.request_id = i.request_id
    where i.started_at < $end
), told as (
    select *, case when kind is not null then FINGERPRINT end as message from runs
), grouped as (
    select *, case when kind is not null then left(md5(kind || ' ' || message), 8) end as fingerprint from told
)
""".replace("FINGERPRINT", _fingerprint("left(split_part(coalesce(said, ''), chr(10), 1), 300)"))
"""Relations up to ``grouped``: every run up to ``$end`` with `key` (its request id; a run that could not start has
none, and gets a name of its own), and of those that failed `kind`, `said`, `message` and `fingerprint`."""


def _failed(snapshot: Snapshot, over: Period, query: str, **parameters: Any) -> pd.DataFrame:
    """Return what a query finds in ``failed``: one line per failed run up to the period's end."""
    failed = ", failed as (select * from grouped where kind is not null) "
    return snapshot.sql(RUNS + failed + query, start=over.start, end=over.end, **parameters)


@dataclass(frozen=True)
class Durations:
    """How long finished runs took, in milliseconds, warm or cold."""

    runs: int
    p50: float
    p95: float
    longest: float
    over_limit: int


def groups(snapshot: Snapshot, over: Period) -> pd.DataFrame:
    """Return one line per fingerprint that occurred in the period, most frequent first.

    Columns: fingerprint, kind, message (variable parts removed), events, accounts (usernames hit), first_seen and
    last_seen (over all the log that is known), course (events per bar), state: `new` in this period, `ongoing` since
    the one before, `regressed` after a pause; null where the log does not reach back before the period.
    """
    before = over.before()
    found = _failed(
        snapshot,
        over,
        "select fingerprint, any_value(kind) as kind, any_value(message) as message,"
        " count(*) filter (where started_at >= $start) as events,"
        " count(distinct username) filter (where started_at >= $start) as accounts,"
        " min(started_at) as first_seen, max(started_at) as last_seen,"
        " count(*) filter (where started_at >= $before and started_at < $start) as events_before"
        " from failed group by fingerprint having max(started_at) >= $start order by events desc, fingerprint",
        before=before.start,
    )
    courses = _courses(snapshot, over)
    reach = log_reach(snapshot)
    is_known = reach is not None and reach < over.start
    found["course"] = [courses.get(fingerprint, [0] * over.steps) for fingerprint in found["fingerprint"]]
    found["state"] = [
        _state(first >= over.start, events_before) if is_known else None
        for first, events_before in zip(found["first_seen"], found["events_before"], strict=True)
    ]
    return found.drop(columns="events_before")


def invocations(snapshot: Snapshot, over: Period, fingerprint: str, limit: int = 100) -> pd.DataFrame:
    """Return the latest invocations of one group, newest first: the columns of `invocations`, key, kind, said, sub.

    ``sub`` is that of the account it ran for, null where there is none (any more).
    """
    return _failed(
        snapshot,
        over,
        "select f.* exclude (event, message, fingerprint), a.sub from failed f"
        " left join accounts a on a.username = f.username"
        " where fingerprint = $fingerprint and started_at >= $start order by started_at desc, request_id limit $limit",
        fingerprint=fingerprint,
        limit=limit,
    )


def durations(snapshot: Snapshot, over: Period) -> pd.DataFrame:
    """Return one line per bar with a run in it: at, p50, p95 and longest of warm runs, cold (longest cold start)."""
    taken = snapshot.sql(
        "select (epoch_ms(started_at) - epoch_ms($start)) // $width as bar,"
        " quantile_cont(duration_ms, 0.5) filter (where not cold_start) as p50,"
        " quantile_cont(duration_ms, 0.95) filter (where not cold_start) as p95,"
        " max(duration_ms) filter (where not cold_start) as longest, max(duration_ms) filter (where cold_start) as cold"
        " from invocations where duration_ms is not null and started_at >= $start and started_at < $end"
        " group by bar order by bar",
        start=over.start,
        end=over.end,
        width=over.step // timedelta(milliseconds=1),
    )
    taken.insert(0, "at", [over.start + over.step * int(bar) for bar in taken["bar"]])
    return taken.drop(columns="bar")


def duration_facts(snapshot: Snapshot, over: Period) -> dict[str, Durations]:
    """Return the facts of `warm` runs and of `cold` starts; a key is missing where there was none."""
    facts = snapshot.sql(
        "select cold_start, count(*) as runs, quantile_cont(duration_ms, 0.5) as p50,"
        " quantile_cont(duration_ms, 0.95) as p95, max(duration_ms) as longest,"
        " count(*) filter (where duration_ms > $limit) as over_limit"
        " from invocations where duration_ms is not null and started_at >= $start and started_at < $end group by 1",
        start=over.start,
        end=over.end,
        limit=LIMIT_MS,
    )
    starts = ["cold" if is_cold else "warm" for is_cold in facts.pop("cold_start")]
    return {start: Durations(*line) for start, line in zip(starts, facts.itertuples(index=False), strict=True)}


def evidence(snapshot: Snapshot, most: int = 5) -> Evidence:
    """Return what all statements on the trigger's runs rest on."""
    known = snapshot.sql(
        "select count(*) as runs, min(started_at) as oldest, coalesce(sum(suspicious), 0) as suspicious,"
        " count(*) filter (where suspicious > 0) as suspicious_runs from invocations"
    ).iloc[0]
    examples = snapshot.sql(
        "select request_id, suspicious from invocations where suspicious > 0 and request_id is not null"
        " order by suspicious desc, started_at desc, request_id limit $most",
        most=most,
    )
    return Evidence(
        runs=int(known["runs"]),
        oldest=None if pd.isna(known["oldest"]) else known["oldest"].to_pydatetime(),
        proven_from=log_reach(snapshot),
        retention_days=snapshot.wiring.retention_days,
        suspicious=int(known["suspicious"]),
        suspicious_runs=int(known["suspicious_runs"]),
        suspicious_outside=int(snapshot.manifest["sources"]["invocations"].get("suspicious", 0)),
        examples=[(str(name), int(lines)) for name, lines in examples.itertuples(index=False)],
    )


def _courses(snapshot: Snapshot, over: Period) -> dict[str, list[int]]:
    counted = _failed(
        snapshot,
        over,
        "select fingerprint, (epoch_ms(started_at) - epoch_ms($start)) // $width as bar, count(*) as events"
        " from failed where started_at >= $start group by all",
        width=over.step // timedelta(milliseconds=1),
    )
    courses: dict[str, list[int]] = {}
    for line in counted.to_dict("records"):
        courses.setdefault(line["fingerprint"], [0] * over.steps)[int(line["bar"])] = int(line["events"])
    return courses


def _state(is_first: bool, events_before: int) -> str:
    if is_first:
        return "new"
    return "ongoing" if events_before else "regressed"
