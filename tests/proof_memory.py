"""A world in memory whose caller can die at every call, and a journal that dies with it."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from proof_proxy import Item, Write

from lib import reconcile
from lib.aws.rows import rows_of
from lib.config import Settings
from lib.journal import Journal, Lease
from lib.model import ACCOUNTS, INVOCATIONS, SEEN, AwsError, Wiring, iso, now
from lib.repair.plan import Plan, plan
from lib.snapshot import Snapshot

POOL, TABLE, REGION = "eu-west-1_Pool00001", "User-test", "eu-west-1"


class Dead(BaseException):
    """The process is no more."""


class Life:
    """A fuse that every call shortens; once it has burnt down, nothing can be done any more."""

    def __init__(self) -> None:
        self.fuse: int | None = None
        self.dead = False

    def tick(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            self.dead = self.dead or self.fuse <= 0
        if self.dead:
            raise Dead

    def again(self, fuse: int | None = None) -> None:
        self.fuse, self.dead = fuse, False


class MemoryWorld:
    """Accounts and rows; each write is conditional on the exact image it replaces, and on record.

    As AppSync does, `appsync` gives the rows their times itself.
    """

    pool, table = POOL, TABLE

    def __init__(self, life: Life, writer: str) -> None:
        self.life, self.writer = life, writer
        self.api = "http://api" if writer == "appsync" else None
        self.emails: dict[str, str] = {}
        self.rows: dict[str, Item] = {}
        self.writes: list[Write] = []
        self.faults: list[str | None] = []
        self.before_write: Callable[[str], None] | None = None

    def account(self, username: str) -> dict[str, Any] | None:
        self.life.tick()
        return self._account(username)

    def holder(self, row: Item, _correlation: str) -> dict[str, Any] | None:
        return self.account(row["id"]["S"])

    def row(self, id: str) -> Item | None:
        self.life.tick()
        return self.rows.get(id)

    def create(self, after: Item) -> tuple[Item, str]:
        return self._write("create", after["id"]["S"], None, after) or {}, ""

    restore = create

    def update(self, before: Item, after: Item) -> tuple[Item, str]:
        return self._write("update", before["id"]["S"], before, after) or {}, ""

    def delete(self, before: Item) -> tuple[Item | None, str]:
        return self._write("delete", before["id"]["S"], before, None), ""

    def put(self, by: str, operation: str, id: str, after: Item | None) -> None:
        """Change a row, and record it."""
        self.writes.append(Write(by, operation, id, self.rows.get(id), after))
        if after is None:
            self.rows.pop(id, None)
        else:
            self.rows[id] = after

    def plan(self, settings: Settings) -> Plan:
        """Return the plan that a snapshot of this moment gives."""
        accounts = pa.Table.from_pylist([self._account(name) for name in self.emails], schema=ACCOUNTS)
        tables = [accounts, rows_of(self.rows.values()), INVOCATIONS.empty_table(), SEEN.empty_table()]
        at = now()
        source = {"complete": True, "why_not": None, "pages": 1, "started_at": iso(at), "ended_at": iso(at)}
        counts = {"accounts": accounts.num_rows, "rows": len(self.rows), "invocations": 0}
        wiring = Wiring(POOL, REGION, table=TABLE, versioned=False, grace_minutes=0, graphql_url=self.api)
        manifest = {
            "environment": settings.name,
            "started_at": iso(at),
            "complete": True,
            "suspicious": False,
            "reasons": [],
            "sources": {name: source | {"count": count} for name, count in counts.items()},
            "wiring": wiring.manifest(),
            "digest": iso(at),
        }
        read = dict(zip(("accounts", "rows", "invocations", "seen"), tables, strict=True))
        read["findings"] = reconcile.findings(reconcile.reconcile(*tables, manifest))
        return plan(Snapshot(iso(at), manifest, read.__getitem__), settings)

    def _account(self, name: str) -> dict[str, Any] | None:
        if name not in self.emails:
            return None
        at = now() - timedelta(days=2)
        attributes = {"sub": name, "email": self.emails[name], "email_verified": "true"}
        return {
            "username": name,
            "sub": name,
            "email": self.emails[name],
            "email_key": self.emails[name].lower(),
            "email_verified": True,
            "status": "CONFIRMED",
            "enabled": True,
            "provider": None,
            "created_at": at,
            "modified_at": at,
            "attributes": json.dumps(attributes),
        }

    def _write(self, operation: str, id: str, before: Item | None, after: Item | None) -> Item | None:
        self.life.tick()
        if self.before_write:
            self.before_write(id)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "before":
            raise _error("InternalServerError", maybe_done=True)
        if self.rows.get(id) != before:
            raise _error("ConditionalCheckFailedException")
        if after is not None and self.writer == "appsync":
            at = {"S": iso(now())}
            after = {**after, "updatedAt": at} | ({"createdAt": at} if before is None else {})
        self.put("us", operation, id, after)
        self.life.tick()
        if fault == "after":
            raise _error("ConnectionClosedError", maybe_done=True)
        return after


def _error(code: str, *, maybe_done: bool = False) -> AwsError:
    return AwsError(f"told to: {code}", action="dynamodb:PutItem", code=code, maybe_done=maybe_done)


class MortalJournal:
    """A journal that can be cut off before and after each of its commits."""

    _COMMITS = ("begin", "intent", "outcome", "finish", "release", "interrupt_abandoned")

    def __init__(self, journal: Journal, life: Life) -> None:
        self._journal, self._life = journal, life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if name not in self._COMMITS:
            return method

        def called(*args: Any, **options: Any) -> Any:
            self._life.tick()
            answer = method(*args, **options)
            self._life.tick()
            return answer

        return called

    @contextmanager
    def lease(self, environment: str, holder: str) -> Iterator[Lease]:
        holding = self._journal.lease(environment, holder)
        lease = holding.__enter__()
        try:
            yield lease
        finally:
            # Whoever is dead gives nothing back.
            if not self._life.dead:
                holding.__exit__(None, None, None)


def let_leases_expire(file: Path) -> None:
    """Do what five minutes do: the holder's process is this one, which lives."""
    with sqlite3.connect(file) as database:
        database.execute("update lease set expires_at = '1970-01-01T00:00:00.000Z'")
    database.close()
