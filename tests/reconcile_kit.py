"""Small worlds for reconcile: tables from a few facts, and a manifest about them."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from lib import reconcile
from lib.model import ACCOUNTS, INVOCATIONS, ROWS, SEEN, email_key, iso

STARTED_AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
LONG_AGO = STARTED_AT - timedelta(days=2)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def account(username, **facts):
    made = {"sub": f"sub-{username}", "email": f"{username}@mail.test", "email_verified": True, "status": "CONFIRMED"}
    made |= {"enabled": True, "created_at": LONG_AGO, "modified_at": None, "attributes": "{}"} | facts
    return dict.fromkeys(ACCOUNTS.names) | {"username": username, "email_key": email_key(made["email"])} | made


def row(row_id, **facts):
    made = {"email": f"{row_id}@mail.test", "created_at": LONG_AGO, "version": 1, "deleted": False, "notes": []} | facts
    return dict.fromkeys(ROWS.names) | {"id": row_id, "email_key": email_key(made["email"]), "item": "{}"} | made


def run(username, started_at=LONG_AGO, took=SECOND, **facts):
    made = {"request_id": f"{username}-{started_at:%d%H%M%S.%f}", "trigger_source": "PreSignUp_SignUp"}
    made |= {"outcome": "completed", "email": f"{username}@mail.test", "duration_ms": 812.4}
    made |= {"started_at": started_at, "ended_at": None if took is None else started_at + took, "username": username}
    return dict.fromkeys(INVOCATIONS.names) | made | facts


def seen(kind, known_id, last_seen=STARTED_AT - MINUTE):
    return {"kind": kind, "id": known_id, "first_seen": last_seen, "last_seen": last_seen, "source": "snapshot"}


def manifest(*, logs_complete=True, **wiring):
    facts = {"pool": "eu-west-1_Pool1", "region": "eu-west-1", "table": "User-x", "versioned": True}
    facts |= {"trigger": "pre_sign_up", "correlation": "username", "grace_minutes": 15, "keys": []}
    facts |= {"log_from": iso(STARTED_AT - timedelta(days=30)), "retention_days": None, "group_created_at": None}
    read = {"complete": True, "why_not": None, "pages": 1, "count": 0}
    read |= {"started_at": iso(STARTED_AT), "ended_at": iso(STARTED_AT)}
    sources = {"accounts": read, "rows": read, "invocations": read | {"complete": logs_complete}}
    return {
        "schema": 1,
        "environment": "test",
        "started_at": iso(STARTED_AT),
        "finished_at": iso(STARTED_AT),
        "complete": logs_complete,
        "suspicious": False,
        "reasons": [],
        "sources": sources,
        "wiring": facts | wiring,
    }


def tables(accounts=(), rows=(), invocations=(), known=()):
    return {
        "accounts": pa.Table.from_pylist(list(accounts), schema=ACCOUNTS),
        "rows": pa.Table.from_pylist(list(rows), schema=ROWS),
        "invocations": pa.Table.from_pylist(list(invocations), schema=INVOCATIONS),
        "seen": pa.Table.from_pylist(list(known), schema=SEEN),
    }


def pairs(accounts=(), rows=(), invocations=(), known=(), *, logs_complete=True, **wiring):
    """Every line that reconcile gives for a world, as dicts."""
    world = tables(accounts, rows, invocations, known)
    return reconcile.reconcile(**world, manifest=manifest(logs_complete=logs_complete, **wiring)).to_pylist()


def only(lines, **facts):
    """The one line with these facts."""
    found = [line for line in lines if all(line[name] == value for name, value in facts.items())]
    assert len(found) == 1, f"{len(found)} lines with {facts} in {lines}"
    return found[0]


def apart(number, *records):
    """The records with ids and e-mails of their own, so that many cases fit into one world."""
    names = ("username", "id", "sub", "email", "email_key", "owner", "request_id")
    return [
        record | {name: f"{number:02}-{record[name]}" for name in names if record.get(name)}
        for record in records
        if record is not None
    ]
