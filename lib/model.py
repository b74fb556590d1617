"""The words of Pooltable: situations, causes, columns, what a read or a wiring is, and errors.

Everything else imports this module; it imports nothing of the library.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pyarrow as pa

SITUATIONS = {
    "malformed_row": "Malformed row",
    "tombstone": "Soft-deleted row",
    "in_flight": "Too young to judge",
    "out_of_scope": "Not expected",
    "orphaned_account": "Orphaned account",
    "orphaned_row": "Orphaned row",
    "unversioned_row": "Unversioned row",
    "drift": "E-mail drift",
    "in_sync": "In sync",
    "duplicate": "Duplicate",
}
"""Every situation with its name on screen; a pair is in the first that holds, `duplicate` is besides."""

HEALTHY = ("in_sync", "in_flight", "out_of_scope")
"""The situations that need nobody: any other is a finding."""

CAUSES = {
    "row_deleted": "Row was deleted",
    "trigger_error": "Trigger failed",
    "trigger_timeout": "Trigger timed out",
    "trigger_out_of_memory": "Trigger out of memory",
    "trigger_exit": "Trigger process exited",
    "trigger_incomplete": "Trigger never finished",
    "api_key_expired": "API key had expired",
    "silent_failure": "Silent failure",
    "admin_created": "Created by an admin",
    "imported": "Imported",
    "federated": "Federated sign-in",
    "trigger_init_error": "Trigger could not start",
    "not_invoked": "Not invoked",
    "logs_unavailable": "Logs do not reach back",
    "account_deleted": "Account was deleted",
    "late_write": "Written too late",
    "repeat_sign_up": "Repeated sign-up",
    "sign_up_rejected": "Sign-up rejected",
    "unknown": "Unknown",
}
"""Why a finding is one, with its name on screen."""

ACTIONS = {
    "orphaned_account": "create_row",
    "drift": "update_row",
    "tombstone": "revive_row",
    "unversioned_row": "stamp_row",
}
"""The action suggested for a situation; none for any other."""

CORRELATIONS = ("username", "sub", "owner", "email")
"""How a row is matched to an account, in the order that breaks ties."""

_TIME = pa.timestamp("ms", tz="UTC")
_TEXTS = pa.list_(pa.string())

ACCOUNTS = pa.schema(
    [
        ("username", pa.string()),
        ("sub", pa.string()),
        ("email", pa.string()),
        ("email_key", pa.string()),
        ("email_verified", pa.bool_()),
        ("status", pa.string()),
        ("enabled", pa.bool_()),
        ("provider", pa.string()),
        ("created_at", _TIME),
        ("modified_at", _TIME),
        ("attributes", pa.string()),
    ]
)

ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("email", pa.string()),
        ("email_key", pa.string()),
        ("created_at", _TIME),
        ("updated_at", _TIME),
        ("version", pa.int64()),
        ("last_changed_at", _TIME),
        ("deleted", pa.bool_()),
        ("owner", pa.string()),
        ("typename", pa.string()),
        ("notes", _TEXTS),
        ("item", pa.string()),
    ]
)

INVOCATIONS = pa.schema(
    [
        ("request_id", pa.string()),
        ("started_at", _TIME),
        ("ended_at", _TIME),
        ("function", pa.string()),
        ("log_group", pa.string()),
        ("log_stream", pa.string()),
        ("trigger_source", pa.string()),
        ("username", pa.string()),
        ("email", pa.string()),
        ("outcome", pa.string()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("logged_error", pa.string()),
        ("duration_ms", pa.float64()),
        ("billed_ms", pa.float64()),
        ("memory_mb", pa.int64()),
        ("max_memory_mb", pa.int64()),
        ("init_ms", pa.float64()),
        ("cold_start", pa.bool_()),
        ("event", pa.string()),
        ("truncated", pa.bool_()),
        ("suspicious", pa.int64()),
    ]
)

SEEN = pa.schema(
    [
        ("kind", pa.string()),
        ("id", pa.string()),
        ("first_seen", _TIME),
        ("last_seen", _TIME),
        ("source", pa.string()),
    ]
)

FINDINGS = pa.schema(
    [
        ("situation", pa.string()),
        ("cause", pa.string()),
        ("evidence", pa.string()),
        ("reason", pa.string()),
        ("account_id", pa.string()),
        ("sub", pa.string()),
        ("row_id", pa.string()),
        ("email", pa.string()),
        ("row_email", pa.string()),
        ("status", pa.string()),
        ("enabled", pa.bool_()),
        ("provider", pa.string()),
        ("account_created_at", _TIME),
        ("row_created_at", _TIME),
        ("trigger_source", pa.string()),
        ("request_ids", _TEXTS),
        ("attempts", pa.int64()),
        ("last_outcome", pa.string()),
        ("twins", _TEXTS),
        ("also_case_only", pa.bool_()),
        ("notes", _TEXTS),
        ("suggested_action", pa.string()),
    ]
)

ACCEPTED = "accepted"
"""The note of a finding that a person has judged: it is listed, but not counted."""

Item = dict[str, dict[str, Any]]
"""A DynamoDB item in its wire form, such as ``{"id": {"S": "a"}}``."""

Progress = Callable[[str, int], None]
"""Told the source's name and how many records of it were read so far."""


