"""The lines of a snapshot's tables that belong to chosen findings."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from lib.model import HEALTHY
from lib.snapshot import Snapshot

# How a table's lines are found from the findings on them.
_BEHIND = {
    "accounts": ("username", "account_id"),
    "rows": ("id", "row_id"),
    "invocations": ("request_id", "request_ids"),
}


def matching(
    snapshot: Snapshot,
    table: str,
    *,
    situations: Collection[str] = (),
    causes: Collection[str] = (),
    every: bool = False,
) -> pa.Table:
    """Return findings, accounts, rows or invocations; with situations or causes, only those of such findings.

    ``every`` chooses among all pairs, those that need nobody included.
    """
    lines = snapshot.table("pairs" if every or not set(situations).isdisjoint(HEALTHY) else "findings")
    chosen = _among(_among(lines, "situation", situations), "cause", causes)
    if table == "findings":
        return chosen
    if not situations and not causes:
        return snapshot.table(table)
    column, key = _BEHIND[table]
    ids = pc.list_flatten(chosen[key]) if table == "invocations" else chosen[key]
    return _within(snapshot.table(table), column, ids)


def _among(table: pa.Table, column: str, values: Collection[str]) -> pa.Table:
    return _within(table, column, pa.array(list(values), pa.string())) if values else table


def _within(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table[column], pc.drop_null(pc.unique(values))))
