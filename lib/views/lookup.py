"""What Accounts shows: lines by situation, cause and search, a page of them, and all that is known of one."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from lib.model import ACCEPTED, FINDINGS, iso
from lib.snapshot import Snapshot

Record = Mapping[str, Any]

TWINS = 20
"""An e-mail can have thousands of holders: so many are opened with one of them."""

# A key stands in a URL, where no e-mail may: what has no sub is named by a digest. A duplicate is no one account.
_KEYED = """
with keyed as (
    select *,
        case
            when situation = 'duplicate' then left(sha256('duplicate:' || coalesce(email, '')), 32)
            else coalesce(nullif(sub, ''), left(sha256('id:' || coalesce(account_id, row_id, '')), 32))
        end as key,
        case when situation <> 'duplicate' then coalesce(nullif(sub, ''), account_id, row_id) end as id,
        coalesce(account_created_at, row_created_at) as since
    from pairs
)"""

_CHOSEN = """, chosen as (
    select * from keyed
    where ($cause = '' or cause = $cause)
        and (situation = $situation or ($situation = '' and situation not in ('in_sync', 'in_flight', 'out_of_scope')))
)
"""

_SEARCHED = """, called as (
    select distinct username from invocations where username is not null and starts_with(request_id, $search)
), chosen as (
    select k.* from keyed k
    left join called c on c.username = coalesce(k.account_id, k.row_id)
    where ($cause = '' or k.cause = $cause)
        and ($situation = '' or k.situation = $situation)
        and (
            contains(lower(coalesce(k.email, '')), lower($search))
            or contains(lower(coalesce(k.row_email, '')), lower($search))
            or starts_with(coalesce(k.account_id, ''), $search)
            or starts_with(coalesce(k.sub, ''), $search)
            or starts_with(coalesce(k.row_id, ''), $search)
            or c.username is not null
            or len(list_filter(k.request_ids, lambda request: starts_with(request, $search))) > 0
            or (k.situation = 'duplicate' and len(list_filter(k.twins, lambda twin: starts_with(twin, $search))) > 0)
        )
)
"""

_NEWEST_FIRST = " order by since desc nulls last, situation, key"

_ONE = """
select * from keyed where $key in (key, account_id, sub, row_id)
order by
    case $key when key then 0 when account_id then 1 when sub then 2 else 3 end,
    case when situation = 'duplicate' then 1 else 0 end