def email_key(email: str | None) -> str | None:
    """Return the key by which two e-mails are compared; None where there is none."""
    return (email or "").strip().lower() or None


def iso(moment: datetime) -> str:
    """Return a moment as AppSync writes it: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str | None) -> datetime | None:
    """Return the moment that ``iso`` wrote (or any ISO-8601 text: without a zone it is UTC); None for None."""
    if text is None:
        return None
    parsed = datetime.fromisoformat(text)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def now() -> datetime:
    """Return the present moment, UTC-aware, cut to the millisecond that every table keeps."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Source:
    """How one source was read: to its own end, or why not.

    ``suspicious`` counts the lines of a log that no run can have written; None where there are no lines.
    """

    complete: bool
    why_not: str | None
    pages: int
    count: int
    started_at: datetime
    ended_at: datetime
    suspicious: int | None = None

    def manifest(self) -> dict[str, Any]:
        """Return it as the manifest keeps it, times as text."""
        kept = dataclasses.asdict(self) | {"started_at": iso(self.started_at), "ended_at": iso(self.ended_at)}
        return {name: value for name, value in kept.items() if name != "suspicious" or value is not None}


@dataclass(frozen=True)
class Read:
    """What a source gave: a table, and how it was read."""

    table: pa.Table
    source: Source


@dataclass(frozen=True)
class Wiring:
    """The chain behind one pool, as far as it is configured or was found. It is part of every snapshot."""

    pool: str
    region: str
    table: str | None = None
    versioned: bool = False
    trigger: str = "pre_sign_up"  # or post_confirmation
    triggers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # all that are attached: name -> ARN
    correlation: str | None = "username"
    correlation_source: str = "presumed"  # or configured, learnt, unknown (then correlation is None)
    correlation_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)  # way -> share, 0 to 1
    grace_minutes: float = 15
    log_groups: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    log_from: datetime | None = None
    retention_days: int | None = None
    group_created_at: datetime | None = None
    keys: tuple[Mapping[str, str], ...] = ()  # digest, expires_at, seen_at
    api_id: str | None = None
    graphql_url: str | None = None
    conflict_handler: str | None = None  # AUTOMERGE, OPTIMISTIC_CONCURRENCY, LAMBDA; None: not known
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    identity: str | None = None
    warnings: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """Return it as the manifest keeps it, times as text."""
        times = {name: getattr(self, name) for name in _WIRING_TIMES}
        return dataclasses.asdict(self) | {name: time and iso(time) for name, time in times.items()}

    @classmethod
    def from_manifest(cls, wiring: Mapping[str, Any]) -> "Wiring":
        """Return what ``manifest`` wrote; what it does not know of is left out, what is missing has its default."""
        known = {field.name: wiring[field.name] for field in dataclasses.fields(cls) if field.name in wiring}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        times = {name: moment(known.get(name)) for name in _WIRING_TIMES}
        return cls(**{"pool": "", "region": ""} | known | lists | times)


_WIRING_TIMES = ("log_from", "group_created_at")


class PooltableError(Exception):
    """What failed, on what, what to do: one sentence an operator can act on."""

    exit_code: ClassVar[int] = 1


class ConfigError(PooltableError):
    """The configuration or the call cannot be used as it stands."""

    exit_code = 2


class NotAvailableYet(PooltableError):
    """The contract names it, this version cannot do it."""

    exit_code = 2


class AwsError(PooltableError):
    """A call to AWS that failed for good, after botocore's retries.

    ``action`` is the IAM action it needs, ``code`` AWS's own code. ``maybe_done`` is true when a write may have
    reached the service all the same (a time-out, a reset, a 5xx): only reading back can tell.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        action: str,
        code: str = "",
        request_id: str = "",
        maybe_done: bool = False,
        item: Item | None = None,
    ) -> None:
        super().__init__(message)
        self.action = action
        self.code = code
        self.request_id = request_id
        self.maybe_done = maybe_done
        self.item = item


class CredentialsError(AwsError):
    """No call can succeed until somebody signs in again."""


class NotReadable(PooltableError):
    """A source cannot be read as this environment is set up, so no view of it would be true."""

    exit_code = 3


class NoSnapshot(PooltableError):
    """Nothing was read yet, so there is nothing to show."""

    exit_code = 3


class Refused(PooltableError):
    """A plan or a run was refused as a whole; nothing was written."""

    exit_code = 4


class JournalError(PooltableError):
    """The journal cannot be read or written, so nothing was applied."""

    exit_code = 4
