"""Which ways of making an account the trigger covers: how accounts came to be, what ran for them, and their rows."""

from dataclasses import dataclass

import pandas as pd

from lib.snapshot import Snapshot
from lib.views.trends import log_reach

ORIGINS = {
    "self_sign_up": "Signed up themselves",
    "federated": "Identity provider",
    "admin_created": "Created by an admin",
    "imported": "Imported",
}
"""How an account came to be, with its name on screen."""

NONE, UNKNOWN = "none", "unknown"
"""In place of a trigger source: the log shows no run, or does not reach back to the account's creation."""

# An e-mail pool's import and a password reset by an admin leave the same status: a run that was seen tells better.
_COUNTED = """
with calls as (
    select
        case
            when position('_' in username) > 0
                then lower(substr(username, 1, position('_' in username) - 1))
                    || substr(username, position('_' in username))
            else username
        end as folded,
        username, trigger_source, started_at
    from invocations
    where started_at is not null and username is not null
        and (substr(trigger_source, 1, 10) = 'PreSignUp_' or trigger_source = 'PostConfirmation_ConfirmSignUp')
), named as (
    select username, status, provider, created_at,
        case
            when position('_' in username) > 0
                then lower(substr(username, 1, position('_' in username) - 1))
                    || substr(username, position('_' in username))
            else username
        end as folded
    from accounts
), called as (
    select a.username,
        min(case when substr(c.trigger_source, 1, 10) = 'PreSignUp_' then c.trigger_source end) as before_sign_up,
        min(case when c.trigger_source = 'PostConfirmation_ConfirmSignUp' then c.trigger_source end) as at_confirmation
    from named a
    join calls c on a.folded = c.folded
    where (a.username = c.username or a.status = 'EXTERNAL_PROVIDER')
        and (a.created_at is null or c.started_at >= a.created_at - interval '10' second)
    group by a.username
), paired as (
    select account_id, situation, cause,
        case when row_id is not null and situation <> 'tombstone' then 1 else 0 end as has_row
    from pairs
    where account_id is not null and situation not in ('duplicate', 'orphaned_row')
), told as (
    select
        case
            when a.provider is not null or a.status = 'EXTERNAL_PROVIDER' then 'federated'
            when c.before_sign_up = 'PreSignUp_AdminCreateUser' then 'admin_created'
            when c.username is not null then 'self_sign_up'
            when a.status = 'FORCE_CHANGE_PASSWORD' then 'admin_created'
            when a.status = 'RESET_REQUIRED' then 'imported'
            else 'self_sign_up'
        end as origin,
        case
            when $kind = 'post_confirmation' then coalesce(c.at_confirmation, c.before_sign_up)
            else coalesce(c.before_sign_up, c.at_confirmation)
        end as seen_source,
        case when a.created_at >= $reach then 'none' else 'unknown' end as without_source,
        p.has_row, p.situation, p.cause
    from named a
    join paired p on a.username = p.account_id
    left join called c on a.username = c.username
)
select origin, coalesce(seen_source, without_source) as trigger_source,
    sum(has_row) as with_row, sum(1 - has_row) as without_row,
    min(case when has_row = 0 then situation end) as situation,
    max(case when has_row = 0 then situation end) as last_situation,
    min(case when has_row = 0 then coalesce(cause, '') end) as cause,
    max(case when has_row = 0 then coalesce(cause, '') end) as last_cause
from told
group by origin, coalesce(seen_source, without_source)
"""


@dataclass(frozen=True)
class Promise:
    """What the wiring promises: to whom a row, and which ways of making an account run no trigger of that kind."""

    to: str
    not_covered: tuple[str, ...]


PROMISES = {
    "pre_sign_up": Promise("every sign-up, confirmed or not", ("imported",)),
    "post_confirmation": Promise("every confirmed sign-up", ("admin_created", "imported")),
}
"""By the kind of trigger. Whether a first federated sign-in runs PostConfirmation differs: the matrix shows it."""


def matrix(snapshot: Snapshot) -> pd.DataFrame:
    """Return how many accounts of each origin had which trigger source seen, with and without a living row.

    Columns: origin, trigger_source (or ``NONE``, ``UNKNOWN``), with_row, without_row, and the situation and cause that
    all those without a row share (null where they do not). In the order of ``ORIGINS``, the most frequent source first.
    """
    reach = log_reach(snapshot)
    never = snapshot.manifest["finished_at"]
    counted = snapshot.sql(_COUNTED, kind=snapshot.wiring.trigger, reach=reach.isoformat() if reach else never)
    for name in ("situation", "cause"):
        counted[name] = counted[name].where(counted[name] == counted[f"last_{name}"]).replace("", None)
    counted["cause"] = counted["cause"].where(counted["situation"].notna())
    order = counted["origin"].map(list(ORIGINS).index)
    most = -(counted["with_row"] + counted["without_row"])
    counted = counted.assign(order=order, most=most).sort_values(["order", "most", "trigger_source"])
    columns = ["origin", "trigger_source", "with_row", "without_row", "situation", "cause"]
    counts = {"with_row": int, "without_row": int}
    return counted[columns].astype(counts).reset_index(drop=True)
