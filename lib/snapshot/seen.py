"""What earlier snapshots and the journal knew: accounts and rows that were there once, by the key that matches them.

``id`` is the value by which accounts and rows are matched, so that either side can be asked for the other after it is
gone: Username or sub, the owner (for an account both of its forms), or the e-mail's key.
"""

from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lib.model import SEEN


def merge_seen(
    previous: pa.Table | None,
    accounts: pa.Table,
    rows: pa.Table,
    at: datetime,
    *,
    correlation: str | None,
    written: Iterable[tuple[str, datetime]] = (),
) -> pa.Table:
    """Return what is known after a read at ``at``: kind ``account`` or ``row``, id, first_seen, last_seen, source.

    ``written`` are rows the journal read back, by ``id`` and time; ``source`` is ``journal`` for what it ever knew,
    else ``snapshot``.
    """
    parts = [previous if previous is not None else SEEN.empty_table()]
    parts += [_seen("account", ids, at) for ids in _account_ids(accounts, correlation)]
    parts += [_seen("row", row_ids(rows, correlation), at)]
    known = [
        {"kind": "row", "id": row_id, "first_seen": read_at, "last_seen": read_at, "source": "journal"}
        for row_id, read_at in written
    ]
    parts.append(pa.Table.from_pylist(known, schema=SEEN))
    merged = (
        pa.concat_tables(parts)
        .group_by(["kind", "id"])
        .aggregate([("first_seen", "min"), ("last_seen", "max"), ("source", "min")])
    )
    return merged.select(["kind", "id", "first_seen_min", "last_seen_max", "source_min"]).rename_columns(SEEN.names)


def _account_ids(accounts: pa.Table, correlation: str | None) -> list[pa.ChunkedArray]:
    if correlation == "owner":
        return [accounts["username"], pc.binary_join_element_wise(accounts["sub"], accounts["username"], "::")]
    return [accounts[{"sub": "sub", "email": "email_key"}.get(correlation or "", "username")]]


def row_ids(rows: pa.Table, correlation: str | None) -> pa.ChunkedArray:
    """Return the value of each row that matches it to an account."""
    return rows[{"owner": "owner", "email": "email_key"}.get(correlation or "", "id")]


def _seen(kind: str, ids: pa.ChunkedArray, at: datetime) -> pa.Table:
    present = pc.drop_null(ids).combine_chunks()
    count = len(present)
    moments = pa.repeat(pa.scalar(at, SEEN.field("first_seen").type), count)
    columns = [pa.repeat(kind, count), present, moments, moments, pa.repeat("snapshot", count)]
    return pa.Table.from_arrays(columns, schema=SEEN)
