"""The journal: what every run meant to do and did, who holds the right to write, what a person accepted.

SQLite by default, any database that SQLAlchemy reaches by URL. A step's intent is committed before its write, its
outcome after: whatever dies in between leaves an open step, which the next run settles by reading back.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from lib.journal.tables import (
    EVENTS,
    LEASE,
    METADATA,
    MIGRATIONS,
    RUNS,
    SCHEMA_VERSION,
    STEPS,
    VERSION,
    opened,
    parsed,
)
from lib.model import ConfigError, Item, JournalError, Refused, iso, now

LEASE_SECONDS = 300
"""How long a lease outlives its last renewal; every step renews it, and hardly a step takes that long."""

COUNTED = ("done", "already", "refused", "failed", "unknown")
OPEN = ("intent", "unknown")
"""The states of a step of which only reading back can tell what became of it."""

_ACCEPTED_SNAPSHOT = "accepted_snapshot"
_CONTRACT = ("run_id", "environment", "state", "who", "why", "started_at", "ended_at", "steps", *COUNTED)
_JSON = ("before", "after", "account", "plan", "body")


@dataclass(frozen=True)
class Lease:
    """The right to write to one environment; every holder's fence is one more than the last one's."""

    environment: str
    holder: str
    fence: int


class Journal:
    """The journal at one database URL. Safe to share between threads.

    Raises ``JournalError`` wherever the database cannot be read or written, ``ConfigError`` for a URL that is none.
    """

    def __init__(self, url: str) -> None:
        self._url = parsed(url)
        self._engine = opened(self._url)
        with self._connected() as connection:
            for table in METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
        self._migrate()

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    # Runs and their steps

    def begin(
        self,
        run: Mapping[str, Any],
        steps: Iterable[Mapping[str, Any]],
        *,
        state: str = "running",
        message: str | None = None,
    ) -> str:
        """Record a run with all its steps as planned, and return its id.

        ``run`` has environment, pool, table, kind, undo_of, who, why, snapshot, digest, plan and plan_digest;
        a step has number, action, situation, account_id, sub, row_id, account, before, after, condition, reason.
        """
        started = now()
        run_id = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        stamps = {"started_at": iso(started), "ended_at": None if state == "running" else iso(started)}
        listed = [_written(step) | {"run_id": run_id, "state": "planned"} for step in steps]
        with self._connected() as connection:
            values = _written(run) | stamps | {"run_id": run_id, "state": state, "message": message}
            connection.execute(sa.insert(RUNS).values(values))
            if listed:
                connection.execute(sa.insert(STEPS), listed)
        return run_id

    def waiting(self, environment: str, plan_digest: str) -> str | None:
        """Return the run of this very plan that waits to be released, if there is one."""
        chosen = sa.select(RUNS.c.run_id).where(
            RUNS.c.environment == environment,
            RUNS.c.plan_digest == plan_digest,
            RUNS.c.state == "waiting",
        )
        with self._connected() as connection:
            return connection.execute(chosen).scalar()

    def released(self, environment: str, plan_digest: str) -> bool:
        """Return whether this very plan was let pass before, and no undo has taken back what it did."""
        undo = RUNS.alias()
        undone = sa.exists().where(undo.c.undo_of == RUNS.c.run_id, undo.c.state != "refused")
        chosen = sa.select(RUNS.c.run_id).where(
            RUNS.c.environment == environment,
            RUNS.c.plan_digest == plan_digest,
            RUNS.c.state.in_(("done", "partial", "interrupted")),
            ~undone,
        )
        with self._connected() as connection:
            return connection.execute(chosen).first() is not None

    def release(self, run_id: str, who: str, why: str | None) -> None:
        """Start a run that was waiting; ``who`` is the person that released it."""
        values = {"state": "running", "who": who, "why": why, "message": None, "ended_at": None}
        self._update_run(run_id, **values, started_at=iso(now()))

    def intent(self, lease: Lease, run_id: str, number: int, *, before: Item | None, after: Item | None) -> None:
        """Commit what a step is about to write, and renew the lease; raise ``JournalError`` where that was lost."""
        values = {"state": "intent", "before": _json(before), "after": _json(after), "intent_at": iso(now())}
        with self._connected() as connection:
            # First, so that SQLite takes its write lock before it reads anything.
            self._renew(connection, lease)
            connection.execute(_one_step(run_id, number).values(values | {"seq": _next_seq()}))

    def outcome(
        self,
        run_id: str,
        number: int,
        state: str,
        *,
        message: str = "",
        before: Item | None = None,
        after: Item | None = None,
        request_id: str = "",
    ) -> None:
        """Commit what became of a step; the images given replace those of the intent where it was done."""
        values: dict[str, Any] = {"state": state, "message": message, "settled_at": iso(now()), "seq": _next_seq()}
        if state == "done":
            values |= {"before": _json(before), "after": _json(after)}
        if request_id:
            values["aws_request_id"] = request_id
        with self._connected() as connection:
            connection.execute(_one_step(run_id, number).values(values))

    def finish(self, run_id: str, state: str, message: str | None = None) -> None:
        """Commit how a run ended."""
        self._update_run(run_id, state=state, message=message, ended_at=iso(now()))

    def interrupt_abandoned(self, environment: str, but: str | None = None) -> None:
        """Mark the runs whose process died as interrupted. Only the holder of the lease may know that."""
        abandoned = sa.update(RUNS).where(RUNS.c.environment == environment, RUNS.c.state == "running")
        with self._connected() as connection:
            connection.execute(
                abandoned.where(RUNS.c.run_id != (but or "")).values(
                    state="interrupted", ended_at=iso(now()), message="The process that ran it ended."
                )
            )

    def runs(self, environment: str | None = None, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the runs as `runs --json` shows them, newest first; one run also with ``steps_detail``."""
        listed = [{key: run[key] for key in _CONTRACT} for run in self.history(environment, run_id)]
        if run_id is not None:
            listed[0]["steps_detail"] = self.steps(run_id)
        return listed

    def history(self, environment: str | None = None, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return everything known of the runs, newest first; raise ``ConfigError`` for a run that is not there."""
        counts = [
            sa.func.coalesce(sa.func.sum(sa.case((STEPS.c.state == state, 1), else_=0)), 0).label(state)
            for state in COUNTED
        ]
        counted = sa.select(STEPS.c.run_id, sa.func.count().label("steps"), *counts).group_by(STEPS.c.run_id).subquery()
        columns = [sa.func.coalesce(counted.c[name], 0).label(name) for name in ("steps", *COUNTED)]
        chosen = sa.select(RUNS, *columns).outerjoin(counted, counted.c.run_id == RUNS.c.run_id)
        if environment is not None:
            chosen = chosen.where(RUNS.c.environment == environment)
        if run_id is not None:
            chosen = chosen.where(RUNS.c.run_id == run_id)
        found = self._read(chosen.order_by(RUNS.c.number.desc()))
        if run_id is not None and not found:
            raise ConfigError(f"There is no run {run_id!r} in the journal. `python -m lib runs` lists them.")
        return found

    def steps(self, run_id: str) -> list[dict[str, Any]]:
        """Return the steps of a run in their order, images as DynamoDB items."""
        return self._read(sa.select(STEPS).where(STEPS.c.run_id == run_id).order_by(STEPS.c.number))

    def steps_on(self, environment: str, row_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Return every step on these rows, newest run first, each with its run's ``who``, ``why`` and ``kind``."""
        chosen = (
            sa.select(STEPS, RUNS.c.who, RUNS.c.why, RUNS.c.kind)
            .join(RUNS, RUNS.c.run_id == STEPS.c.run_id)
            .where(RUNS.c.environment == environment, STEPS.c.row_id.in_(list(row_ids)))
        )
        return self._read(chosen.order_by(RUNS.c.number.desc(), STEPS.c.number))

    def open_steps(self, environment: str, pool: str, table: str) -> list[dict[str, Any]]:
        """Return the steps that began and were not settled, oldest first, each with its run's ``plan``."""
        chosen = (
            sa.select(STEPS, RUNS.c.plan, RUNS.c.kind)
            .join(RUNS, RUNS.c.run_id == STEPS.c.run_id)
            .where(_of(environment, pool, table), STEPS.c.state.in_(OPEN))
        )
        return self._read(chosen.order_by(STEPS.c.seq))

    def verified_since(
        self, environment: str, pool: str, table: str, since: datetime
    ) -> list[tuple[str, Item | None, datetime]]:
        """Return each row written and read back since, in the journal's order: id, the row then, when."""
        chosen = (
            sa.select(STEPS.c.row_id, STEPS.c.after, STEPS.c.settled_at)
            .join(RUNS, RUNS.c.run_id == STEPS.c.run_id)
            .where(_of(environment, pool, table), STEPS.c.state == "done", STEPS.c.settled_at >= iso(since))
        )
        return [
            (step["row_id"], step["after"], datetime.fromisoformat(step["settled_at"]))
            for step in self._read(chosen.order_by(STEPS.c.seq))
        ]

    def mark(self) -> int:
        """Return a number that grows with every intent and outcome."""
        with self._connected() as connection:
            return int(connection.execute(sa.select(sa.func.max(STEPS.c.seq))).scalar() or 0)

    # What people decided

    def record(
        self, kind: str, *, environment: str, who: str, why: str | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        """Record a decision of a person: an accepted read, a reveal, an accepted finding."""
        values = {"at": iso(now()), "kind": kind, "environment": environment, "who": who, "why": why}
        with self._connected() as connection:
            connection.execute(sa.insert(EVENTS).values(values | {"body": _json(dict(body or {}))}))

    def accept_snapshot(self, environment: str, stamp: str, *, who: str, why: str | None) -> None:
        """Record that a person lets a suspicious snapshot pass, once."""
        if stamp not in self.accepted_snapshots(environment):
            self.record(_ACCEPTED_SNAPSHOT, environment=environment, who=who, why=why, body={"snapshot": stamp})

    def accepted_snapshots(self, environment: str) -> set[str]:
        """Return the stamps of the suspicious snapshots that a person let pass."""
        return {event["body"]["snapshot"] for event in self.events(environment, _ACCEPTED_SNAPSHOT)}

    def events(self, environment: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded decisions, newest first."""
        chosen = sa.select(EVENTS).order_by(EVENTS.c.number.desc())
        if environment is not None:
            chosen = chosen.where(EVENTS.c.environment == environment)
        if kind is not None:
            chosen = chosen.where(EVENTS.c.kind == kind)
        return self._read(chosen)

    # One run at a time

    @contextmanager
    def lease(self, environment: str, holder: str, seconds: float = LEASE_SECONDS) -> Iterator[Lease]:
        """Hold the right to write to an environment; raise ``Refused`` with the holder's name when it is taken.

        It ends with the block, ``seconds`` after its last renewal, or at once when the process died on this machine.
        """
        lease = self._acquired(environment, holder, seconds)
        try:
            yield lease
        finally:
            with self._connected() as connection:
                connection.execute(_held(lease).values(expires_at=iso(datetime(1970, 1, 1, tzinfo=UTC))))

    def _acquired(self, environment: str, holder: str, seconds: float) -> Lease:
        mine = {"holder": holder, "host": socket.gethostname(), "pid": os.getpid(), "expires_at": _in(seconds)}
        with self._connected() as connection:
            free = sa.update(LEASE).where(LEASE.c.environment == environment, LEASE.c.expires_at <= iso(now()))
            if connection.execute(free.values(mine | {"fence": LEASE.c.fence + 1})).rowcount:
                return Lease(environment, holder, _fence(connection, environment))
        try:
            with self._connected() as connection:
                connection.execute(sa.insert(LEASE).values(mine | {"environment": environment, "fence": 1}))
                return Lease(environment, holder, 1)
        except _Taken:
            return self._taken_over(environment, mine)

    def _taken_over(self, environment: str, mine: Mapping[str, Any]) -> Lease:
        [current] = self._read(sa.select(LEASE).where(LEASE.c.environment == environment))
        if not _is_dead(current["host"], current["pid"]):
            raise Refused(
                f"{current['holder']} is repairing {environment} right now. "
                f"Try again when that run has ended (its lease expires at {current['expires_at']} at the latest)."
            )
        with self._connected() as connection:
            of_the_dead = sa.update(LEASE).where(LEASE.c.environment == environment, LEASE.c.fence == current["fence"])
            if connection.execute(of_the_dead.values({**mine, "fence": LEASE.c.fence + 1})).rowcount:
                return Lease(environment, mine["holder"], current["fence"] + 1)
        raise Refused(f"Somebody else has just begun to repair {environment}. Try again when that run has ended.")

    @staticmethod
    def _renew(connection: Connection, lease: Lease) -> None:
        if not connection.execute(_held(lease).values(expires_at=_in(LEASE_SECONDS))).rowcount:
            raise JournalError(
                f"Another run took over {lease.environment} because this one had not been heard of for "
                f"{LEASE_SECONDS} s. This one wrote nothing since; apply the plan again."
            )

    # The database

    def _migrate(self) -> None:
        found = self._version()
        if found is None:
            with suppress(_Taken), self._connected() as connection:
                connection.execute(sa.insert(VERSION).values(version=SCHEMA_VERSION))
        elif found > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._name()} was written by a newer Pooltable (schema {found}). Install that one."
            )
        elif found < SCHEMA_VERSION:
            with self._connected() as connection:
                connection.execute(sa.update(VERSION).values(version=SCHEMA_VERSION))
                for statement in chain.from_iterable(MIGRATIONS[version] for version in range(found, SCHEMA_VERSION)):
                    connection.execute(sa.text(statement))

    def _version(self) -> int | None:
        with self._connected() as connection:
            return connection.execute(sa.select(VERSION.c.version)).scalar()

    def _update_run(self, run_id: str, **values: Any) -> None:
        with self._connected() as connection:
            connection.execute(sa.update(RUNS).where(RUNS.c.run_id == run_id).values(values))

    def _read(self, chosen: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._connected() as connection:
            found = connection.execute(chosen).mappings().all()
        return [
            {name: json.loads(value) if name in _JSON and value else value for name, value in entry.items()}
            for entry in found
        ]

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block; the database's errors become ``JournalError``."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise _Taken(self._sentence(error)) from error
        except SQLAlchemyError as error:
            raise JournalError(self._sentence(error)) from error

    def _sentence(self, error: SQLAlchemyError) -> str:
        # Never the whole of it: SQLAlchemy's own text quotes the statement's values, e-mails among them.
        said = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        return (
            f"Cannot use the journal {self._name()}: {said.strip().splitlines()[0]}. "
            "Nothing is applied without it: check the disk, its permissions, and who else has it open."
        )

    def _name(self) -> str:
        return self._url.render_as_string(hide_password=True)


class _Taken(JournalError):
    """A value that must be unique is there already."""


def _of(environment: str, pool: str, table: str) -> sa.ColumnElement[bool]:
    return sa.and_(RUNS.c.environment == environment, RUNS.c.pool == pool, RUNS.c.table == table)


def _one_step(run_id: str, number: int) -> sa.Update:
    return sa.update(STEPS).where(STEPS.c.run_id == run_id, STEPS.c.number == number)


def _next_seq() -> sa.ScalarSelect[int]:
    others = STEPS.alias()
    return sa.select(sa.func.coalesce(sa.func.max(others.c.seq), 0) + 1).scalar_subquery()


def _held(lease: Lease) -> sa.Update:
    return sa.update(LEASE).where(LEASE.c.environment == lease.environment, LEASE.c.fence == lease.fence)


def _fence(connection: Connection, environment: str) -> int:
    return int(connection.execute(sa.select(LEASE.c.fence).where(LEASE.c.environment == environment)).scalar_one())


def _in(seconds: float) -> str:
    return iso(now() + timedelta(seconds=seconds))


def _is_dead(host: str, pid: int) -> bool:
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json(value) if name in _JSON else value for name, value in values.items()}


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
