"""One refresh: read the three sources, say how far each was read, and store what they show together."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib import logparse, matching, rescue
from lib.aws import discovery, logs, pool, table
from lib.aws.session import Aws
from lib.journal import Journal
from lib.model import INVOCATIONS, ROWS, AwsError, Item, Progress, Read, Source, Wiring, moment, now
from lib.snapshot import Snapshot, Store
from lib.snapshot.seen import row_ids

# Lambda runs for 900 s at most, and CloudWatch may take an event some minutes late: what began before the last
# read by more than this was whole in it.
_LOOK_BACK = timedelta(hours=1)


def refresh(
    aws: Aws, store: Store, journal: Journal, progress: Progress | None = None, *, neighbours: Iterable[Snapshot] = ()
) -> Snapshot:
    """Read accounts, then rows, and the log beside them; store and return the snapshot.

    ``neighbours`` are the latest snapshots of other pools, whose accounts' rows have no business in this table. A
    source that could not be read to its end does not raise: the snapshot is stored as incomplete, and says which one
    and why.
    """
    started_at = now()
    wiring = matching.presumed(discovery.discover(aws), aws.settings, store)
    earlier = _latest_log(store, wiring)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="log") as beside:
        log = beside.submit(_read_log, aws, wiring, earlier, progress)
        accounts = pool.read_accounts(aws, progress)
        wiring, rows = _read_rows(aws, wiring, accounts, progress)
        invocations, log_from = log.result()
    wiring = replace(
        matching.without_strangers(wiring, accounts.table, rows.table, neighbours),
        versioned=wiring.versioned or _any(pc.is_valid(rows.table["version"])),
        log_from=log_from,
        keys=_known_keys(wiring, store, rescue.facts(journal, aws.settings.name, wiring.pool)),
    )
    return store.write(
        accounts,
        rows,
        invocations,
        wiring=wiring,
        settings=aws.settings,
        started_at=started_at,
        written=_written(journal, aws.settings.name, wiring),
        accepted=journal.accepted_snapshots(aws.settings.name),
    )


def _written(journal: Journal, environment: str, wiring: Wiring) -> list[tuple[str, datetime]]:
    """Return the rows that the journal read back at any time, by the value that matches them to accounts.

    They were there, whatever became of them; but one that an undo took back never was anybody's.
    """
    rows: dict[str, tuple[Item, datetime]] = {}
    everything = journal.verified_since(environment, wiring.pool, wiring.table or "", datetime.fromtimestamp(0, UTC))
    for row_id, item, at in everything:
        if item:
            rows[row_id] = (item, at)
        else:
            rows.pop(row_id, None)
    images = table.rows_of(item for item, _ in rows.values())
    ids = row_ids(images, wiring.correlation).to_pylist()
    return [(id, at) for id, (_, at) in zip(ids, rows.values(), strict=True) if id is not None]


def _read_rows(aws: Aws, wiring: Wiring, accounts: Read, progress: Progress | None) -> tuple[Wiring, Read]:
    """Return the rows, and the wiring with what was learnt of how they are matched to the accounts."""
    if wiring.table is None:
        return wiring, _unread(ROWS, "The User table is not known. Set table for the environment in pooltable.toml.")
    # A scan may miss the newest writes. By id the few in question are read again below; otherwise all of it is.
    consistent = not _by_id(wiring)
    rows = table.read_rows(aws, wiring.table, consistent=consistent, progress=progress)
    wiring = matching.settled(wiring, accounts, rows)
    if not rows.source.complete:
        return wiring, rows
    if _by_id(wiring):
        return wiring, _with_missing_rows(
            aws, str(wiring.table), rows, accounts.table[wiring.correlation or "username"]
        )
    return wiring, rows if consistent else table.read_rows(aws, str(wiring.table), consistent=True, progress=progress)


def _by_id(wiring: Wiring) -> bool:
    """Return whether rows are looked up by id; while that is not known, they are judged as if it were so."""
    return wiring.correlation in (None, "username", "sub")


def _with_missing_rows(aws: Aws, name: str, rows: Read, ids: pa.ChunkedArray) -> Read:
    """Return the rows with those that only a strongly consistent read finds."""
    missing = ids.filter(pc.invert(pc.is_in(ids, pc.unique(rows.table["id"])))).drop_null().unique().to_pylist()
    try:
        found = table.items(aws, name, missing)
    except AwsError as error:
        return Read(rows.table, replace(rows.source, complete=False, why_not=str(error)))
    both = pa.concat_tables([rows.table, table.rows_of(found.values())])
    return Read(both, replace(rows.source, count=both.num_rows, ended_at=now()))


@dataclass(frozen=True)
class _Log:
    """The part of the log that an earlier refresh read without a gap."""

    invocations: pa.Table
    log_from: datetime
    read_until: datetime
    suspicious: int


def _latest_log(store: Store, wiring: Wiring) -> _Log | None:
    for snapshot in store.newest_first():
        source = snapshot.manifest["sources"]["invocations"]
        log_from = snapshot.wiring.log_from
        if source["complete"] and log_from and snapshot.wiring.log_groups == wiring.log_groups:
            until = moment(source["started_at"])
            assert until is not None
            return _Log(snapshot.table("invocations"), log_from, until, source.get("suspicious", 0))
    return None


def _read_log(aws: Aws, wiring: Wiring, earlier: _Log | None, progress: Progress | None) -> tuple[Read, datetime]:
    """Return the invocations still covered by evidence, and the time from which the log was read without a gap."""
    started_at = now()
    log_from = earlier.log_from if earlier else started_at - timedelta(days=aws.settings.log_days)
    start = max(log_from, earlier.read_until - _LOOK_BACK) if earlier else log_from
    if not wiring.log_groups:
        why_not = "The trigger's log group is not known. Set log_group for the environment in pooltable.toml."
        return _unread(INVOCATIONS, why_not), log_from
    sources, parts, suspicious = [], [], earlier.suspicious if earlier else 0
    for position, group in enumerate(wiring.log_groups):
        events, source = logs.read_events(aws, group, start, started_at, progress)
        function = wiring.functions[position] if position < len(wiring.functions) else None
        found, strays = _parsed(events, function, group, started_at)
        parts.append(found)
        # What the look-back shows again was counted before.
        suspicious += sum(not earlier or at >= earlier.read_until.timestamp() * 1000 for at in strays)
        sources.append(source)
        if source.complete and source.pages == 0:
            # A group that does not exist (yet) is no error, but it is no evidence either.
            log_from = started_at
    invocations = pa.concat_tables(parts)
    if earlier:
        kept = _between(earlier.invocations, _evidence_start(wiring, log_from, started_at), start)
        # One that began before the window shows its end again in it.
        again = pc.is_in(invocations["request_id"], pc.drop_null(pc.unique(kept["request_id"])))
        invocations = pa.concat_tables([kept, invocations.filter(pc.invert(again))])
    return Read(invocations, replace(_together(sources, invocations.num_rows), suspicious=suspicious)), log_from


def _parsed(events: list[dict[str, Any]], function: str | None, group: str, at: datetime) -> tuple[pa.Table, list[int]]:
    """Return the invocations, and when a line came that no run can have written."""
    frame = logparse.invocations(events, now=at)
    strays: list[int] = frame.attrs.pop("suspicious_at")
    frame["function"], frame["log_group"] = function, group
    return pa.Table.from_pandas(frame, schema=INVOCATIONS, preserve_index=False), strays


def _between(invocations: pa.Table, start: datetime, end: datetime) -> pa.Table:
    began = pc.coalesce(invocations["started_at"], invocations["ended_at"])
    return invocations.filter(pc.and_(pc.greater_equal(began, start), pc.less(began, end)))


def _evidence_start(wiring: Wiring, log_from: datetime, at: datetime) -> datetime:
    retained = at - timedelta(days=wiring.retention_days) if wiring.retention_days else log_from
    return max(log_from, retained)


def _together(sources: list[Source], count: int) -> Source:
    why_not = " ".join(source.why_not for source in sources if source.why_not) or None
    return Source(
        complete=all(source.complete for source in sources),
        why_not=why_not,
        pages=sum(source.pages for source in sources),
        count=count,
        started_at=min(source.started_at for source in sources),
        ended_at=max(source.ended_at for source in sources),
    )


def _known_keys(wiring: Wiring, store: Store, rescued: tuple[Mapping[str, str], ...]) -> tuple[Mapping[str, str], ...]:
    """Return every fact about the trigger's key that a refresh or a rescue saw, each as it was first seen."""
    earlier = next((snapshot.wiring.keys for snapshot in store.newest_first()), ())
    facts: dict[tuple[str, str], Mapping[str, str]] = {}
    for fact in (*earlier, *rescued, *wiring.keys):
        facts.setdefault((fact["digest"], fact["expires_at"]), fact)
    return tuple(facts.values())


def _unread(schema: pa.Schema, why_not: str) -> Read:
    at = now()
    return Read(schema.empty_table(), Source(False, why_not, 0, 0, at, at))


def _any(flags: pa.ChunkedArray) -> bool:
    return bool(pc.any(flags).as_py())
