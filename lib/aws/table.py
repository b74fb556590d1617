"""The User table: its rows in bulk, single items read consistently, and the only three writes, all conditional."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lib.aws import bulk
from lib.aws.rows import SYSTEM_FIELDS, plain, rows_of, sent_form, wire_form
from lib.aws.session import WORKERS, Aws
from lib.model import ROWS, AwsError, Item, NotReadable, Progress, Read, now

__all__ = [
    "TableFacts",
    "describe",
    "item",
    "items",
    "plain",
    "put_new",
    "read_rows",
    "remove",
    "replace",
    "rows_of",
    "shows_versions",
]

_MOST_CONDITIONS = 120
"""DynamoDB takes 300 operators and 4 KB of text in a condition; each attribute costs two and some 16 bytes."""
_KEY_BYTES = 2048
_BATCH = 100


@dataclass(frozen=True)
class TableFacts:
    """What DynamoDB says of a table; the count is some hours old."""

    name: str
    status: str
    count_hint: int
    deletion_protected: bool


def describe(aws: Aws, table: str) -> TableFacts:
    """Return the table's facts; raise ``NotReadable`` unless its key is one text attribute named `id`."""
    with aws.calling(f"describe table {table}", action="dynamodb:DescribeTable"):
        described = aws.client("dynamodb").describe_table(TableName=table)["Table"]
    types = {each["AttributeName"]: each["AttributeType"] for each in described.get("AttributeDefinitions", ())}
    schema = [(key["AttributeName"], key["KeyType"]) for key in described.get("KeySchema", ())]
    if schema != [("id", "HASH")] or types.get("id") != "S":
        shown = ", ".join(f"{name} ({types.get(name, '?')}, {kind})" for name, kind in schema)
        raise NotReadable(
            f"Cannot read table {table}: its key is {shown}, not id (S, HASH). Only tables whose single key is a text "
            "named id can be matched to accounts; check that `table` names the User table."
        )
    return TableFacts(
        name=table,
        status=str(described.get("TableStatus", "")),
        count_hint=int(described.get("ItemCount", 0)),
        deletion_protected=bool(described.get("DeletionProtectionEnabled")),
    )


def read_rows(aws: Aws, table: str, *, consistent: bool = False, progress: Progress | None = None) -> Read:
    """Return every row of the table, columns as in ``model.ROWS``, read in parallel segments.

    What AWS refuses or fails in, and a table with another key, end the read: the source then says why, and the
    table holds what came before. ``progress`` is called from several threads, one at a time.
    """
    started_at = now()
    refusal = _refusal(aws, table)
    if refusal:
        chains = [bulk.Chain[pa.Table]([], 0, refusal)]
    else:
        chains = _segments(aws, table, consistent, bulk.Tally("rows", progress))
    rows = pa.concat_tables([ROWS.empty_table(), *(part for chain in chains for part in chain.parts)])
    return Read(rows, bulk.source_of(started_at, rows.num_rows, *chains))


def shows_versions(aws: Aws, table: str) -> bool:
    """Return whether any of the first few items carries `_version`, as conflict detection writes it."""
    with aws.calling(f"read table {table}", action="dynamodb:Scan"):
        first = bulk.decoded(bulk.body(aws.client("dynamodb").scan(TableName=table, Limit=25)))["Items"]
    return any("N" in each.get("_version", {}) for each in first)


def item(aws: Aws, table: str, id: str) -> Item | None:
    """Return one item as of this moment (consistent), in its wire form, or None when there is none."""
    with aws.calling(f"read a row of table {table}", action="dynamodb:GetItem"):
        found = aws.client("dynamodb").get_item(TableName=table, Key={"id": {"S": id}}, ConsistentRead=True)
    return wire_form(found["Item"]) if found.get("Item") else None


def items(aws: Aws, table: str, ids: Iterable[str]) -> dict[str, Item]:
    """Return the items that exist among ``ids`` as of this moment (consistent), by id, in their wire form."""
    # DynamoDB fails the whole batch for one impossible or repeated key.
    wanted = [id for id in dict.fromkeys(ids) if 0 < len(id.encode(errors="replace")) <= _KEY_BYTES]
    found: dict[str, Item] = {}
    for start in range(0, len(wanted), _BATCH):
        for each in _batch(aws, table, wanted[start : start + _BATCH]):
            found[each["id"]["S"]] = wire_form(each)
    return found


