"""Reads that were complete and still look wrong: shrunken, empty, or of another world than the one before."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib.model import CORRELATIONS, Wiring

_FEWEST_LOST = 10
_FEWEST_COMPARED = 20


def suspicions(
    accounts: pa.Table,
    rows: pa.Table,
    wiring: Wiring,
    previous: Mapping[str, Any] | None,
    *,
    max_shrink_percent: float,
    min_overlap_percent: float,
) -> list[str]:
    """Return why no plan should be made from this read until a person says so, one sentence each; often nothing.

    ``previous`` is the manifest of the last complete snapshot. Soft-deleted rows count as read, but not as living.
    """
    living = rows.filter(pc.invert(pc.fill_null(rows["deleted"], False)))
    found = [_empty(accounts.num_rows, living.num_rows), _foreign(accounts, living, wiring, min_overlap_percent)]
    if previous is not None:
        found += [_moved(name, getattr(wiring, name), previous) for name in ("pool", "region", "table")]
        counts = {"accounts": accounts.num_rows, "rows": rows.num_rows}
        found += [_shrunken(name, count, previous, max_shrink_percent) for name, count in counts.items()]
    return [sentence for sentence in found if sentence]


def _empty(accounts: int, rows: int) -> str | None:
    if bool(accounts) == bool(rows):
        return None
    if accounts:
        return f"The table has no living row, but the pool has {accounts:,} accounts."
    return f"The pool has no account, but the table has {rows:,} living rows."


def _foreign(accounts: pa.Table, rows: pa.Table, wiring: Wiring, min_overlap_percent: float) -> str | None:
    smaller = min(accounts.num_rows, rows.num_rows)
    if smaller < _FEWEST_COMPARED:
        return None
    # While the correlation is not known, sides that match in no way at all are still strangers.
    ways = [wiring.correlation] if wiring.correlation else CORRELATIONS
    matching = max(_matching(accounts, rows, way) for way in ways)
    percent = 100 * matching / smaller
    if percent >= min_overlap_percent:
        return None
    return (
        f"Only {matching:,} of {smaller:,} match between pool {wiring.pool} and table {wiring.table} "
        f"({percent:.0f} %, expected at least {min_overlap_percent:g} %): do they belong together?"
    )


def _matching(accounts: pa.Table, rows: pa.Table, correlation: str) -> int:
    if correlation == "owner":
        forms = [accounts["username"], pc.binary_join_element_wise(accounts["sub"], accounts["username"], "::")]
        keys, held = pa.chunked_array([chunk for form in forms for chunk in form.chunks], pa.string()), rows["owner"]
    elif correlation == "email":
        keys, held = accounts["email_key"], rows["email_key"]
    else:
        keys, held = accounts[correlation], rows["id"]
    distinct = pc.drop_null(pc.unique(held))
    return int(pc.sum(pc.is_in(distinct, pc.drop_null(pc.unique(keys)))).as_py() or 0)


def _moved(name: str, value: str | None, previous: Mapping[str, Any]) -> str | None:
    before = previous["wiring"].get(name)
    if before is None or value is None or before == value:
        return None
    return f"The {name} is {value}; the last complete snapshot read {before}."


def _shrunken(name: str, count: int, previous: Mapping[str, Any], max_shrink_percent: float) -> str | None:
    before = previous["sources"][name]["count"]
    lost = before - count
    if lost < _FEWEST_LOST or 100 * lost <= max_shrink_percent * before:
        return None
    return (
        f"The {name} shrank from {before:,} to {count:,} since the last complete snapshot "
        f"({100 * lost / before:.0f} %, expected at most {max_shrink_percent:g} %)."
    )
