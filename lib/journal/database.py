"""The journal's database: its tables made and migrated, transactions, and its errors as one sentence each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from lib.journal.tables import HEAD, METADATA, MIGRATIONS, SCHEMA_VERSION, VERSION, opened, parsed
from lib.model import JournalError, now

JSON_COLUMNS = ("before", "after", "account", "plan", "body")
SEALED = "sha256:"
"""How a value begins of which only its digest was kept."""

_SET_UP_LOCK = 7_066_578_512


class Taken(JournalError):
    """A value that must be unique is there already."""


class Database:
    """The database at one URL, ready for use. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._url = parsed(url)
        self._engine = opened(self._url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        try:
            self._set_up()
            self._migrate()
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block; the database's errors become ``JournalError``."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Taken(self._sentence(error)) from error
        except SQLAlchemyError as error:
            raise JournalError(self._sentence(error)) from error

    def read(self, chosen: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return what a query finds, JSON decoded; None for an image of which only the digest was kept."""
        with self.connected() as connection:
            found = connection.execute(chosen).mappings().all()
        return [{name: _decoded(name, value) for name, value in entry.items()} for entry in found]

    def rewrite(self) -> None:
        """Leave nothing on disk of what was taken out of the tables; waits for nobody who is reading."""
        statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] if self.is_sqlite else self._full_vacuums()
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                answers = [connection.exec_driver_sql(statement) for statement in statements]
                is_held = self.is_sqlite and bool(answers[-1].scalar())
        except SQLAlchemyError as error:
            raise JournalError(self._sentence(error)) from error
        if is_held:
            raise JournalError(
                f"What was taken out of the journal {self._name()} may still be read in its -wal file, because "
                "another process has the journal open. Close that one and do it again."
            )

    def _full_vacuums(self) -> list[str]:
        return [f"VACUUM FULL {name}" for name in METADATA.tables]

    def _set_up(self) -> None:
        with self.connected() as connection:
            if not self.is_sqlite and self._url.get_backend_name() == "postgresql":
                # IF NOT EXISTS alone fails where two create the same table at the same moment.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SET_UP_LOCK)))
            for table in METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))

    def _migrate(self) -> None:
        found = self._version()
        if found is None:
            with suppress(Taken), self.connected() as connection:
                connection.execute(sa.insert(VERSION).values(version=SCHEMA_VERSION))
                connection.execute(
                    sa.insert(HEAD).values(id=1, number=0, head="", start=0, runs_before=0, events_before=0)
                )
        elif found > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._name()} was written by a newer Pooltable (schema {found}). Install that one."
            )
        elif found < SCHEMA_VERSION:
            with self.connected() as connection:
                mine = sa.update(VERSION).where(VERSION.c.version == found).values(version=SCHEMA_VERSION)
                # Another process that opens it at this moment does it instead.
                if connection.execute(mine).rowcount:
                    for statement in chain.from_iterable(MIGRATIONS[at] for at in range(found, SCHEMA_VERSION)):
                        connection.execute(sa.text(statement))

    def _version(self) -> int | None:
        with self.connected() as connection:
            return connection.execute(sa.select(VERSION.c.version)).scalar()

    def _sentence(self, error: SQLAlchemyError) -> str:
        # Never the whole of it: SQLAlchemy's own text quotes the statement's values, e-mails among them.
        said = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        return (
            f"Cannot use the journal {self._name()}: {said.strip().splitlines()[0]}. "
            "Nothing is applied without it: check the disk, its permissions, and who else has it open."
        )

    def _name(self) -> str:
        return self._url.render_as_string(hide_password=True)


def clock(connection: Connection) -> datetime:
    """Return the time by which leases are judged: of a server its own, since its clients' clocks may differ."""
    if connection.dialect.name == "sqlite":
        return now()
    found: datetime = connection.execute(sa.select(sa.func.current_timestamp())).scalar_one()
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def as_json(value: Any) -> str | None:
    """Return a value as the JSON columns keep it."""
    return None if value is None else json.dumps(value)


def _decoded(name: str, value: Any) -> Any:
    if name not in JSON_COLUMNS or not value:
        return value
    return None if str(value).startswith(SEALED) else json.loads(value)
