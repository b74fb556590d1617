"""The two ways a row is written: through the app's AppSync API, or straight into its table. Never one for the other."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from lib.aws import api_type, functions, pool, table
from lib.aws.api_type import ApiType
from lib.aws.functions import Ran
from lib.aws.graphql import ACTION, FIELDS, VERSION_FIELDS, Api, holding
from lib.aws.rows import is_tombstone, plain
from lib.aws.session import Aws
from lib.aws.typed import typed
from lib.model import AwsError, ConfigError, CredentialsError, Item, Wiring

_SET_BY_APPSYNC = ("__typename", "createdAt", "updatedAt", "_version", "_lastChangedAt", "_deleted", "_ttl")
# GraphQLError: without a type of its own, so the query was refused before any resolver ran.
_CLEAR_REFUSALS = ("ConditionalCheckFailed", "ConflictUnhandled", "Unauthorized", "ValidationError", "GraphQLError")
_UNKNOWN_FIELD = re.compile(
    r"field name '(?P<input>\w+)' that is not defined|Field '(?P<field>\w+)' in type '\w+' is undefined", re.IGNORECASE
)


class World(Protocol):
    """One pool and one table, and the one way rows of it are written.

    A write returns the row as the service says it is now, and AWS's request id (empty where there is none).
    """

    pool: str
    table: str
    api: str | None
    writer: str

    def account(self, username: str) -> dict[str, Any] | None:
        """Return one account as of this moment, keys as in ``model.ACCOUNTS``, or None."""

    def holder(self, row: Item, correlation: str) -> dict[str, Any] | None:
        """Return the account that a row belongs to by the correlation, as of this moment, or None."""

    def row(self, id: str) -> Item | None:
        """Return one row as of this moment, or None."""

    def run(self, function: str, event: str, *, dry_run: bool = False) -> Ran:
        """Run the trigger's function once; with ``dry_run`` only ask whether the role may."""

    def create(self, after: Item) -> tuple[Item, str]:
        """Write a row whose id is not there yet."""

    def restore(self, after: Item) -> tuple[Item, str]:
        """Write a row back, whole, whose id is not there any more."""

    def update(self, before: Item, after: Item) -> tuple[Item, str]:
        """Turn a row that is still ``before`` into ``after``, a tombstone where that is one."""

    def delete(self, before: Item) -> tuple[Item | None, str]:
        """Delete a row that is still ``before``; what is returned is its tombstone, or None where it is gone."""


def world(aws: Aws, wiring: Wiring, writer: str) -> World:
    """Return the world behind a wiring, written to by ``writer`` (appsync or dynamodb)."""
    if writer == "dynamodb":
        return DynamoWriter(aws, wiring)
    return AppSyncWriter(aws, wiring, _known_type(aws, wiring))


def _known_type(aws: Aws, wiring: Wiring) -> ApiType | None:
    url = aws.settings.graphql_url or wiring.graphql_url
    try:
        return api_type.ask(aws, url) if url else None
    except CredentialsError:
        # The first write says so, and stops the run.
        return None


class DynamoWriter:
    """Writes the table itself; every write is conditional on the exact image it replaces."""

    writer = "dynamodb"

    def __init__(self, aws: Aws, wiring: Wiring) -> None:
        if not wiring.table:
            raise ConfigError(f"The table of {aws.settings.name} is not known. Set table for it in pooltable.toml.")
        self.pool = wiring.pool
        self.table: str = wiring.table
        self.api: str | None = None
        self._aws = aws

    def account(self, username: str) -> dict[str, Any] | None:
        """Return one account as of this moment, keys as in ``model.ACCOUNTS``, or None."""
        return pool.account(self._aws, username)

    def holder(self, row: Item, correlation: str) -> dict[str, Any] | None:
        """Return the account that a row belongs to by the correlation, as of this moment, or None."""
        if correlation in ("sub", "email"):
            return pool.found(self._aws, correlation, _text(row, "id" if correlation == "sub" else "email"))
        name = _text(row, "id") if correlation == "username" else _text(row, "owner").rpartition("::")[2]
        return self.account(name) if name else None

    def row(self, id: str) -> Item | None:
        """Return one row as of this moment, or None."""
        return table.item(self._aws, self.table, id)

    def run(self, function: str, event: str, *, dry_run: bool = False) -> Ran:
        """Run the trigger's function once; with ``dry_run`` only ask whether the role may."""
        return functions.invoke(self._aws, function, event, dry_run=dry_run)

    def create(self, after: Item) -> tuple[Item, str]:
        """Write a row whose id is not there yet."""
        return after, table.put_new(self._aws, self.table, after)

    def restore(self, after: Item) -> tuple[Item, str]:
        """Write a row back whose id is not there any more."""
        return after, table.put_new(self._aws, self.table, after)

    def update(self, before: Item, after: Item) -> tuple[Item, str]:
        """Turn a row that is still exactly ``before`` into ``after``."""
        return after, table.replace(self._aws, self.table, before, after)

    def delete(self, before: Item) -> tuple[Item | None, str]:
        """Delete a row that is still exactly ``before``."""
        return None, table.remove(self._aws, self.table, before)


