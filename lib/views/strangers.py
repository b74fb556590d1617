"""Rows of this table that belong to accounts of another environment's pool."""

from collections.abc import Iterable
from hashlib import sha256

import pandas as pd

from lib.reconcile.correlation import foreign_rows
from lib.snapshot import Snapshot


def strangers(snapshot: Snapshot, neighbours: Iterable[Snapshot]) -> pd.DataFrame:
    """Return one line per such row: row_id, environment and pool (whose account it is), key (its name in a URL)."""
    accounts, rows = snapshot.table("accounts"), snapshot.table("rows")
    found = [
        (row_id, each.manifest["environment"], each.wiring.pool, sha256(f"id:{row_id}".encode()).hexdigest()[:32])
        for each in neighbours
        for row_id in foreign_rows(accounts, rows, each.table("accounts"))
    ]
    return pd.DataFrame(found, columns=["row_id", "environment", "pool", "key"])
