"""The model `User` as Amplify deploys it: its GraphQL schema, and its resolvers over one DynamoDB table."""

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from graphql import GraphQLResolveInfo, GraphQLSchema, build_schema

from lib.model import Item, iso, now

CONDITION_FAILED = "DynamoDB:ConditionalCheckFailedException"
CONFLICT = "ConflictUnhandled"
CONFLICT_HANDLERS = ("AUTOMERGE", "OPTIMISTIC_CONCURRENCY")
FIELDS = {"Query": ("getUser", "listUsers"), "Mutation": ("createUser", "updateUser", "deleteUser")}

TOMBSTONE_LIFE = timedelta(minutes=43200)
"""Amplify's baseTableTtl: how long a soft-deleted row stays."""

_SYNC_FIELDS = "_version: Int! _deleted: Boolean _lastChangedAt: AWSTimestamp!"
_SCHEMA = """
scalar AWSDateTime
scalar AWSTimestamp
type User { id: ID! email: String owner: String createdAt: AWSDateTime! updatedAt: AWSDateTime! %(sync)s }
type ModelUserConnection { items: [User]! nextToken: String %(started)s }
input ModelStringInput { eq: String ne: String attributeExists: Boolean }
input ModelBooleanInput { eq: Boolean ne: Boolean attributeExists: Boolean }
input ModelUserConditionInput {
  email: ModelStringInput owner: ModelStringInput createdAt: ModelStringInput updatedAt: ModelStringInput %(deleted)s
  and: [ModelUserConditionInput] or: [ModelUserConditionInput] not: ModelUserConditionInput
}
input CreateUserInput { id: ID email: String owner: String %(version)s }
input UpdateUserInput { id: ID! email: String owner: String %(version)s }
input DeleteUserInput { id: ID! %(version)s }
type Query { getUser(id: ID!): User listUsers(limit: Int, nextToken: String): ModelUserConnection }
type Mutation {
  createUser(input: CreateUserInput!, condition: ModelUserConditionInput): User
  updateUser(input: UpdateUserInput!, condition: ModelUserConditionInput): User
  deleteUser(input: DeleteUserInput!, condition: ModelUserConditionInput): User
}
"""

Values = dict[str, Any]
Info = GraphQLResolveInfo[Any]