class AppSyncWriter(DynamoWriter):
    """Writes through the app's API, so that its subscribers and DataStore clients hear of it; reads as the other does.

    A condition of AppSync names fields of its schema only, and AUTOMERGE merges a stale version without an error: the
    caller compares what comes back with what it wanted. GraphQL has neither an undelete nor a way to write a row back
    as old as it was: these two go straight to the table.
    """

    writer = "appsync"

    def __init__(self, aws: Aws, wiring: Wiring, known: ApiType | None = None) -> None:
        super().__init__(aws, wiring)
        url = aws.settings.graphql_url or wiring.graphql_url
        if not url:
            raise ConfigError(f"The API of {aws.settings.name} is not known. Set graphql_url for it in pooltable.toml.")
        self.api: str | None = url
        self._url: str = url
        self._versioned = wiring.versioned
        self._known = known
        self._apis: dict[tuple[str, ...], Api] = {}

    def create(self, after: Item) -> tuple[Item, str]:
        """Call createUser, which refuses an id that is there."""
        row = _fields(after)
        with _judged():
            written = self._api(row).create(row)
        return _as_answered(after, written.record, row), written.request_id

    def update(self, before: Item, after: Item) -> tuple[Item, str]:
        """Call updateUser with the version of ``before``, holding every field that changes, e-mail and owner.

        A row that becomes a tombstone is deleted by deleteUser.
        """
        if is_tombstone(before) or (is_tombstone(after) and not _only_deletes(before, after)):
            return super().update(before, after)
        if is_tombstone(after):
            answered, request_id = self.delete(before)
            return answered or after, request_id
        old, new = _fields(before), _fields(after)
        changed = {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}
        held = self._held(before, changed)
        with _judged():
            written = self._api(held).update({"id": old["id"], **changed}, self._version(before), holding(held))
        return _as_answered(after, written.record, held), written.request_id

    def delete(self, before: Item) -> tuple[Item | None, str]:
        """Call deleteUser with the version of ``before``; a versioned row stays as a tombstone."""
        held = self._held(before, {})
        with _judged():
            written = self._api(held).delete(_fields(before)["id"], self._version(before), holding(held))
        return (_as_answered(before, written.record, held) if self._versioned else None), written.request_id

    def _held(self, before: Item, changed: Iterable[str]) -> dict[str, Any]:
        """Return the values that the row must still have: of the fields that the API's conditions are known to know."""
        old = plain(before)
        known = self._known.conditions if self._known else ()
        also = [name for name in ("owner", "updatedAt") if name in known and isinstance(old.get(name), str | None)]
        return {name: old.get(name) for name in dict.fromkeys(["email", *changed, *also])}

    def _api(self, fields: Iterable[str]) -> Api:
        # A DataStore client takes a change only from a mutation that selected every field of the type.
        selected = self._known.fields if self._known else tuple(dict.fromkeys([*FIELDS, *fields]))
        if selected not in self._apis:
            self._apis[selected] = Api(
                self._aws, self._url, self._aws.settings.api_key, fields=selected, versioned=self._versioned
            )
        return self._apis[selected]

    def _version(self, row: Item) -> int | None:
        # Left out, AppSync would take it for 0.
        return int(row.get("_version", {}).get("N", 0)) if self._versioned else None


def _fields(item: Item) -> dict[str, Any]:
    return {name: value for name, value in plain(item).items() if name not in _SET_BY_APPSYNC}


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S") or "")


def _only_deletes(before: Item, after: Item) -> bool:
    return _fields(before) == _fields(after)


def _as_answered(wanted: Item, record: Mapping[str, Any], touched: Iterable[str]) -> Item:
    """Return the wanted item with the fields that matter to it as AppSync answered them.

    What else was selected is for the subscribers: AppSync may show it in another form than the table has it.
    """
    item = dict(wanted)
    for name in dict.fromkeys([*FIELDS, *VERSION_FIELDS, *touched]):
        if name not in record:
            continue
        value = record[name]
        if value is None:
            item.pop(name, None)
        elif name not in wanted or plain({name: wanted[name]})[name] != value:
            item[name] = typed(value)
    return item


@contextmanager
def _judged() -> Iterator[None]:
    """Say which attribute the API does not take; take any answer but a clear refusal for a write that may be done."""
    try:
        yield
    except CredentialsError:
        raise
    except AwsError as error:
        unknown = _UNKNOWN_FIELD.search(str(error))
        if unknown:
            raise AwsError(
                f"The API's type User does not know {unknown['input'] or unknown['field']!r}, so nothing was written. "
                'Remove it from [row] of the environment, add it to the schema, or set writer = "dynamodb".',
                action=ACTION,
                code=error.code,
            ) from error
        error.maybe_done = error.maybe_done or not any(code in error.code for code in _CLEAR_REFUSALS)
        raise
