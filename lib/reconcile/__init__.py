"""Situations and causes: which account belongs to which row, what is wrong with the pair, and why.

Pure: tables in, table out. `reconcile.sql` is one statement that any SQL engine runs unchanged; here its inputs are
prepared and each line gets what only Python says well: the sentence in ``reason``, and look-alike e-mails.
"""

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lib.model import ACCOUNTS, FINDINGS, HEALTHY, INVOCATIONS, ROWS, SEEN, email_key, moment
from lib.reconcile.reasons import reason

_TIME = pa.timestamp("ms", tz="UTC")
_TERMS = pa.schema(
    [
        ("correlation", pa.string()),
        ("trigger_kind", pa.string()),
        ("versioned", pa.bool_()),
        ("accounts_complete", pa.bool_()),
        ("rows_complete", pa.bool_()),
        ("young_after", _TIME),
        ("evidence_from", _TIME),
        ("logs_complete", pa.bool_()),
    ]
)
_KEYS = pa.schema([("expires_at", _TIME), ("seen_at", _TIME)])
_FACTS = [
    *("situation", "cause", "email", "row_email", "notes", "twins", "attempts", "last_outcome", "group_started_at"),
    *("started_at", "duration_ms", "error_type", "error_message", "logged_error", "expired_at", "last_seen"),
    *("holder", "held_row", "is_overwritten", "is_unmatched", "request_1", "request_2", "request_3"),
]

# Nothing may be fetched from a network here, and nothing that DuckDB does not bring along is needed.
NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def reconcile(
    accounts: pa.Table, rows: pa.Table, invocations: pa.Table, seen: pa.Table, manifest: Mapping[str, Any]
) -> pa.Table:
    """Return one line per pair, lone account, lone row and duplicate, columns as in ``model.FINDINGS``.

    Accounts and rows are paired by the manifest's ``wiring.correlation`` (by username while it is unknown); all
    times are the manifest's own, never the clock's. A soft-deleted row without account gives no line.
    """
    relations = {
        "accounts": _shaped(accounts, ACCOUNTS),
        "rows": _shaped(rows, ROWS),
        "invocations": _with_email_keys(_shaped(invocations, INVOCATIONS)),
        "seen": _shaped(seen, SEEN),
        "terms": terms(manifest),
        "keys": keys(manifest),
    }
    return _finished(queried(statement(), relations))


def findings(pairs: pa.Table) -> pa.Table:
    """Return the lines of ``pairs`` that need attention, in an order that does not depend on the input's."""
    found = pairs.filter(pc.invert(pc.is_in(pairs["situation"], pa.array(HEALTHY))))
    return found.sort_by([(name, "ascending") for name in ("situation", "account_id", "row_id", "email")])


@cache
def statement() -> str:
    """Return the SQL of ``reconcile``, the same for every engine."""
    return resources.files("lib.reconcile").joinpath("reconcile.sql").read_text(encoding="utf-8")


@cache
def attempts() -> str:
    """Return the part of ``statement`` that takes runs together to retry groups: the relations up to ``attempts``.

    It needs a relation ``calls`` with subject, username, trigger_source, started_at and request_id, and keeps what
    else that has. A group is all attempts of one subject, username, trigger_source, chain and group_number; ``attempt``
    counts from 1.
    """
    sql = statement()
    return sql[sql.index("opened as (") : sql.index("retry_groups as (")].rstrip().rstrip(",")


def terms(manifest: Mapping[str, Any]) -> pa.Table:
    """Return the one-row relation of what the statement must know besides the tables."""
    wiring, started_at = manifest["wiring"], _accounts_started_at(manifest)
    evidence_from = _evidence_from(manifest)
    one = {
        "correlation": wiring.get("correlation") or "username",
        "trigger_kind": wiring.get("trigger") or "post_confirmation",
        "versioned": bool(wiring.get("versioned")),
        "accounts_complete": _is_complete(manifest, "accounts"),
        "rows_complete": _is_complete(manifest, "rows"),
        "young_after": started_at - timedelta(minutes=wiring.get("grace_minutes", 15)),
        "evidence_from": evidence_from,
        "logs_complete": evidence_from is not None,
    }
    return pa.Table.from_pylist([one], schema=_TERMS)