class ResolverError(Exception):
    """What a resolver refused: AppSync's errorType, its message, and the row as it stands where AppSync shows it."""

    def __init__(self, error_type: str, message: str, row: Values | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.row = row


class UserModel:
    """The resolvers of one table; correct under threads, and against writers that go to the table directly."""

    def __init__(
        self,
        *,
        table: str,
        dynamodb_client: Any,
        versioned: bool,
        conflict_handler: str,
        clock: Callable[[], datetime] = now,
    ) -> None:
        if conflict_handler not in CONFLICT_HANDLERS:
            raise ValueError(f"conflict_handler is one of {', '.join(CONFLICT_HANDLERS)}, not {conflict_handler!r}")
        self.table = table
        self.versioned = versioned
        self.conflict_handler = conflict_handler
        self.clock = clock
        self._client = dynamodb_client
        self._lock = threading.Lock()

    def schema(self) -> GraphQLSchema:
        """Return the schema; the sync fields are in it only where the table is versioned."""
        sync, version = (_SYNC_FIELDS, "_version: Int") if self.versioned else ("", "")
        started, deleted = ("startedAt: AWSTimestamp", "_deleted: ModelBooleanInput") if self.versioned else ("", "")
        return build_schema(_SCHEMA % {"sync": sync, "version": version, "started": started, "deleted": deleted})

    def resolvers(self) -> dict[str, Callable[..., Any]]:
        """Return the resolver of each root field."""
        return {
            "getUser": self.get,
            "listUsers": self.page,
            "createUser": self.create,
            "updateUser": self.update,
            "deleteUser": self.delete,
        }

    def get(self, _info: Info, id: str) -> Values | None:
        """Return the row, tombstones included."""
        return self._read(id)

    def page(self, _info: Info, limit: int = 100, nextToken: str | None = None) -> Values:  # noqa: N803
        """Return a page of rows, tombstones included."""
        start = {"ExclusiveStartKey": json.loads(base64.b64decode(nextToken))} if nextToken else {}
        page = self._call("scan", Limit=limit, **start)
        last = page.get("LastEvaluatedKey")
        return {
            "items": [_row(item) for item in page["Items"]],
            "nextToken": base64.b64encode(json.dumps(last).encode()).decode() if last else None,
            "startedAt": _milliseconds(self.clock()),
        }

    def create(self, _info: Info, input: Values, condition: Values | None = None) -> Values:
        """Put a row whose id must be free; one that is there already exactly as wanted is success."""
        stamp = self.clock()
        given = {name: value for name, value in input.items() if name != "_version"}
        wanted = {"id": str(uuid.uuid4()), "createdAt": iso(stamp), "updatedAt": iso(stamp), **given}
        wanted["__typename"] = "User"
        request = _Request()
        guards = ["attribute_not_exists(id)", request.condition(condition)]
        with self._lock:
            try:
                self._call("put_item", Item=_item(wanted | self._sync(0, stamp)), **request.sent(guards))
            except ResolverError as refusal:
                stored = self._read(wanted["id"]) or {}
                if refusal.error_type != CONDITION_FAILED or _application(stored) != _application(wanted):
                    raise
                return stored
        return wanted | self._sync(0, stamp)

    def update(self, _info: Info, input: Values, condition: Values | None = None) -> Values:
        """Set the given attributes, null removes; what becomes of a stale `_version` is the conflict handler's."""
        stamp = self.clock()
        given = {name: value for name, value in input.items() if name not in ("id", "_version")}
        wanted = given | {"updatedAt": iso(stamp)}

        def changes(stored: Values) -> Values:
            if not self.versioned or (input.get("_version") or 0) == _version(stored):
                return wanted | self._sync(_version(stored), stamp)
            if self.conflict_handler == "OPTIMISTIC_CONCURRENCY":
                raise _conflict(stored)
            # Automerge keeps the server's value of every scalar that has one, and counts the version all the same.
            merged = {name: value for name, value in wanted.items() if stored.get(name) is None}
            return merged | self._sync(_version(stored), stamp)

        return self._change(input["id"], changes, condition)

    def delete(self, _info: Info, input: Values, condition: Values | None = None) -> Values:
        """Mark a versioned row as deleted, for 30 days; remove an unversioned one for good."""
        if not self.versioned:
            return self._remove(input["id"], condition)
        stamp = self.clock()

        def changes(stored: Values) -> Values:
            if (input.get("_version") or 0) != _version(stored):
                raise _conflict(stored)
            gone_at = int((stamp + TOMBSTONE_LIFE).timestamp())
            return {"_deleted": True, "_ttl": gone_at} | self._sync(_version(stored), stamp)

        return self._change(input["id"], changes, condition)

    def _change(self, id: str, changes: Callable[[Values], Values], condition: Values | None) -> Values:
        with self._lock:
            while True:
                stored = self._read(id)
                try:
                    return self._update(id, stored, changes(stored) if stored else {}, condition)
                except ResolverError as refusal:
                    # Somebody who writes to the table directly came between: AppSync, too, reads again then.
                    moved = (self._read(id) or {}).get("_version") != (stored or {}).get("_version")
                    if refusal.error_type != CONDITION_FAILED or not moved:
                        raise

    def _update(self, id: str, stored: Values | None, changes: Values, condition: Values | None) -> Values:
        request = _Request()
        guards = ["attribute_exists(id)", request.condition(condition)]
        if self.versioned and stored:
            guards.append(request.unmoved("_version", stored.get("_version")))
        expression = request.update(changes)
        answer = self._call(
            "update_item",
            Key={"id": {"S": id}},
            **({"UpdateExpression": expression} if expression else {}),
            ReturnValues="ALL_NEW",
            **request.sent(guards),
        )
        return _row(answer["Attributes"])

    def _remove(self, id: str, condition: Values | None) -> Values:
        request = _Request()
        guards = ["attribute_exists(id)", request.condition(condition)]
        with self._lock:
            answer = self._call("delete_item", Key={"id": {"S": id}}, ReturnValues="ALL_OLD", **request.sent(guards))
        return _row(answer["Attributes"])

    def _sync(self, version: int, stamp: datetime) -> Values:
        return {"_version": version + 1, "_lastChangedAt": _milliseconds(stamp)} if self.versioned else {}

    def _read(self, id: str) -> Values | None:
        item = self._call("get_item", Key={"id": {"S": id}}, ConsistentRead=True).get("Item")
        return _row(item) if item else None

    def _call(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self.table, **parameters)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            request_id = error.response["ResponseMetadata"].get("RequestId", "")
            reason = f"Status Code: 400; Error Code: {code}; Request ID: {request_id}"
            said = error.response["Error"]["Message"].rstrip(".")
            raise ResolverError(f"DynamoDB:{code}", f"{said} (Service: AmazonDynamoDBv2; {reason})") from error


class _Request:
    """One conditional write in the making: every name and value goes through a placeholder."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#n{len(self._names)}")

    def value(self, value: Any) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = TypeSerializer().serialize(value)
        return placeholder

    def unmoved(self, attribute: str, value: Any) -> str:
        name = self.name(attribute)
        return f"attribute_not_exists({name})" if value is None else f"{name} = {self.value(value)}"

    def condition(self, condition: Mapping[str, Any] | None) -> str:
        """Return a ModelUserConditionInput as a DynamoDB condition, empty where it asks for nothing."""
        return _group(
            "AND", [self._asked(name, asked) for name, asked in (condition or {}).items() if asked is not None]
        )

    def _asked(self, name: str, asked: Any) -> str:
        if name == "not":
            inner = self.condition(asked)
            return f"NOT {inner}" if inner else ""
        if name in ("and", "or"):
            return _group(name.upper(), map(self.condition, asked))
        return _group("AND", [self._test(self.name(name), test, value) for test, value in asked.items()])

    def _test(self, name: str, test: str, value: Any) -> str:
        if test == "attributeExists":
            return f"attribute_{'exists' if value else 'not_exists'}({name})"
        return f"{name} {'=' if test == 'eq' else '<>'} {self.value(value)}"

    def update(self, changes: Values) -> str:
        sets = [f"{self.name(name)} = {self.value(value)}" for name, value in changes.items() if value is not None]
        removes = [self.name(name) for name, value in changes.items() if value is None]
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in (("SET", sets), ("REMOVE", removes)) if parts)

    def sent(self, guards: Iterable[str]) -> dict[str, Any]:
        names = {placeholder: attribute for attribute, placeholder in self._names.items()}
        return {"ConditionExpression": " AND ".join(filter(None, guards))} | (
            ({"ExpressionAttributeNames": names} if names else {})
            | ({"ExpressionAttributeValues": self._values} if self._values else {})
        )


def _group(glue: str, parts: Iterable[str]) -> str:
    known = list(filter(None, parts))
    # DynamoDB refuses redundant parentheses.
    return f"({f' {glue} '.join(known)})" if len(known) > 1 else "".join(known)


def _conflict(stored: Values) -> ResolverError:
    return ResolverError(CONFLICT, "Conflict resolver rejects mutation.", stored)


def _version(stored: Values) -> int:
    version = stored.get("_version")
    return version if isinstance(version, int) else 0


def _application(row: Values) -> Values:
    return {name: value for name, value in row.items() if name not in ("_version", "_lastChangedAt")}


def _row(item: Item) -> Values:
    read = TypeDeserializer().deserialize
    return {
        name: _number(value) if isinstance(value := read(typed), Decimal) else value for name, typed in item.items()
    }


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _item(row: Values) -> Item:
    return {name: TypeSerializer().serialize(value) for name, value in row.items()}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
