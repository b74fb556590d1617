"""What the journal answers: runs, their steps, what is open, what was verified, what people decided."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lib.journal import chain
from lib.journal.chain import Verdict
from lib.journal.database import SEALED, Database
from lib.journal.tables import CHAIN, EVENTS, HEAD, RUNS, STEPS
from lib.model import ConfigError, Item, iso

COUNTED = ("done", "already", "refused", "failed", "unknown")
OPEN = ("intent", "unknown")
"""The states of a step of which only reading back can tell what became of it."""

ACCEPTED_SNAPSHOT = "accepted_snapshot"
ACCEPTED_FINDING = "accepted_finding"

_CONTRACT = ("run_id", "environment", "state", "who", "why", "started_at", "ended_at", "steps", *COUNTED)
_MARKED = ("begin", "intent", "outcome", "event")


class Reading:
    """The questions; none of them writes."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._connected = self._database.connected
        self._read = self._database.read

    def close(self) -> None:
        """Give the database's connections back."""
        self._database.close()

    def runs(self, environment: str | None = None, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the runs as `runs --json` shows them, newest first; one run also with ``steps_detail`` and ``head``.

        ``head`` is the chain's when the run was last heard of.
        """
        listed = [{key: run[key] for key in _CONTRACT} for run in self.history(environment, run_id)]
        if run_id is not None:
            listed[0] |= {"head": self.head(run_id), "steps_detail": self.steps(run_id)}
        return listed

    def history(
        self,
        environment: str | None = None,
        run_id: str | None = None,
        *,
        chosen: Mapping[str, str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Return everything known of the runs, newest first; raise ``ConfigError`` for a run that is not there.

        ``chosen`` names a state, kind or who of the run, or an action of any of its steps.
        """
        runs = _runs(environment, run_id, chosen or {}).order_by(RUNS.c.number.desc())
        found = self._read(runs.limit(limit).offset(offset) if limit else runs)
        if run_id is not None and not found:
            raise ConfigError(f"There is no run {run_id!r} in the journal. `python -m lib runs` lists them.")
        return found

    def choices(self, environment: str, chosen: Mapping[str, str]) -> tuple[int, dict[str, list[str]]]:
        """Return how many runs are as chosen, and which states, kinds, people and actions an environment has at all."""
        of_it = RUNS.c.environment == environment
        columns = {"state": RUNS.c.state, "kind": RUNS.c.kind, "who": RUNS.c.who}
        queries = {name: sa.select(column).where(of_it) for name, column in columns.items()}
        steps = sa.select(STEPS.c.action).join(RUNS, RUNS.c.run_id == STEPS.c.run_id).where(of_it)
        counted = sa.select(sa.func.count()).select_from(_runs(environment, None, chosen).subquery())
        with self._connected() as connection:
            total = int(connection.execute(counted).scalar_one())
            listed = queries | {"action": steps}
            return total, {
                name: sorted(connection.execute(query.distinct()).scalars()) for name, query in listed.items()
            }

    def steps(self, run_id: str) -> list[dict[str, Any]]:
        """Return the steps of a run in their order, images as DynamoDB items; those purged are None."""
        return self._read(sa.select(STEPS, _PURGED).where(STEPS.c.run_id == run_id).order_by(STEPS.c.number))

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
            .where(of(environment, pool, table), STEPS.c.state.in_(OPEN))
        )
        return self._read(chosen.order_by(STEPS.c.seq))

    def left_open(self, environment: str) -> bool:
        """Return whether a run goes on, or one left steps open; only the holder of the lease can tell which."""
        running = sa.select(RUNS.c.run_id).where(RUNS.c.environment == environment, RUNS.c.state == "running")
        steps = sa.select(STEPS.c.run_id).join(RUNS, RUNS.c.run_id == STEPS.c.run_id)
        steps = steps.where(RUNS.c.environment == environment, STEPS.c.state.in_(OPEN))
        with self._connected() as connection:
            return any(connection.execute(chosen.limit(1)).first() for chosen in (running, steps))

    def undone_rows(self, run_id: str) -> set[str]:
        """Return the ids of the rows that undos of a run have put back."""
        undo = RUNS.c.undo_of == run_id
        chosen = sa.select(STEPS.c.row_id).join(RUNS, RUNS.c.run_id == STEPS.c.run_id).where(undo)
        with self._connected() as connection:
            return set(connection.execute(chosen.where(STEPS.c.state.in_(("done", "already")))).scalars())

    def verified_since(
        self, environment: str, pool: str, table: str, since: datetime
    ) -> list[tuple[str, Item | None, datetime]]:
        """Return each row written and read back since, in the journal's order: id, the row then, when.

        What was purged is left out: nobody knows any more what the row was.
        """
        chosen = (
            sa.select(STEPS.c.row_id, STEPS.c.after, STEPS.c.settled_at)
            .join(RUNS, RUNS.c.run_id == STEPS.c.run_id)
            .where(of(environment, pool, table), STEPS.c.state == "done", STEPS.c.settled_at >= iso(since))
            .where(sa.or_(STEPS.c.after.is_(None), ~STEPS.c.after.startswith(SEALED)))
        )
        return [
            (step["row_id"], step["after"], datetime.fromisoformat(step["settled_at"]))
            for step in self._read(chosen.order_by(STEPS.c.seq))
        ]

    def mark(self) -> int:
        """Return a number that grows with every intent, outcome and decision."""
        newest = sa.select(CHAIN.c.number).where(CHAIN.c.kind.in_(_MARKED)).order_by(CHAIN.c.number.desc()).limit(1)
        with self._connected() as connection:
            return int(connection.execute(newest).scalar() or 0)

    def head(self, run_id: str | None = None) -> str:
        """Return the head of the chain, or what it was after the last record of a run; empty where there is none."""
        of_run = sa.select(CHAIN.c.head).where(CHAIN.c.run_id == run_id).order_by(CHAIN.c.number.desc()).limit(1)
        with self._connected() as connection:
            return str(connection.execute(of_run if run_id else sa.select(HEAD.c.head)).scalar() or "")

    def verify(self, head: str | None = None) -> Verdict:
        """Return whether the chain holds and the tables are what it says; ``head`` is one printed earlier."""
        with self._connected() as connection:
            return chain.verified(connection, head)

    def accepted_snapshots(self, environment: str) -> set[str]:
        """Return the stamps of the suspicious snapshots that a person let pass."""
        return {event["body"]["snapshot"] for event in self.events(environment, ACCEPTED_SNAPSHOT)}

    def events(self, environment: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded decisions, newest first."""
        chosen = sa.select(EVENTS).order_by(EVENTS.c.number.desc())
        if environment is not None:
            chosen = chosen.where(EVENTS.c.environment == environment)
        if kind is not None:
            chosen = chosen.where(EVENTS.c.kind == kind)
        return self._read(chosen)


_PURGED = sa.or_(STEPS.c.before.startswith(SEALED), STEPS.c.after.startswith(SEALED)).label("purged")


def of(environment: str, pool: str, table: str) -> sa.ColumnElement[bool]:
    """Return the condition on the runs of one environment as it was set up."""
    return sa.and_(RUNS.c.environment == environment, RUNS.c.pool == pool, RUNS.c.table == table)


def _runs(environment: str | None, run_id: str | None, chosen: Mapping[str, str]) -> sa.Select[Any]:
    counts = [
        sa.func.coalesce(sa.func.sum(sa.case((STEPS.c.state == state, 1), else_=0)), 0).label(state)
        for state in COUNTED
    ]
    counted = sa.select(STEPS.c.run_id, sa.func.count().label("steps"), *counts).group_by(STEPS.c.run_id).subquery()
    columns = [sa.func.coalesce(counted.c[name], 0).label(name) for name in ("steps", *COUNTED)]
    found = sa.select(RUNS, *columns).outerjoin(counted, counted.c.run_id == RUNS.c.run_id)
    wanted = {"environment": environment, "run_id": run_id} | {name: chosen.get(name) for name in _FILTERS}
    for name, value in wanted.items():
        if value is not None:
            found = found.where(RUNS.c[name] == value)
    if "action" in chosen:
        found = found.where(
            sa.exists().where(STEPS.c.run_id == RUNS.c.run_id, STEPS.c.action == chosen["action"]).correlate(RUNS)
        )
    return found


_FILTERS = ("state", "kind", "who")
