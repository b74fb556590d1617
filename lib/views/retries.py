"""The attempts of one sign-up, taken together: Cognito runs the trigger again when it fails or takes too long."""

from datetime import timedelta
from typing import Any

import pandas as pd

from lib.reconcile import attempts
from lib.snapshot import Snapshot
from lib.views.failures import LIMIT_MS, RUNS
from lib.views.lookup import Record, records
from lib.views.trends import Period, taken_at

# Runs of nobody known are each a group of their own.
_ATTEMPTS = """, calls as (
    select '' as subject, g.* from grouped g join hit on hit.username = g.username
), ATTEMPTS, tries as (
    select * exclude (subject, opens, number) from attempts
    union all by name
    select g.*, row_number() over (order by g.key) as chain, 0 as group_number, 1 as attempt
    from grouped g where g.username is null
)
""".replace("ATTEMPTS", attempts())

_HIT_BY_GROUP = """, hit as (
    select distinct username from grouped
    where fingerprint = $fingerprint and started_at >= $start and username is not null
)"""

_GROUPS = """, taken as (
    select coalesce(username, '') as username,
        arg_max(key, started_at) filter (where fingerprint = $fingerprint) as key, list(key order by attempt) as keys,
        any_value(email) as email, count(*) as attempts, min(started_at) as started_at,
        arg_min(coalesce(kind, 'completed'), started_at) as first_end,
        arg_max(coalesce(kind, 'completed'), started_at) as last_end,
        max(coalesce(ended_at, started_at)) as ended_at, max(started_at) as last_started_at,
        count(distinct log_stream) as streams,
        coalesce(bool_or(ended_at > started_at + to_milliseconds($limit_ms)), false) as ran_late
    from tries
    group by username, trigger_source, chain, group_number
    having bool_or(fingerprint = $fingerprint and started_at >= $start)
), written as (
    select coalesce(account_id, row_id) as username, max(sub) as sub, max(row_created_at) as row_created_at
    from pairs where coalesce(account_id, row_id) is not null group by 1
)
select t.* exclude (username, ended_at, last_started_at), w.sub,
    epoch_ms(t.ended_at) - epoch_ms(t.started_at) as span_ms,
    t.ran_late or coalesce(
        w.row_created_at > t.last_started_at + to_milliseconds($limit_ms)
            and w.row_created_at <= t.ended_at + interval 1 second, false
    ) as is_late
from taken t left join written w on w.username = t.username
order by t.started_at desc, t.key limit $most
"""

_ONE = """, hit as (select username from grouped where key = $key and username is not null limit 1)
"""

_TOGETHER = """
select t.* exclude (event, message), a.sub from tries t
join (select * from tries where key = $key limit 1) c
    on c.username is not distinct from t.username and c.trigger_source is not distinct from t.trigger_source
    and c.chain = t.chain and c.group_number = t.group_number
left join accounts a on a.username = t.username
order by t.attempt
"""


def groups(snapshot: Snapshot, over: Period, fingerprint: str, limit: int = 100) -> pd.DataFrame:
    """Return the retry groups with a run of this fingerprint in the period, newest first; a sign-up is one line.

    Columns: key (of its last run with the fingerprint), keys (of its attempts in order), started_at, attempts,
    first_end and last_end (what became of the first and the last attempt: a kind of failure, or `completed`),
    span_ms (first start to last end), streams, ran_late (an attempt ended more than 5 s after it started), is_late
    (or the row came after Cognito gave up), email, sub (null where there is no account any more).
    """
    return snapshot.sql(
        RUNS + _HIT_BY_GROUP + _ATTEMPTS + _GROUPS,
        start=over.start,
        end=over.end,
        fingerprint=fingerprint,
        limit_ms=LIMIT_MS,
        most=limit,
    )


def sign_up(snapshot: Snapshot, key: str) -> list[Record]:
    """Return the attempts that the run with this key belongs to, first to last; empty where there is no such run.

    Each has the columns of `invocations` but `event`, and key, kind and fingerprint (None unless it failed), said,
    attempt (from 1) and sub.
    """
    found = snapshot.sql(RUNS + _ONE + _ATTEMPTS + _TOGETHER, end=_end(snapshot), key=key)
    return list(records(found))


def attempt_numbers(snapshot: Snapshot, username: str) -> dict[str, int]:
    """Return which attempt of its sign-up each run for a username was, by request id."""
    found = snapshot.sql(
        "with calls as (select '' as subject, * from invocations where username = $username and request_id is not null)"
        f", {attempts()} select request_id, attempt from attempts",
        username=username,
    )
    return {str(request): int(attempt) for request, attempt in zip(found["request_id"], found["attempt"], strict=True)}


def _end(snapshot: Snapshot) -> Any:
    # Whatever the log holds, also what began while the snapshot was being read.
    return taken_at(snapshot) + timedelta(days=1)
