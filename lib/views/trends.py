"""What is counted of sign-ups: by outcome, how far they got, which were lost, and when rows were not written at all.

Every account counts once, at its creation. A sign-up that the trigger refused left no account and no row: it is
counted from the trigger's log, once per retry group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from lib.model import ACCEPTED, CAUSES, HEALTHY, SITUATIONS, Wiring
from lib.reconcile import attempts
from lib.snapshot import Snapshot

OUTCOMES = {
    "row_written": "Row written",
    "rejected": "Rejected sign-up",
    "in_flight": "In flight",
    "unknown": "Missing (no log)",
    "not_invoked": "Not invoked",
    "failed": "Failed",
    "silent_failure": "Silent failure",
}
"""How a sign-up ended, with its name on screen, best first: the order in which bars are stacked."""

LOST = ("silent_failure", "failed", "not_invoked", "unknown")
"""The outcomes that left an account without a row."""

RANGES = {
    "24h": ("24 hours", timedelta(hours=1), 24),
    "7d": ("7 days", timedelta(days=1), 7),
    "30d": ("30 days", timedelta(days=1), 30),
    "90d": ("90 days", timedelta(days=1), 90),
}
"""The periods one can choose: in words, length of a bar, number of bars."""

OVERWRITTEN = "overwritten_by_password_reset"
"""The note of a row that a password reset wrote anew."""

STALLED = 3  # losses in a row: by chance alone, at a loss rate of 2 %, once in 125,000 sign-ups


@dataclass(frozen=True)
class Period:
    """A stretch of time cut into bars of one length, in UTC; the last bar is as long as it got so far."""

    start: datetime
    end: datetime
    step: timedelta
    steps: int

    def before(self) -> "Period":
        """Return the period before this one, cut off at the same point, so that the two compare."""
        span = self.step * self.steps
        return Period(self.start - span, self.end - span, self.step, self.steps)

    def bar(self, start: datetime) -> "Period":
        """Return the one bar that starts there."""
        return Period(start, min(start + self.step, self.end), self.step, 1)


# A missing row says why by its cause; whoever deleted a row later, the sign-up itself had written it. Under
# PostConfirmation an unconfirmed account is promised nothing yet: its sign-up is still on the way.
_SIGN_UPS = """
with made as (
    select account_created_at as signed_up_at, account_id, sub, email, status, situation, cause, reason, attempts,
        cast(null as varchar) as error,
        case
            when situation in ('in_flight', 'out_of_scope') then 'in_flight'
            when situation <> 'orphaned_account' or cause = 'row_deleted' then 'row_written'
            when cause in ('silent_failure', 'api_key_expired') then 'silent_failure'
            when starts_with(cause, 'trigger_') then 'failed'
            when cause in ('not_invoked', 'admin_created', 'imported', 'federated') then 'not_invoked'
            else 'unknown'
        end as outcome
    from pairs
    where account_id is not null and situation not in ('duplicate', 'orphaned_row')
        and account_created_at >= $start and account_created_at < $end
), calls as (
    select '' as subject, * from invocations
    where username is not null and started_at >= $start and started_at < $end
        and (starts_with(trigger_source, 'PreSignUp_') or trigger_source = 'PostConfirmation_ConfirmSignUp')
        and not exists (select 1 from accounts a where a.username = invocations.username)
        and not exists (select 1 from rows r where r.id = invocations.username)
        and not exists (select 1 from seen s where s.kind = 'account' and s.id = invocations.username)
), ATTEMPTS, refused as (
    select min(started_at) as signed_up_at, username as account_id, null as sub, any_value(email) as email,
        null as status, 'rejected' as situation, null as cause, null as reason, count(*) as attempts,
        arg_max(coalesce(error_message, error_type, outcome), started_at) as error, 'rejected' as outcome
    from attempts
    group by username, trigger_source, chain, group_number
    having arg_max(outcome, started_at) not in ('completed', 'incomplete')
), sign_ups as (
    select * from made union all select * from refused
)
""".replace("ATTEMPTS", attempts())


# A row that a repair wrote is no sign that the trigger writes again. A filtered count as the window function takes
# DuckDB 25 times as long.
_STALLS = """, repaired as (
    select p.account_id from pairs p
    left join seen s on s.kind = 'row' and s.source = 'journal' and s.id = p.row_id
    where p.account_id is not null and (s.id is not null or list_contains(p.notes, 'repaired'))
), judged as (
    select signed_up_at, account_id, sub, outcome,
        lead(signed_up_at) over (order by signed_up_at, account_id) as next_at
    from sign_ups
    where outcome in ('row_written', 'silent_failure', 'failed', 'not_invoked', 'unknown')
        and coalesce(cause, '') not in ('admin_created', 'imported', 'federated', 'row_deleted')
        and coalesce(status, '') not in ('FORCE_CHANGE_PASSWORD', 'RESET_REQUIRED', 'EXTERNAL_PROVIDER')
        and account_id not in (select account_id from repaired)
), islands as (
    select *, sum(case when outcome = 'row_written' then 1 else 0 end) over (
        order by signed_up_at, account_id rows between unbounded preceding and current row
    ) as island
    from judged
)
select min(signed_up_at) as since, case when max(next_at) > max(signed_up_at) then max(next_at) end as until,
    count(*) as lost, arg_min(account_id, signed_up_at) as account_id, arg_min(sub, signed_up_at) as sub
