"""The journal's tables, and how its database is opened: private to its owner, and durable."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from lib.model import ConfigError, JournalError

SCHEMA_VERSION = 2

# One writer at a time: several steps of a run, the dashboard and a command may stand in line.
_BUSY_MS = 10000

METADATA = sa.MetaData()
VERSION = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))
RUNS = sa.Table(
    "runs",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(40), nullable=False, unique=True),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("table", sa.Text, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("undo_of", sa.String(40)),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("snapshot", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("plan_digest", sa.String(64), nullable=False),
    sa.Column("started_at", sa.String(30), nullable=False),
    sa.Column("ended_at", sa.String(30)),
)
STEPS = sa.Table(
    "steps",
    METADATA,
    sa.Column("run_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("situation", sa.String(20), nullable=False),
    sa.Column("account_id", sa.Text),
    sa.Column("sub", sa.Text),
    sa.Column("row_id", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False, index=True),
    sa.Column("account", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("condition", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("aws_request_id", sa.Text),
    sa.Column("intent_at", sa.String(30)),
    sa.Column("settled_at", sa.String(30)),
    sa.Column("seq", sa.Integer, index=True),
    # MySQL indexes no text without a length.
    sa.Index("ix_steps_row_id", "row_id", mysql_length=191),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(30), nullable=False),
    sa.Column("kind", sa.String(30), nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text),
    sa.Column("body", sa.Text),
)
LEASE = sa.Table(
    "lease",
    METADATA,
    sa.Column("environment", sa.String(200), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.String(30), nullable=False),
)
CHAIN = sa.Table(
    "chain",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(30), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("run_id", sa.String(40)),
    sa.Column("step", sa.Integer),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("head", sa.String(64), nullable=False),
    sa.Index("ix_chain_run_id", "run_id", "number"),
)
HEAD = sa.Table(
    "chain_head",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("head", sa.String(64), nullable=False),
    # What stood in the journal before it had a chain.
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("runs_before", sa.Integer, nullable=False),
    sa.Column("events_before", sa.Integer, nullable=False),
)
MIGRATIONS: Mapping[int, tuple[str, ...]] = {
    1: (
        'INSERT INTO chain_head (id, number, head, "start", runs_before, events_before) SELECT 1, '
        "(SELECT COALESCE(MAX(seq), 0) FROM steps), '', (SELECT COALESCE(MAX(seq), 0) FROM steps), "
        "(SELECT COALESCE(MAX(number), 0) FROM runs), (SELECT COALESCE(MAX(number), 0) FROM events)",
    )
}
"""Statements that lead from a version to the next one; tables that are new in it are there already.

Two lines of SQL a version are all there is to do: Alembic would be a second tool with a history of its own.
"""


def parsed(url: str) -> URL:
    """Return the URL in its parts; raise ``ConfigError`` for what is none."""
    try:
        return make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            "[journal] url is no database URL. Expected one such as sqlite:///.pooltable/journal.db."
        ) from error


def opened(url: URL) -> Engine:
    """Return the engine; a SQLite file is created first, for its owner only."""
    on_sqlite = url.get_backend_name() == "sqlite"
    if on_sqlite and url.database:
        _make_private(Path(url.database))
    try:
        engine = sa.create_engine(url, pool_pre_ping=not on_sqlite)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"[journal] url asks for {url.drivername}, whose driver is not installed here. Install it, or use sqlite."
        ) from error
    if on_sqlite:
        sa.event.listen(engine, "connect", _careful)
    return engine


def _make_private(file: Path) -> None:
    """Create the file for its owner only; SQLite gives its companions the same mode."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalError(
            f"Cannot use the journal {file}: {error.strerror}. Nothing is applied without it: "
            "make its folder writable, or set [journal] url."
        ) from error


def _careful(connection: Any, _record: Any) -> None:
    # Not the default: WAL alone may lose the last commits in a power failure.
    # What is purged or forgotten must not stay readable in a free page.
    for pragma in (f"busy_timeout = {_BUSY_MS}", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