limit 1"""

_RUNS = """
select * from invocations
where username = $name or list_contains($request_ids, request_id)
order by started_at nulls last, request_id"""

_HOLDERS = """
select * from keyed
where situation <> 'duplicate' and key <> $key and (list_contains($ids, account_id) or list_contains($ids, row_id))
order by since nulls last, key limit $limit"""


@dataclass(frozen=True)
class Found:
    """One page of what matches, and how many match.

    The lines have the columns of ``model.FINDINGS`` and three more: `key` names a line in a URL, `id` in a repair
    (null for a duplicate), `since` is when it signed up or, without an account, when its row came.
    """

    lines: pd.DataFrame
    total: int


@dataclass(frozen=True)
class Detail:
    """What a snapshot holds of one line: both records, its runs of the trigger in time order, its duplicates."""

    key: str
    line: Record
    account: Record | None
    row: Record | None
    invocations: tuple[Record, ...]
    duplicates: tuple[Record, ...]

    @property
    def email(self) -> str | None:
        """The account's e-mail; the row's where there is no account."""
        email: str | None = self.line["email"] or self.line["row_email"]
        return email


@dataclass(frozen=True)
class Compared:
    """One attribute as both records have it, as text; None where a record has none."""

    name: str
    account: str | None
    row: str | None
    differs: bool


def counts(snapshot: Snapshot, *, search: str = "") -> dict[str, int]:
    """Return how many lines are in each situation, healthy ones included; with a search, of those it finds.

    Without one, what a person has judged and accepted is not counted.
    """
    if not search.strip():
        found = snapshot.sql(
            "select situation, count(*) as n from pairs"
            " where not coalesce(list_contains(notes, $accepted), false) group by situation",
            accepted=ACCEPTED,
        )
    else:
        found = _query(snapshot, "select situation, count(*) as n from chosen", " group by situation", search=search)
    return {str(situation): int(n) for situation, n in zip(found["situation"], found["n"], strict=True)}


def causes(snapshot: Snapshot, situation: str | None = None, *, search: str = "") -> dict[str, int]:
    """Return how many of the lines that match have each cause, the commonest first."""
    found = _query(
        snapshot,
        "select cause, count(*) as n from chosen where cause is not null",
        " group by cause order by n desc, cause",
        situation=situation,
        search=search,
    )
    return {str(cause): int(n) for cause, n in zip(found["cause"], found["n"], strict=True)}


def page(
    snapshot: Snapshot,
    *,
    situation: str | None = None,
    cause: str | None = None,
    search: str = "",
    limit: int = 50,
    offset: int = 0,
) -> Found:
    """Return the lines that match, newest first.

    Without a situation these are the findings; a search looks through every pair, so that a healthy account is found
    too. It matches a part of an e-mail, whatever its case, or the start of a Username, sub, row id or request id.
    """
    lines = _query(
        snapshot,
        "select *, count(*) over () as total from chosen",
        _NEWEST_FIRST + " limit $limit offset $offset",
        situation=situation,
        cause=cause,
        search=search,
        limit=limit,
        offset=offset,
    )
    return Found(lines.drop(columns="total"), int(lines["total"].iloc[0]) if len(lines) else 0)


def ids(snapshot: Snapshot, situation: str | None = None, cause: str | None = None, search: str = "") -> list[str]:
    """Return the id of each line that matches, newest first, as a repair takes them; a duplicate has none."""
    found = _query(
        snapshot,
        "select id from chosen where id is not null",
        situation=situation,
        cause=cause,
        search=search,
    )
    return [str(name) for name in found["id"]]


def chosen(
    snapshot: Snapshot,
    keys: Collection[str],
    *,
    situation: str | None = None,
    cause: str | None = None,
    search: str = "",
) -> pd.DataFrame:
    """Return `key`, `id` and `situation` of those of these keys that still match, newest first."""
    return _query(
        snapshot,
        "select key, id, situation from chosen where list_contains($keys, key)",
        situation=situation,
        cause=cause,
        search=search,
        keys=list(keys),
    )


def repairable(
    snapshot: Snapshot,
    situations: Collection[str],
    *,
    situation: str | None = None,
    cause: str | None = None,
    search: str = "",
) -> list[str]:
    """Return the ids of those in ``situations`` that match and may be repaired together, newest first.

    Left out is what a person decides one by one: rows that somebody deleted, accounts whose new e-mail is not
    verified, which is a way to take over a row, and what somebody has accepted.
    """
    found = _query(
        snapshot,
        "select id from chosen c where (suggested_action is not null or situation = 'orphaned_row')"
        " and list_contains($situations, situation) and (situation not in ('drift', 'tombstone') or exists"
        " (select 1 from accounts a where a.username = c.account_id and (a.email_verified or a.email = c.row_email)))"
        " and not coalesce(list_contains(notes, $accepted), false)",
        situation=situation,
        cause=cause,
        search=search,
        accepted=ACCEPTED,
        situations=list(situations),
    )
    return [str(name) for name in found["id"]]


def matching(snapshot: Snapshot, situation: str | None = None, cause: str | None = None, search: str = "") -> pa.Table:
    """Return every line that matches, newest first, columns as in ``model.FINDINGS``: what an export holds."""
    found = _query(snapshot, "select * from chosen", situation=situation, cause=cause, search=search)
    return pa.Table.from_pylist(records(found), schema=FINDINGS)


def one(snapshot: Snapshot, key: str) -> Detail | None:
    """Return all that is known of the line with this `key`, Username, sub or row id; None where there is none."""
    found = records(snapshot.sql(_KEYED + _ONE, key=key))
    if not found:
        return None
    line = found[0]
    name = line["account_id"] or line["row_id"]
    return Detail(
        key=line["key"],
        line=line,
        account=_record(snapshot, "select * from accounts where username = $id", line["account_id"]),
        row=_record(snapshot, "select * from rows where id = $id", line["row_id"]),
        invocations=tuple(records(snapshot.sql(_RUNS, name=name or "", request_ids=line["request_ids"]))),
        duplicates=tuple(records(snapshot.sql(_KEYED + _HOLDERS, ids=line["twins"], key=line["key"], limit=TWINS))),
    )


def compared(detail: Detail) -> list[Compared]:
    """Return both records attribute by attribute: what must agree first, then what only one of them has.

    E-mails differ when their keys do; times of the two sides are never called different.
    """
    account, row = detail.account or {}, detail.row or {}
    given, item = _json(account.get("attributes")), _json(row.get("item"))
    same_id = account.get("sub") if account.get("sub") == row.get("id") else account.get("username")
    lines = [
        Compared("Id", same_id, row.get("id"), bool(account and row) and same_id != row.get("id")),
        Compared("E-mail", account.get("email"), _text(item.get("email", row.get("email"))), _emails_differ(detail)),
        Compared("Created", _text(account.get("created_at")), _text(row.get("created_at")), False),
        Compared("Changed", _text(account.get("modified_at")), _text(row.get("updated_at")), False),
        Compared("E-mail verified", _text(account.get("email_verified")), None, False),
        Compared("Enabled", _text(account.get("enabled")), None, False),
        Compared("Provider", account.get("provider"), None, False),
    ]
    said = {"sub", "email", "email_verified", "id", "createdAt", "updatedAt"}
    lines += [
        Compared(name, _text(given.get(name)), _text(item.get(name)), _differ(given, item, name))
        for name in dict.fromkeys([*given, *item])
        if name not in said
    ]
    return [line for line in lines if line.account is not None or line.row is not None]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a frame as plain values: None for what is missing, aware times, lists."""
    found: list[dict[str, Any]] = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    return found


def _query(
    snapshot: Snapshot,
    query: str,
    tail: str = _NEWEST_FIRST,
    *,
    situation: str | None = None,
    cause: str | None = None,
    search: str = "",
    **parameters: Any,
) -> pd.DataFrame:
    """Return what a query finds in ``chosen``: the lines that match."""
    parameters |= {"situation": situation or "", "cause": cause or ""}
    if not search.strip():
        return snapshot.sql(_KEYED + _CHOSEN + query + tail, **parameters)
    return snapshot.sql(_KEYED + _SEARCHED + query + tail, **parameters, search=search.strip())


def _record(snapshot: Snapshot, query: str, record_id: str | None) -> Record | None:
    found = [] if record_id is None else records(snapshot.sql(query, id=record_id))
    return found[0] if found else None


def _json(text: str | None) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text or "{}")
    return content


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return iso(value) if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)


def _emails_differ(detail: Detail) -> bool:
    if detail.account is None or detail.row is None:
        return False
    return bool(detail.account["email_key"] != detail.row["email_key"])


def _differ(given: Mapping[str, Any], item: Mapping[str, Any], name: str) -> bool:
    return name in given and name in item and _text(given[name]) != _text(item[name])
