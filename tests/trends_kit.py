"""A small world in tables, for what counts and draws: accounts, rows and runs of the trigger at given times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from lib import reconcile
from lib.model import ACCOUNTS, INVOCATIONS, ROWS, SEEN, email_key, iso
from lib.snapshot import Snapshot

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)


def account(name: str, at: datetime, **more: Any) -> dict[str, Any]:
    email = more.pop("email", f"{name}@mail.test")
    return {
        "username": name,
        "sub": f"sub-{name}",
        "email": email,
        "email_key": email_key(email),
        "status": "CONFIRMED",
        "enabled": True,
        "created_at": at,
        "modified_at": at,
        "attributes": "{}",
    } | more


def row(name: str, at: datetime, **more: Any) -> dict[str, Any]:
    email = more.pop("email", f"{name}@mail.test")
    return {
        "id": name,
        "email": email,
        "email_key": email_key(email),
        "created_at": at,
        "deleted": False,
        "notes": [],
        "item": "{}",
    } | more


def run(request_id: str, name: str | None, at: datetime, outcome: str = "completed", **more: Any) -> dict[str, Any]:
    duration_ms = more.pop("duration_ms", 120.0)
    return {
        "request_id": request_id,
        "username": name,
        "started_at": at,
        "ended_at": at + timedelta(milliseconds=duration_ms or 0),
        "trigger_source": "PreSignUp_SignUp",
        "outcome": outcome,
        "duration_ms": duration_ms,
        "cold_start": False,
        "truncated": False,
        "suspicious": 0,
    } | more


def snapshot(
    accounts: Sequence[dict[str, Any]] = (),
    rows: Sequence[dict[str, Any]] = (),
    runs: Sequence[dict[str, Any]] = (),
    seen: Sequence[dict[str, Any]] = (),
    *,
    at: datetime = NOW,
    logs_read: bool = True,
    **wiring: Any,
) -> Snapshot:
    tables = [
        pa.Table.from_pylist(list(lines), schema=schema)
        for lines, schema in ((accounts, ACCOUNTS), (rows, ROWS), (runs, INVOCATIONS), (seen, SEEN))
    ]
    sources = {
        name: {
            "complete": name != "invocations" or logs_read,
            "why_not": None if name != "invocations" or logs_read else "AccessDenied",
            "pages": 1,
            "count": len(table),
            "started_at": iso(at - timedelta(minutes=1)),
            "ended_at": iso(at),
        }
        for name, table in zip(("accounts", "rows", "invocations"), tables[:3], strict=True)
    }
    manifest = {
        "schema": 1,
        "environment": "test",
        "started_at": iso(at - timedelta(minutes=1)),
        "finished_at": iso(at),
        "complete": True,
        "suspicious": False,
        "reasons": [],
        "sources": sources,
        "wiring": {
            "pool": "eu-west-1_Test",
            "region": "eu-west-1",
            "table": "User-test",
            "versioned": False,
            "trigger": "pre_sign_up",
            "correlation": "username",
            "grace_minutes": 15,
            "log_from": iso(at - timedelta(days=365)),
            "retention_days": None,
            "group_created_at": None,
            "keys": [],
        }
        | wiring,
    }
    read = dict(zip(("accounts", "rows", "invocations", "seen"), tables, strict=True))

    def table(name: str) -> pa.Table:
        return reconcile.findings(reconcile.reconcile(*tables, manifest)) if name == "findings" else read[name]

    return Snapshot(iso(at), manifest, table)
