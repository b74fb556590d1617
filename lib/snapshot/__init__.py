"""Snapshots: what one refresh read and what it showed, kept as a folder of Parquet files that nothing changes."""

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lib.config import Settings
from lib.model import FINDINGS, ROWS, NoSnapshot, Read, Wiring, iso, now
from lib.person import Person
from lib.reconcile import NO_EXTENSIONS, findings, reconcile
from lib.reconcile.reasons import confirmed
from lib.snapshot.folders import READ_TABLES, TABLES, Folders, read_folder, replace_findings
from lib.snapshot.forgetting import widened, without
from lib.snapshot.judged import noted
from lib.snapshot.seen import merge_seen
from lib.snapshot.suspicion import suspicions

Reader = Callable[[str], pa.Table]


class Snapshot:
    """One snapshot, or a view of it with the repairs made since. Never changes; may be shared between threads."""

    def __init__(
        self,
        stamp: str,
        manifest: Mapping[str, Any],
        read: Reader,
        *,
        marks: dict[str, datetime] | None = None,
        judged: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.stamp = stamp
        self.manifest = manifest
        self.wiring: Wiring = Wiring.from_manifest(manifest["wiring"])
        self._read = read
        self._marks = marks or {}
        self._judged = judged
        self._tables: dict[str, pa.Table] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        counts = ", ".join(f"{source['count']:,} {name}" for name, source in self.manifest["sources"].items())
        state = "complete" if self.manifest["complete"] else "incomplete"
        return f"<Snapshot {self.stamp} of {self.manifest['environment']}: {counts}; {state}>"

    @property
    def accounts(self) -> pd.DataFrame:
        """The accounts, columns as in ``model.ACCOUNTS``."""
        return self._frame("accounts")

    @property
    def rows(self) -> pd.DataFrame:
        """The rows, columns as in ``model.ROWS``."""
        return self._frame("rows")

    @property
    def invocations(self) -> pd.DataFrame:
        """The invocations, columns as in ``model.INVOCATIONS``."""
        return self._frame("invocations")

    @property
    def findings(self) -> pd.DataFrame:
        """The findings, columns as in ``model.FINDINGS``."""
        return self._frame("findings")

    def table(self, name: str) -> pa.Table:
        """Return accounts, rows, invocations, seen, findings, or pairs: the findings and all that need nobody."""
        with self._lock:
            if name not in self._tables:
                if self._judged is not None:
                    read = self._read(name)
                    self._tables[name] = noted(read, self._judged) if name in ("findings", "pairs") else read
                else:
                    self._tables[name] = self._pairs() if name == "pairs" else self._read(name)
            return self._tables[name]

    def sql(self, query: str, **parameters: Any) -> pd.DataFrame:
        """Return what a DuckDB query over the tables of ``table`` gives; ``$name`` stands for a parameter.

        It sees the tables and nothing else: no file, no network, no variable of the caller. Times are in UTC.
        """
        with self._database.cursor() as cursor:
            for name in (*TABLES, "pairs"):
                if re.search(rf"\b{name}\b", query, re.IGNORECASE):
                    cursor.register(name, self.table(name))
            found: pd.DataFrame = cursor.sql(query, params=parameters or None).to_arrow_table().to_pandas()
            return found

    def with_rows(self, changed: Mapping[str, pa.Table | None], confirmed_at: Mapping[str, datetime]) -> "Snapshot":
        """Return this snapshot as it is with rows that were written and read back since it began.

        ``changed`` gives for a row id the row as a one-row table, or None when it is gone; ``confirmed_at`` when it
        was read back. Situations and causes are made anew; lines of these rows, and of accounts that lost theirs,
        get the note ``repaired``.
        """
        rows = self.table("rows")
        kept = rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(list(changed), pa.string()))))
        written = [row.select(ROWS.names).cast(ROWS) for row in changed.values() if row is not None]
        tables = {name: self.table(name) for name in READ_TABLES} | {"rows": pa.concat_tables([kept, *written])}
        view = Snapshot(
            self.stamp, self.manifest, tables.__getitem__, marks=self._marks | self._marked(changed, confirmed_at)
        )
        view._tables["findings"] = findings(view.table("pairs"))
        return view

    def with_judged(self, subjects: Mapping[str, Collection[str]]) -> "Snapshot":
        """Return this snapshot with the note ``accepted`` on the findings that a person has judged, by situation."""
        return Snapshot(self.stamp, self.manifest, self.table, marks=self._marks, judged=subjects)

    def _frame(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def _marked(
        self, changed: Mapping[str, pa.Table | None], confirmed_at: Mapping[str, datetime]
    ) -> dict[str, datetime]:
        """Return when each line was confirmed, by ``r`` and its row id, or by ``a`` and its account id."""
        marks = {f"r{row_id}": at for row_id, at in confirmed_at.items()}
        gone = [row_id for row_id, row in changed.items() if row is None]
        if gone:
            accounts, pairs = self.table("accounts"), self.table("pairs")
            by_id = accounts["sub" if self.wiring.correlation == "sub" else "username"]
            held = pairs.filter(pc.is_in(pairs["row_id"], pa.array(gone, pa.string())))
            owners = dict(zip(by_id.to_pylist(), accounts["username"].to_pylist(), strict=True))
            owners |= dict(zip(held["row_id"].to_pylist(), held["account_id"].to_pylist(), strict=True))
            marks |= {f"a{owners[row_id]}": confirmed_at[row_id] for row_id in gone if owners.get(row_id) is not None}
        return marks

    def _pairs(self) -> pa.Table:
        pairs = reconcile(**{name: self.table(name) for name in READ_TABLES}, manifest=self.manifest)
        if not self._marks:
            return pairs
        by_row, by_account = ([name[1:] for name in self._marks if name[0] == kind] for kind in "ra")
        is_marked = pc.or_(
            pc.is_in(pairs["row_id"], pa.array(by_row, pa.string())),
            pc.is_in(pairs["account_id"], pa.array(by_account, pa.string())),
        )
        marked = [self._confirmed(line) for line in pairs.filter(is_marked).to_pylist()]
        return pa.concat_tables(
            [pairs.filter(pc.invert(is_marked)), pa.Table.from_pylist(marked, schema=FINDINGS)]
        ).combine_chunks()

    def _confirmed(self, line: dict[str, Any]) -> dict[str, Any]:
        at = self._marks.get(f"r{line['row_id']}") or self._marks[f"a{line['account_id']}"]
        return line | {"notes": [*line["notes"], "repaired"], "reason": confirmed(line["reason"], at)}

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            database = duckdb.connect(config=NO_EXTENSIONS | {"python_enable_replacements": False})
            database.execute("set global TimeZone = 'UTC'")
            database.execute("set enable_external_access = false")
            database.execute("set lock_configuration = true")
            return database


class Store:
    """The snapshots of one environment below a local path or ``s3://bucket/prefix``.

    A folder appears as a whole or not at all; what cannot be read is skipped, so that the last good one is used.
    With ``pool``, snapshots of another pool are not this environment's past: its name was given to a new one.
    """

    def __init__(self, path: str, environment: str, keep: int, pool: str | None = None) -> None:
        self._environment = environment
        self._keep = keep
        self._pool = pool
        self._folders = Folders(path, environment)

    def write(
        self,
        accounts: Read,
        rows: Read,
        invocations: Read,
        *,
        wiring: Wiring,
        settings: Settings,
        started_at: datetime,
        written: Iterable[tuple[str, datetime]] = (),
        accepted: Collection[str] = (),
    ) -> Snapshot:
        """Judge what a refresh read, store it with what earlier snapshots knew, and return the snapshot.

        ``written`` are the rows that the journal read back, by id and time; ``accepted`` the stamps of suspicious
        snapshots that a person let pass. Raises ``PooltableError`` when it cannot
        be stored; nothing of it is left then.
        """
        sources = {"accounts": accounts, "rows": rows, "invocations": invocations}
        tables = {name: read.table for name, read in sources.items()}
        complete = all(read.source.complete for read in sources.values())
        baseline = self._trusted(accepted)
        doubts = _doubts(accounts, rows, wiring, settings, baseline)
        manifest = {
            "environment": self._environment,
            "started_at": iso(started_at),
            "finished_at": iso(now()),
            "complete": complete,
            "suspicious": bool(doubts),
            "reasons": [read.source.why_not for read in sources.values() if read.source.why_not] + doubts,
            "sources": {name: read.source.manifest() for name, read in sources.items()},
            "wiring": wiring.manifest(),
        }
        tables["seen"] = merge_seen(
            self._seen_before(wiring),
            accounts.table,
            rows.table,
            rows.source.ended_at,
            correlation=wiring.correlation,
            written=written,
        )
        return self.add(tables | {"findings": findings(reconcile(**tables, manifest=manifest))}, manifest)

    def _seen_before(self, wiring: Wiring) -> pa.Table | None:
        """Return what was known of this very pool and table, matched in the same way."""
        chain = (wiring.pool, wiring.table, wiring.correlation)
        for earlier in self.newest_first():
            if (earlier.wiring.pool, earlier.wiring.table, earlier.wiring.correlation) == chain:
                return earlier.table("seen")
        return None

    def _trusted(self, accepted: Collection[str]) -> Snapshot | None:
        """Return the last complete snapshot that was not suspicious, or accepted: what a new read is held against.

        Not simply the last one: a shrunken read that nobody accepted must not vouch for the next.
        """
        complete = (snapshot for snapshot in self.newest_first() if snapshot.manifest["complete"])
        return next((each for each in complete if not each.manifest["suspicious"] or each.stamp in accepted), None)

    def add(self, tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> Snapshot:
        """Store these tables and this manifest as one snapshot, and return it.

        ``tables`` has a table for each name in ``TABLES``; ``schema`` and ``digest`` of the manifest are set here.
        The oldest snapshots beyond ``keep`` go, but never the latest complete one,
        nor the one that the next read is held against.
        """
        stamp = self._folders.add(tables, manifest)
        self._prune(stamp)
        added = self._opened(stamp)
        assert added is not None
        return added

    def latest(self) -> Snapshot:
        """Return the newest snapshot that can be read; raise ``NoSnapshot`` when there is none."""
        newest = next(self.newest_first(), None)
        if newest is None:
            raise NoSnapshot(
                f"There is no snapshot of {self._environment} yet. Make one: "
                f"python -m lib refresh --env {self._environment}"
            )
        return newest

    def last_complete(self) -> Snapshot | None:
        """Return the newest snapshot whose sources were all read to their end, if there is one."""
        return next((snapshot for snapshot in self.newest_first() if snapshot.manifest["complete"]), None)

    def history(self) -> list[Snapshot]:
        """Return every snapshot that can be read, newest first."""
        return list(self.newest_first())

    def newest_first(self) -> Iterator[Snapshot]:
        """Yield the snapshots that can be read, newest first, each opened when it is asked for."""
        for stamp in self._folders.stamps():
            snapshot = self._opened(stamp)
            if snapshot is not None:
                yield snapshot

    def person(self, id: str) -> Person:
        """Return all that the stored snapshots know an id's person by, whether the id is of an account or a row."""
        person = Person([id], [id] if "@" in id else [])
        for _ in range(2):
            for snapshot in self.newest_first():
                person = widened(person, {name: snapshot.table(name) for name in ("accounts", "rows")})
        return person

    def forget(self, person: Person) -> int:
        """Take a person out of every stored snapshot, and return of how many lines.

        What was read stays said in the manifests: counts and digests. Each file is replaced at one stroke, the
        accounts last, so that one who was broken off finds the person again.
        """
        count = 0
        for stamp in self._folders.stamps():
            if self._opened(stamp) is None:
                continue
            for name in reversed(TABLES):
                left, found = without(name, self._folders.table(stamp, name), person)
                if found:
                    self._folders.replace(stamp, name, left)
                    count += found
        return count

    def _opened(self, stamp: str) -> Snapshot | None:
        manifest = self._folders.manifest(stamp)
        if manifest is None or (self._pool and manifest["wiring"]["pool"] != self._pool):
            return None
        return Snapshot(stamp, manifest, lambda name: self._folders.table(stamp, name))

    def _prune(self, added: str) -> None:
        staying = {added} | {kept.stamp for kept in (self.last_complete(), self._trusted(())) if kept}
        for stamp in self._folders.stamps()[self._keep :]:
            if stamp not in staying:
                self._folders.remove(stamp)
        self._folders.remove_abandoned()


def rejudge(folder: Path) -> pa.Table:
    """Judge what a local snapshot folder holds again, replace its findings, and return them.

    Raises ``NotReadable`` for a folder that is no snapshot.
    """
    tables, manifest = read_folder(folder)
    found = findings(reconcile(**tables, manifest=manifest))
    replace_findings(folder, found)
    return found


def _doubts(accounts: Read, rows: Read, wiring: Wiring, settings: Settings, baseline: Snapshot | None) -> list[str]:
    if not (accounts.source.complete and rows.source.complete):
        return []
    return suspicions(
        accounts.table,
        rows.table,
        wiring,
        baseline.manifest if baseline else None,
        max_shrink_percent=settings.max_shrink_percent,
        min_overlap_percent=settings.min_overlap_percent,
    )
