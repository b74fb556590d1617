"""Answers a whole-table Scan and a whole-pool ListUsers in moto's stead, which takes half a minute for them.

Both read moto's own backends afresh for every page, so nothing here can be stale. Anything but the plain call (a
filter, a projection, an index) is left to moto.
"""

import base64
import hashlib
import json
import uuid
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import orjson
from moto.cognitoidp.models import cognitoidp_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PAGE_BYTES = 1_000_000
_PAGE_USERS = 60
_SCAN = {
    "TableName",
    "Segment",
    "TotalSegments",
    "Limit",
    "ExclusiveStartKey",
    "ConsistentRead",
    "ReturnConsumedCapacity",
}
_LIST_USERS = {"UserPoolId", "Limit", "PaginationToken"}
_OUT_OF_RANGE = "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must be {} or less"

Answer = Callable[[dict[str, Any], str], "Response | None"]


class Quick:
    """A WSGI application in front of moto's: answers the two bulk reads itself and passes everything else on."""

    def __init__(self, moto: "WSGIApplication", region: str) -> None:
        self._moto = moto
        self._region = region
        self._answers: dict[str, Answer] = {
            "DynamoDB_20120810.Scan": scan,
            "AWSCognitoIdentityProviderService.ListUsers": list_users,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answers.get(environ.get("HTTP_X_AMZ_TARGET", ""))
        if answer:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = BytesIO(body)
            response = answer(json.loads(body or b"{}"), self._region)
            if response:
                return response(environ, start_response)
        return self._moto(environ, start_response)


def scan(asked: dict[str, Any], region: str) -> Response | None:
    """Return a page of the table in the order of the ids' digests, as DynamoDB's own; None where moto must answer."""
    table = dynamodb_backends[DEFAULT_ACCOUNT_ID][region].tables.get(asked.get("TableName", ""))
    if table is None or not set(asked) <= _SCAN or not _segment_is_valid(asked) or table.has_range_key:
        return None
    # list() of a dict's values is one step to other threads: a write in between cannot break it.
    rows: list[Any] = list(table.items.values())
    placed = [(place, row) for row in rows if _in_segment(place := _place(row.hash_key.value), asked)]
    placed.sort(key=lambda placed_row: placed_row[0])
    start = 0
    if asked.get("ExclusiveStartKey"):
        after = _place(next(iter(asked["ExclusiveStartKey"][table.hash_key_attr].values())))
        start = bisect_right(placed, after, key=lambda placed_row: placed_row[0])
    page, full = _page([row for _, row in placed[start:]], asked.get("Limit"))
    answer: dict[str, Any] = {"Items": page, "Count": len(page), "ScannedCount": len(page)}
    if full:
        answer["LastEvaluatedKey"] = {table.hash_key_attr: page[-1][table.hash_key_attr]}
    if asked.get("ReturnConsumedCapacity", "NONE") != "NONE":
        answer["ConsumedCapacity"] = {"TableName": asked["TableName"], "CapacityUnits": 1.0}
    return _json(answer, "1.0")


def list_users(asked: dict[str, Any], region: str) -> Response | None:
    """Return a page of the pool in the order of the usernames; None where moto must answer."""
    pool = cognitoidp_backends[DEFAULT_ACCOUNT_ID][region].user_pools.get(asked.get("UserPoolId", ""))
    if pool is None or not set(asked) <= _LIST_USERS:
        return None
    limit = _PAGE_USERS if asked.get("Limit") is None else asked["Limit"]
    if not 0 <= limit <= _PAGE_USERS:
        return _error("InvalidParameterException", _OUT_OF_RANGE.format(_PAGE_USERS))
    users = list(pool.users.values())
    users.sort(key=lambda user: user.username)
    start = 0
    if "PaginationToken" in asked:
        after = _username(asked["PaginationToken"], pool.id)
        if after is None:
            return _error("InvalidParameterException", "Invalid pagination token.")
        start = bisect_right(users, after, key=lambda user: user.username)
    page = users[start : start + (limit or _PAGE_USERS)]
    answer: dict[str, Any] = {"Users": [_user(user) for user in page]}
    if page and page[-1] is not users[-1]:
        answer["PaginationToken"] = _token(page[-1].username, pool.id)
    return _json(answer, "1.1")


def wire(value: Any) -> dict[str, Any]:
    """Return one of moto's attribute values as DynamoDB sends it: binary in base64, at any depth."""
    inner = value.value
    if value.type == "M":
        inner = {name: wire(part) for name, part in list(inner.items())}
    elif value.type == "L":
        inner = [wire(part) for part in inner]
    elif value.type == "B":
        inner = _base64(inner)
    elif value.type == "BS":
        inner = [_base64(part) for part in inner]
    return {value.type: inner}


def _segment_is_valid(asked: dict[str, Any]) -> bool:
    segment, total = asked.get("Segment"), asked.get("TotalSegments")
    return (segment is None and total is None) or (segment is not None and total is not None and 0 <= segment < total)


def _in_segment(place: bytes, asked: dict[str, Any]) -> bool:
    # The same split as moto's, so that a Scan it answers agrees with one answered here.
    return asked.get("TotalSegments") is None or place[0] % int(asked["TotalSegments"]) == int(asked["Segment"])


def _place(hash_key: str) -> bytes:
    return hashlib.md5(str(hash_key).encode("utf8"), usedforsecurity=False).digest()


def _page(rows: list[Any], limit: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Return one page's rows in wire form, and whether anything is left."""
    page: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if len(page) == limit:
            return page, True
        attributes = {name: wire(value) for name, value in list(row.attrs.items())}
        size += len(orjson.dumps(attributes))
        if page and size > _PAGE_BYTES:
            return page, True
        page.append(attributes)
    return page, False


def _user(user: Any) -> dict[str, Any]:
    return {
        "Username": user.username,
        "Attributes": list(user.attributes),
        "UserCreateDate": _epoch(user.create_date),
        "UserLastModifiedDate": _epoch(user.last_modified_date),
        "Enabled": user.enabled,
        "UserStatus": str(getattr(user.status, "value", user.status)),
    }


def _epoch(moment: datetime) -> float:
    # Cognito keeps milliseconds; moto's own moments are in UTC without saying so.
    kept = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return (kept if kept.tzinfo else kept.replace(tzinfo=UTC)).timestamp()


def _token(username: str, pool_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([pool_id, username]).encode()).decode()


def _username(token: str, pool_id: str) -> str | None:
    try:
        made_for, username = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        return None
    return str(username) if made_for == pool_id else None


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else str(value)


def _json(answer: dict[str, Any], version: str, status: int = 200) -> Response:
    body = orjson.dumps(answer)
    response = Response(body, status, content_type=f"application/x-amz-json-{version}")
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    response.headers["x-amz-crc32"] = str(zlib.crc32(body))
    return response


def _error(code: str, message: str) -> Response:
    response = _json({"__type": code, "message": message}, "1.1", 400)
    response.headers["x-amzn-errortype"] = code
    return response