def put_new(aws: Aws, table: str, item: Item) -> str:
    """Write an item whose id is not there yet, and return AWS's request id."""
    with _writing(), aws.calling(f"create a row in table {table}", action="dynamodb:PutItem"):
        answer = aws.writer("dynamodb").put_item(
            TableName=table,
            Item=sent_form(item),
            ConditionExpression="attribute_not_exists(#id)",
            ExpressionAttributeNames={"#id": "id"},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    return _request_id(answer)


def replace(aws: Aws, table: str, before: Item, after: Item) -> str:
    """Turn an item that is still exactly ``before`` into ``after``, which differs, and return AWS's request id.

    Attributes that neither image knows of are left alone. Every attribute of ``before`` must still have its value and
    no attribute that only ``after`` has may be there; of an item with more than 120 attributes, those that change,
    the system fields and as many others as DynamoDB takes.
    """
    changed = [name for name in after if after[name] != before.get(name)]
    gone = [name for name in before if name not in after]
    condition = _Condition(before)
    condition.hold([*changed, *gone])
    assignments = [f"{condition.name(name)} = {condition.value(after[name])}" for name in changed]
    removals = [condition.name(name) for name in gone]
    update = " ".join(
        f"{verb} {', '.join(parts)}" for verb, parts in (("SET", assignments), ("REMOVE", removals)) if parts
    )
    with _writing(), aws.calling(f"update a row of table {table}", action="dynamodb:UpdateItem"):
        answer = aws.writer("dynamodb").update_item(
            TableName=table,
            Key={"id": sent_form(before)["id"]},
            UpdateExpression=update,
            **condition.arguments(),
        )
    return _request_id(answer)


def remove(aws: Aws, table: str, before: Item) -> str:
    """Delete an item that is still exactly ``before``, and return AWS's request id.

    Of what ``before`` does not have, the system fields (`updatedAt` and `_version` among them) must still be absent;
    DynamoDB has no way to ask for "nothing else".
    """
    condition = _Condition(before)
    condition.hold(())
    with _writing(), aws.calling(f"delete a row of table {table}", action="dynamodb:DeleteItem"):
        answer = aws.writer("dynamodb").delete_item(
            TableName=table, Key={"id": sent_form(before)["id"]}, **condition.arguments()
        )
    return _request_id(answer)


def _refusal(aws: Aws, table: str) -> str | None:
    try:
        describe(aws, table)
    except NotReadable as error:
        return str(error)
    except AwsError:
        # DescribeTable may be denied where Scan is allowed; whatever else is wrong, Scan says it too.
        return None
    return None


def _segments(aws: Aws, table: str, consistent: bool, tally: bulk.Tally) -> list[bulk.Chain[pa.Table]]:
    def read(segment: int) -> bulk.Chain[pa.Table]:
        def ask(last_key: Item | None) -> bytes:
            following = {"ExclusiveStartKey": last_key} if last_key else {}
            with aws.calling(f"read table {table}", action="dynamodb:Scan"):
                scan = aws.client("dynamodb").scan(
                    TableName=table, Segment=segment, TotalSegments=WORKERS, ConsistentRead=consistent, **following
                )
                return bulk.body(scan)

        with _stopping(tally):
            return bulk.read_chain(
                ask, _page_rows, records="Items", following="LastEvaluatedKey", source="rows", tally=tally
            )

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="scan") as workers, _stopping(tally):
        return list(workers.map(read, range(WORKERS)))


@contextmanager
def _stopping(tally: bulk.Tally) -> Iterator[None]:
    """Stop every segment when one of them, or who waits for them, is interrupted: else that waits for all to end."""
    try:
        yield
    except BaseException:
        tally.stopped.set()
        raise


def _page_rows(page: dict[str, Any]) -> tuple[pa.Table, int]:
    rows = rows_of(page["Items"])
    return rows, rows.num_rows


def _batch(aws: Aws, table: str, ids: list[str]) -> Iterator[Item]:
    keys: list[Item] = [{"id": {"S": id}} for id in ids]
    delay = 0.05
    while keys:
        with aws.calling(f"read rows of table {table}", action="dynamodb:BatchGetItem"):
            answer = aws.client("dynamodb").batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            yield from answer["Responses"].get(table, ())
        left = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
        if len(left) == len(keys):
            if delay > 5:
                raise AwsError(
                    f"Cannot read rows of table {table}: AWS asks for fewer requests. Try again in a few minutes.",
                    action="dynamodb:BatchGetItem",
                    code="UnprocessedKeys",
                )
            time.sleep(delay)
            delay *= 2
        keys = left


class _Condition:
    """The condition that an item is still what it was. Every name is aliased: `_version` and `owner` must be."""

    def __init__(self, before: Item) -> None:
        self._before = before
        self._names: dict[str, str] = {}
        self._values: list[dict[str, Any]] = []
        self._terms: list[str] = []

    def name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#n{len(self._names)}")

    def value(self, value: dict[str, Any]) -> str:
        self._values.append(value)
        return f":v{len(self._values) - 1}"

    def hold(self, touched: Iterable[str]) -> None:
        """Ask that every attribute still has its old value, the touched ones and the system fields first."""
        for attribute in list(dict.fromkeys([*touched, *SYSTEM_FIELDS, *self._before]))[:_MOST_CONDITIONS]:
            if attribute in self._before:
                self._terms.append(f"{self.name(attribute)} = {self.value(self._before[attribute])}")
            else:
                self._terms.append(f"attribute_not_exists({self.name(attribute)})")

    def arguments(self) -> dict[str, Any]:
        """Return what botocore's write calls take."""
        return {
            "ConditionExpression": " AND ".join(self._terms),
            "ExpressionAttributeNames": {alias: attribute for attribute, alias in self._names.items()},
            "ExpressionAttributeValues": sent_form({f":v{index}": value for index, value in enumerate(self._values)}),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except AwsError as error:
        error.item = wire_form(error.item) if error.item else None
        raise


def _request_id(answer: dict[str, Any]) -> str:
    return str(answer.get("ResponseMetadata", {}).get("RequestId", ""))