from islands where outcome <> 'row_written'
group by island having count(*) >= $least and (until is null or until >= $begin) order by since
"""


def _sign_ups(snapshot: Snapshot, over: Period, query: str, **parameters: Any) -> pd.DataFrame:
    """Return what a query finds in ``sign_ups``: one line per sign-up of the period, with its outcome."""
    return snapshot.sql(_SIGN_UPS + query, start=over.start, end=over.end, **parameters)


def taken_at(snapshot: Snapshot) -> datetime:
    """Return when the snapshot was complete: the end of every period."""
    return datetime.fromisoformat(snapshot.manifest["finished_at"]).astimezone(UTC)


def period(snapshot: Snapshot, name: str = "30d") -> Period:
    """Return the period of that name in ``RANGES``, up to the snapshot, starting at a full hour or UTC day."""
    _, step, steps = RANGES[name]
    end = taken_at(snapshot)
    bar = end.replace(minute=0, second=0, microsecond=0)
    if step == timedelta(days=1):
        bar = bar.replace(hour=0)
    return Period(bar - step * (steps - 1), end, step, steps)


def log_reach(snapshot: Snapshot) -> datetime | None:
    """Return since when the log proves what the trigger did; None when it proves nothing."""
    wiring = snapshot.wiring
    if wiring.log_from is None or not snapshot.manifest["sources"]["invocations"]["complete"]:
        return None
    kept = taken_at(snapshot) - timedelta(days=wiring.retention_days) if wiring.retention_days else wiring.log_from
    return max(wiring.log_from, kept, wiring.group_created_at or wiring.log_from)


def sign_ups(snapshot: Snapshot, over: Period) -> pd.DataFrame:
    """Return one line per bar: `at` (its start, UTC), a count per outcome, and `in_sync` (rows there and right)."""
    counted = _sign_ups(
        snapshot,
        over,
        "select (epoch_ms(signed_up_at) - epoch_ms($start)) // $width as bar, outcome, count(*) as sign_ups,"
        " count(*) filter (where situation = 'in_sync') as in_sync from sign_ups group by all",
        width=over.step // timedelta(milliseconds=1),
    )
    bars = range(over.steps)
    wide = counted.pivot_table(index="bar", columns="outcome", values="sign_ups", aggfunc="sum", fill_value=0)
    wide = wide.reindex(index=bars, columns=list(OUTCOMES), fill_value=0).astype("int64")
    wide["in_sync"] = counted.groupby("bar")["in_sync"].sum().reindex(bars, fill_value=0).astype("int64")
    wide.insert(0, "at", [over.start + over.step * bar for bar in bars])
    return wide.reset_index(drop=True).rename_axis(columns=None)


def situations(snapshot: Snapshot) -> pd.DataFrame:
    """Return `situation`, `count`, `repairable` (those for which a repair is suggested) of everything, worst first.

    What a person has judged and accepted is not counted.
    """
    counted = snapshot.sql(
        "select situation, count(*) as count,"
        " count(suggested_action) as repairable"
        " from pairs where not coalesce(list_contains(notes, $accepted), false) group by situation",
        accepted=ACCEPTED,
    )
    order = [situation for situation in BY_WEIGHT if situation in set(counted["situation"])]
    return counted.set_index("situation").loc[order].reset_index()


def funnel(snapshot: Snapshot, over: Period) -> pd.DataFrame:
    """Return `stage` and `count`: sign-ups, of these those that ran the trigger, got a row, are confirmed.

    A row proves that the trigger ran, also where the log no longer says so.
    """
    counted = _sign_ups(
        snapshot,
        over,
        "select count(*) as signed_up,"
        " count(*) filter (where attempts > 0 or outcome = 'row_written') as triggered,"
        " count(*) filter (where outcome = 'row_written') as written,"
        " count(*) filter (where outcome = 'row_written'"
        "   and status not in ('UNCONFIRMED', 'FORCE_CHANGE_PASSWORD', 'UNKNOWN')) as confirmed from sign_ups",
    ).iloc[0]
    stages = {"signed_up": "Signed up", "triggered": "Trigger ran", "written": "Row written", "confirmed": "Confirmed"}
    return pd.DataFrame({"stage": list(stages.values()), "count": [int(counted[column]) for column in stages]})


def members(
    snapshot: Snapshot, over: Period, outcomes: Iterable[str] = LOST, limit: int = 50, *, worst_first: bool = False
) -> pd.DataFrame:
    """Return the latest sign-ups with one of these outcomes, newest first; by outcome before that, if wanted.

    Columns: signed_up_at, outcome, account_id, sub, email, status, why (in words). E-mails are as they are: mask them.
    """
    found = _sign_ups(
        snapshot,
        over,
        "select signed_up_at, outcome, account_id, sub, email, status, cause, error from sign_ups"
        " where list_contains($outcomes, outcome)"
        " order by list_position($order, outcome), signed_up_at desc, account_id limit $limit",
        outcomes=list(outcomes),
        order=list(reversed(OUTCOMES)) if worst_first else [""],
        limit=limit,
    )
    found["why"] = [
        CAUSES.get(cause or "") or error or OUTCOMES[outcome]
        for cause, error, outcome in zip(_texts(found["cause"]), _texts(found["error"]), found["outcome"], strict=True)
    ]
    return found.drop(columns=["cause", "error"])


def overwritten(snapshot: Snapshot, limit: int = 200) -> pd.DataFrame:
    """Return the accounts whose row a password reset wrote anew, latest first; columns as of ``members``.

    ``attrs["count"]`` is how many there are in all.
    """
    found = snapshot.sql(
        "select account_created_at as signed_up_at, 'row_written' as outcome, account_id, sub, email, status,"
        " row_created_at, count(*) over () as every from pairs where list_contains(notes, $note)"
        " order by row_created_at desc, account_id limit $limit",
        note=OVERWRITTEN,
        limit=limit,
    )
    found["why"] = [
        f"Row overwritten at the password reset of {at:%-d %b %Y, %H:%M} UTC" for at in found.pop("row_created_at")
    ]
    every = found.pop("every")
    found.attrs["count"] = int(every.iloc[0]) if len(every) else 0
    return found


def stalls(snapshot: Snapshot, over: Period) -> pd.DataFrame:
    """Return the times in the period when rows were not written: three or more sign-ups in a row that lost theirs.

    Columns: since (first loss, also before the period), until (next row written; NaT while it lasts), lost,
    account_id and sub of the first account lost. A night without sign-ups is none; nor is an import, which never
    runs the trigger.
    """
    ever = Period(datetime(1970, 1, 1, tzinfo=UTC), over.end, over.step, over.steps)
    return _sign_ups(snapshot, ever, _STALLS, least=STALLED, begin=over.start)


def history(snapshots: Sequence[Snapshot]) -> pd.DataFrame:
    """Return `at`, `situation`, `count` of the findings of past snapshots, as they were judged then."""
    counted = []
    for snapshot in snapshots:
        found = snapshot.sql("select situation, count(*) as count from findings group by situation")
        counts = dict(zip(found["situation"], found["count"], strict=True))
        counted += [(taken_at(snapshot), situation, int(counts.get(situation, 0))) for situation in FINDINGS_BY_WEIGHT]
    frame = pd.DataFrame(counted, columns=["at", "situation", "count"])
    frame = frame[frame.groupby("situation")["count"].transform("max") > 0]
    return frame.sort_values("at", kind="stable").reset_index(drop=True)


def key_expiry(wiring: Wiring) -> datetime | None:
    """Return when the first of the trigger's API keys expires, by what was seen of them last."""
    latest = max((key["seen_at"] for key in wiring.keys), default=None)
    expiries = [key["expires_at"] for key in wiring.keys if key["seen_at"] == latest and key.get("expires_at")]
    return min((datetime.fromisoformat(expiry) for expiry in expiries), default=None)


def span(length: timedelta) -> str:
    """Return a length of time in words, in its largest unit: `3 hours`."""
    minutes = int(length.total_seconds() // 60)
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _texts(column: "pd.Series[str]") -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


BY_WEIGHT = (
    "orphaned_account",
    "malformed_row",
    "drift",
    "orphaned_row",
    "duplicate",
    "tombstone",
    "unversioned_row",
    "in_flight",
    "out_of_scope",
    "in_sync",
)
FINDINGS_BY_WEIGHT = tuple(situation for situation in BY_WEIGHT if situation not in HEALTHY)
assert set(BY_WEIGHT) == set(SITUATIONS)
