"""By what rows are matched to accounts: configured, learnt at a refresh, or presumed; and rows of other pools."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from lib.config import Settings
from lib.model import Read, Wiring
from lib.reconcile import correlation
from lib.snapshot import Snapshot, Store


def presumed(wiring: Wiring, settings: Settings, store: Store) -> Wiring:
    """Return the wiring with the correlation to expect of the next read: configured, learnt before, else username."""
    if settings.correlation:
        return replace(wiring, correlation=settings.correlation, correlation_source="configured")
    learnt = (each.wiring for each in _past(wiring, store) if each.wiring.correlation_source == "learnt")
    before = next(learnt, None)
    if before is None:
        return replace(wiring, correlation="username", correlation_source="presumed")
    return replace(wiring, correlation=before.correlation, correlation_source="learnt")


def remembered(wiring: Wiring, settings: Settings, store: Store) -> Wiring:
    """Return the wiring with the correlation and the scores of the newest snapshot of the same pool and table."""
    newest = next(_past(wiring, store), None)
    if newest is None:
        return presumed(wiring, settings, store)
    then = newest.wiring
    wiring = replace(wiring, correlation_scores=then.correlation_scores)
    if settings.correlation:
        return replace(wiring, correlation=settings.correlation, correlation_source="configured")
    return replace(wiring, correlation=then.correlation, correlation_source=then.correlation_source)


def settled(wiring: Wiring, accounts: Read, rows: Read) -> Wiring:
    """Return the wiring with the scores of this read and, unless it is configured, the correlation they speak for.

    From an unfinished read or an empty side nothing is learnt: what was presumed stays.
    """
    if not (accounts.source.complete and rows.source.complete):
        return wiring
    shares = correlation.scores(accounts.table, rows.table)
    wiring = replace(wiring, correlation_scores=shares)
    if wiring.correlation_source == "configured":
        return wiring
    if not shares:
        return wiring if wiring.correlation_source == "learnt" else _warned(wiring, _nothing_learnt(accounts.table))
    learnt = correlation.learnt(shares)
    wiring = replace(wiring, correlation=learnt, correlation_source="learnt" if learnt else "unknown")
    return wiring if learnt else _warned(wiring, _unclear(wiring))


def without_strangers(wiring: Wiring, accounts: pa.Table, rows: pa.Table, neighbours: Iterable[Snapshot]) -> Wiring:
    """Return the wiring with a warning for each other environment whose accounts own rows of this table."""
    for neighbour in neighbours:
        ids = correlation.foreign_rows(accounts, rows, neighbour.table("accounts"))
        if ids:
            wiring = _warned(wiring, _contaminated(wiring, neighbour, len(ids)))
    return wiring


def _past(wiring: Wiring, store: Store) -> Iterator[Snapshot]:
    chain = (wiring.pool, wiring.table)
    return (each for each in store.newest_first() if (each.wiring.pool, each.wiring.table) == chain)


def _warned(wiring: Wiring, sentence: str) -> Wiring:
    return replace(wiring, warnings=(*wiring.warnings, sentence))


def _nothing_learnt(accounts: pa.Table) -> str:
    empty = "The table has no living row" if accounts.num_rows else "The pool has no account"
    same = accounts.num_rows and accounts["username"].equals(accounts["sub"])
    why = ", which in this pool is also the sub" if same else ""
    return (
        f"{empty}, so nothing shows how rows are matched to accounts: a row's id is taken to be the username{why}. "
        "Set correlation if that is wrong."
    )


def _unclear(wiring: Wiring) -> str:
    shares = ", ".join(
        f"{correlation.WAYS[way]} {share:.0%}" for way, share in wiring.correlation_scores.items() if share
    )
    likeliest = correlation.likeliest(wiring.correlation_scores)
    way_out = (
        f'If it is by {correlation.WAYS[likeliest]}, set correlation = "{likeliest}"'
        if likeliest
        else "Set correlation"
    )
    return (
        f"How rows are matched to accounts is not clear ({shares or 'nothing matches'}; needed are "
        f"{correlation.ENOUGH:.0%} of the smaller side): there is no plan until it is. {way_out} in pooltable.toml."
    )


def _contaminated(wiring: Wiring, neighbour: Snapshot, count: int) -> str:
    whose = f"{neighbour.manifest['environment']} (pool {neighbour.wiring.pool})"
    return (
        f"Accounts of another pool own {count:,} of the rows of table {wiring.table}: those of {whose}. Its trigger "
        "writes here too, or the table was copied."
    )
