"""How rows are matched to accounts, learnt from both, and rows that belong to the accounts of another pool."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import pyarrow as pa
import pyarrow.compute as pc

from lib.model import CORRELATIONS
from lib.reconcile import queried

WAYS = {
    "username": "id = username",
    "sub": "id = sub",
    "owner": "owner, either form",
    "owner_sub_username": "owner = sub::username",
    "owner_username": "owner = username",
    "email": "e-mail",
}
"""Every way in which rows are held against accounts, in words; the forms of owner are told apart only to be shown."""

ENOUGH = 0.9
"""The share of the smaller side that a correlation must match to be used unasked."""

AHEAD = 0.2
"""By how much it must match more than the next; what is nearer is a tie, which the order of ``CORRELATIONS`` breaks."""

_FOREIGN = """
with theirs as (
    select t.username as id from strangers t
    union
    select t.sub as id from strangers t
),
ours as (
    select a.username as id from accounts a
    union
    select a.sub as id from accounts a
)
select distinct r.id
from rows r
join theirs t on r.id = t.id
left join ours o on r.id = o.id
where o.id is null and not coalesce(r.deleted, false)
order by r.id
"""


def scores(accounts: pa.Table, rows: pa.Table) -> dict[str, float]:
    """Return the share (0 to 1) of the smaller side that each of ``WAYS`` matches; nothing where a side is empty.

    Soft-deleted rows do not count.
    """
    living = pc.sum(pc.invert(pc.fill_null(rows["deleted"], False))).as_py() or 0
    smaller = min(accounts.num_rows, living)
    if not smaller:
        return {}
    relations = {
        "accounts": accounts.select(["username", "sub", "email_key"]),
        "rows": rows.select(["id", "owner", "email_key", "deleted"]),
    }
    matched = {line["way"]: line["matched"] for line in queried(_statement(), relations).to_pylist()}
    return {way: min(1.0, matched[way] / smaller) for way in WAYS}


def likeliest(shares: Mapping[str, float]) -> str | None:
    """Return the correlation with the best score, of a tie the first of ``CORRELATIONS``; None where none matches."""
    best = max((shares.get(way, 0.0) for way in CORRELATIONS), default=0.0)
    # Whole records far from a border may differ from it by a rounding of floats.
    return next(way for way in CORRELATIONS if best - shares[way] < AHEAD - 1e-9) if best else None


def learnt(shares: Mapping[str, float]) -> str | None:
    """Return the correlation that the scores speak for; None where they speak for none clearly enough."""
    way = likeliest(shares)
    return way if way and shares[way] >= ENOUGH - 1e-9 else None


def foreign_rows(accounts: pa.Table, rows: pa.Table, strangers: pa.Table) -> list[str]:
    """Return the ids of living rows that are a username or sub of ``strangers`` and of none of ``accounts``, sorted."""
    names = ["username", "sub"]
    relations = {
        "accounts": accounts.select(names),
        "strangers": strangers.select(names),
        "rows": rows.select(["id", "deleted"]),
    }
    ids: list[str] = queried(_FOREIGN, relations)["id"].to_pylist()
    return ids


@cache
def _statement() -> str:
    return resources.files("lib.reconcile").joinpath("correlation.sql").read_text(encoding="utf-8")
