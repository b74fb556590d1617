"""The journal: what every run meant to do and did, who holds the right to write, what a person accepted.

SQLite by default, PostgreSQL by URL. A step's intent is committed before its write, its outcome after: whatever dies
in between leaves an open step, which the next run settles by reading back. Every record is a link of a hash chain.
"""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lib.journal import chain, keeping, leases
from lib.journal.chain import Verdict
from lib.journal.database import JSON_COLUMNS, SEALED, as_json
from lib.journal.leases import LEASE_SECONDS, Lease
from lib.journal.reading import ACCEPTED_FINDING, ACCEPTED_SNAPSHOT, COUNTED, OPEN, Reading
from lib.journal.tables import EVENTS, RUNS, STEPS
from lib.model import Item, iso, now
from lib.person import Person

__all__ = ["ACCEPTED_FINDING", "COUNTED", "LEASE_SECONDS", "OPEN", "SEALED", "Journal", "Lease", "Verdict"]


class Journal(Reading):
    """The journal at one database URL. Safe to share between threads.

    Raises ``JournalError`` wherever the database cannot be read or written, ``ConfigError`` for a URL that is none.
    """

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
        values = _written(run) | stamps | {"run_id": run_id, "state": state, "message": message}
        listed = [_written(step) | {"run_id": run_id, "state": "planned"} for step in steps]
        with self._connected() as connection:
            chain.append(connection, "begin", chain.begun(values, listed), run_id)
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
        self._update_run("release", run_id, **values, started_at=iso(now()))

    def intent(self, lease: Lease, run_id: str, number: int, *, before: Item | None, after: Item | None) -> None:
        """Commit what a step is about to write, and renew the lease; raise ``JournalError`` where that was lost."""
        values = {"state": "intent", "before": as_json(before), "after": as_json(after)}
        with self._connected() as connection:
            # First, so that SQLite takes its write lock before it reads anything.
            leases.renew(connection, lease)
            _update_step(connection, "intent", run_id, number, values, intent_at=iso(now()))

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
        lease: Lease | None = None,
    ) -> None:
        """Commit what became of a step; the images given replace those of the intent where it was done.

        With ``lease`` nothing is recorded where that was lost meanwhile, and ``JournalError`` is raised: its new holder
        has settled the step.
        """
        values: dict[str, Any] = {"state": state, "message": message}
        if state == "done":
            values |= {"before": as_json(before), "after": as_json(after)}
        if request_id:
            values["aws_request_id"] = request_id
        with self._connected() as connection:
            if lease is not None:
                leases.renew(connection, lease)
            _update_step(connection, "outcome", run_id, number, values, settled_at=iso(now()))

    def finish(self, run_id: str, state: str, message: str | None = None) -> None:
        """Commit how a run ended."""
        self._update_run("finish", run_id, state=state, message=message, ended_at=iso(now()))

    def interrupt_abandoned(self, environment: str, but: str | None = None) -> None:
        """Mark the runs whose process died as interrupted. Only the holder of the lease may know that."""
        abandoned = sa.select(RUNS.c.run_id).where(
            RUNS.c.environment == environment, RUNS.c.state == "running", RUNS.c.run_id != (but or "")
        )
        with self._connected() as connection:
            found = connection.execute(abandoned).scalars().all()
        for run_id in found:
            self.finish(run_id, "interrupted", "The process that ran it ended.")

    # What people decided

    def record(
        self, kind: str, *, environment: str, who: str, why: str | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        """Record a decision of a person: an accepted read, a reveal, an accepted finding."""
        with self._connected() as connection:
            _record(connection, kind, environment, who, why, body or {})

    def accept_snapshot(self, environment: str, stamp: str, *, who: str, why: str | None) -> None:
        """Record that a person lets a suspicious snapshot pass, once."""
        if stamp not in self.accepted_snapshots(environment):
            self.record(ACCEPTED_SNAPSHOT, environment=environment, who=who, why=why, body={"snapshot": stamp})

    # What is taken out and given out

    def purge(self, environment: str, before: datetime, *, who: str) -> int:
        """Put digests in the place of the images of every run that ended before; return of how many steps.

        Those runs can no longer be undone. Ids, outcomes and the chain stay.
        """
        with self._connected() as connection:
            count = keeping.purge(connection, environment, before)
            if count:
                _record(connection, "purged", environment, who, None, {"before": iso(before), "steps": count})
        return count

    def person(self, environment: str, person: Person) -> Person:
        """Return the person with every id and e-mail that the steps on them know them by."""
        with self._connected() as connection:
            return keeping.widened(connection, environment, person)

    def forget(self, environment: str, person: Person, *, who: str, digest: str) -> int:
        """Put digests in the place of everything that speaks of a person; return in how many entries.

        That it was done is on record, by the digest of the id that was given. Nothing of the person stays readable in
        the database's files. Raises ``Refused`` while a step on the person is open.
        """
        with self._connected() as connection:
            count = keeping.forget(connection, environment, person)
            _record(connection, "forgot", environment, who, None, {"person": digest, "entries": count})
        self._database.rewrite()
        return count

    def audit(self, environment: str | None = None, *, reveal: bool = False) -> Iterable[str]:
        """Return the audit as JSON lines, e-mails masked unless revealed."""
        return keeping.audit(self._database, environment, reveal=reveal)

    # One run at a time

    def lease(self, environment: str, holder: str, seconds: float = LEASE_SECONDS) -> AbstractContextManager[Lease]:
        """Hold the right to write to an environment; raise ``Refused`` with the holder's name when it is taken.

        It ends with the block, ``seconds`` after its last renewal, or at once when the process died on this machine.
        """
        return leases.held(self._database, environment, holder, seconds)

    def holder(self, environment: str) -> str | None:
        """Return who holds the right to write to an environment now, if anybody who lives does."""
        return leases.holder(self._database, environment)

    def _acquired(self, environment: str, holder: str, seconds: float) -> Lease:
        return leases.acquired(self._database, environment, holder, seconds)

    def _update_run(self, kind: str, run_id: str, **values: Any) -> None:
        with self._connected() as connection:
            chain.append(connection, kind, chain.changed(values), run_id)
            connection.execute(sa.update(RUNS).where(RUNS.c.run_id == run_id).values(values))


def _update_step(
    connection: Connection, kind: str, run_id: str, number: int, values: Mapping[str, Any], **stamps: str
) -> None:
    seq = chain.append(connection, kind, chain.changed(values), run_id, number)
    one = sa.update(STEPS).where(STEPS.c.run_id == run_id, STEPS.c.number == number)
    connection.execute(one.values({**values, **stamps, "seq": seq}))


def _record(
    connection: Connection, kind: str, environment: str, who: str, why: str | None, body: Mapping[str, Any]
) -> None:
    values = {"at": iso(now()), "kind": kind, "environment": environment, "who": who, "why": why}
    values["body"] = as_json(dict(body))
    added = connection.execute(sa.insert(EVENTS).values(values)).inserted_primary_key
    assert added is not None
    chain.append(connection, "event", chain.event(values, added[0]))


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_json(value) if name in JSON_COLUMNS else value for name, value in values.items()}