def keys(manifest: Mapping[str, Any]) -> pa.Table:
    """Return the relation of what is known about the trigger's API keys: when each expires, when that was seen."""
    facts = [
        {
            "expires_at": moment(fact.get("expires_at")),
            "seen_at": moment(fact.get("seen_at")) or _accounts_started_at(manifest),
        }
        for fact in manifest["wiring"].get("keys") or ()
    ]
    return pa.Table.from_pylist(facts, schema=_KEYS)


def _is_complete(manifest: Mapping[str, Any], source: str) -> bool:
    return bool(manifest.get("sources", {}).get(source, {}).get("complete", True))


def _accounts_started_at(manifest: Mapping[str, Any]) -> datetime:
    accounts = manifest.get("sources", {}).get("accounts", {})
    started_at = moment(accounts.get("started_at")) or moment(manifest["started_at"])
    assert started_at is not None
    return started_at


def _evidence_from(manifest: Mapping[str, Any]) -> datetime | None:
    """Return the time from which the log holds everything; None when it was not read, or not to its end."""
    wiring = manifest["wiring"]
    log_from = moment(wiring.get("log_from"))
    if log_from is None or not manifest.get("sources", {}).get("invocations", {}).get("complete"):
        return None
    reaches = [log_from, moment(wiring.get("group_created_at"))]
    if wiring.get("retention_days"):
        reaches.append(_accounts_started_at(manifest) - timedelta(days=wiring["retention_days"]))
    return max(reach for reach in reaches if reach)


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.select(schema.names).cast(schema)


def _with_email_keys(invocations: pa.Table) -> pa.Table:
    # Made in Python as for accounts and rows: engines do not agree on lower() and trim().
    distinct = pc.unique(invocations["email"])
    made = pa.array([email_key(email) for email in distinct.to_pylist()], pa.string())
    return invocations.append_column("email_key", pc.take(made, pc.index_in(invocations["email"], distinct)))


def queried(query: str, relations: Mapping[str, pa.Table]) -> pa.Table:
    """Return what a query over these relations, and nothing else, gives."""
    with duckdb.connect(config=NO_EXTENSIONS) as connection:
        for name, table in relations.items():
            connection.register(name, table)
        return connection.sql(query).to_arrow_table()


def _finished(lines: pa.Table) -> pa.Table:
    """Return the statement's lines with reason, notes and request ids, columns as in ``model.FINDINGS``."""
    is_silent = pc.and_(pc.equal(lines["situation"], "in_sync"), pc.invert(lines["is_overwritten"]))
    silent, telling = lines.filter(is_silent), lines.filter(pc.invert(is_silent))
    return pa.concat_tables([_silent(silent), _telling(telling)]).combine_chunks()


def _silent(lines: pa.Table) -> pa.Table:
    empty = pa.array([[]], FINDINGS.field("twins").type).take(pa.array([0] * len(lines), pa.int64()))
    notes = pc.if_else(pc.is_null(lines["notes"]), empty, lines["notes"].cast(empty.type))
    return _columns(lines, {"twins": empty, "request_ids": empty, "notes": notes, "reason": _nothing(len(lines))})


def _telling(lines: pa.Table) -> pa.Table:
    told = [_told(line) for line in lines.select(_FACTS).to_pylist()]
    made = {
        name: pa.array([line[name] for line in told], FINDINGS.field(name).type)
        for name in ("twins", "request_ids", "notes", "reason")
    }
    return _columns(lines, made)


def _told(line: dict[str, Any]) -> dict[str, Any]:
    notes = list(line["notes"] or ())
    if line["is_overwritten"]:
        notes.append("overwritten_by_password_reset")
    if line["situation"] == "drift" and _look_alike(line["email"], line["row_email"]):
        notes.append("look_alike_email")
    line |= {"notes": notes, "twins": line["twins"] or []}
    line["request_ids"] = [line[name] for name in ("request_1", "request_2", "request_3") if line[name] is not None]
    return line | {"reason": reason(line)}


def _look_alike(one: str, other: str) -> bool:
    composed = [unicodedata.normalize("NFC", email_key(email) or "") for email in (one, other)]
    return composed[0] == composed[1]


def _nothing(count: int) -> pa.Array:
    return pa.nulls(count, pa.string())


def _columns(lines: pa.Table, made: Mapping[str, pa.Array]) -> pa.Table:
    columns = [made[name] if name in made else lines[name].cast(kind) for name, kind in _kinds()]
    return pa.Table.from_arrays(columns, schema=FINDINGS)


def _kinds() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in FINDINGS]
