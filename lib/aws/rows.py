"""Items of the User table to rows: columns as in ``model.ROWS``, whatever an item holds. Pure."""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lib.aws.bulk import without_surrogates
from lib.model import ROWS, Item, email_key

WHOLE_ITEM_BYTES = 16 * 1024
"""An item whose JSON is longer is kept without its other attributes."""

SYSTEM_FIELDS = (
    "id",
    "email",
    "createdAt",
    "updatedAt",
    "_version",
    "_lastChangedAt",
    "_deleted",
    "_ttl",
    "owner",
    "__typename",
)
"""What Amplify and AppSync themselves read and write of a User."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
# A year outside of these is no date anybody meant: an unset clock, or "for ever".
_FIRST = (datetime(1971, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_SECONDS_BELOW = 10**11
"""As seconds the year 5138, as milliseconds 1973: what a number stands for is clear."""

# Exactly what AppSync writes; Arrow converts such a column at once.
_APPSYNC_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
_EPOCH_TIME = re.compile(r"\d+(\.\d+)?")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_NO_NOTES: tuple[str, ...] = ()
_ABSENT: dict[str, Any] = {"NULL": True}


def rows_of(items: Iterable[Item]) -> pa.Table:
    """Return one row per item, in their order; nothing an item holds loses its row."""
    items = list(items)
    try:
        return _rows_of(items)
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return _rows_of(without_surrogates(items))


def plain(item: Item) -> dict[str, Any]:
    """Return a typed item as plain values: sets as lists, binary as base64, numbers exact (int, float or Decimal)."""
    return {name: _plain(value, _number) for name, value in item.items()}


def wire_form(item: Item) -> Item:
    """Return an item that botocore parsed as it came over the wire, binary as base64 text, so that it is JSON."""
    return {
        name: _recoded(value, lambda inner: base64.b64encode(inner).decode(), bytes) for name, value in item.items()
    }


def sent_form(item: Item) -> Item:
    """Return an item in its wire form as botocore sends it, binary as bytes."""
    return {name: _recoded(value, base64.b64decode, str) for name, value in item.items()}


def is_tombstone(item: Item) -> bool:
    """Return whether AppSync has soft-deleted the row."""
    return item.get("_deleted") == {"BOOL": True}


def _rows_of(items: Sequence[Item]) -> pa.Table:
    cells = [_cells(item) for item in items]
    columns = [list(column) for column in zip(*cells, strict=True)] or [[] for _ in ROWS]
    created, updated, notes = columns[3], columns[4], columns[10]
    columns[3], columns[4] = _times(created, notes), _times(updated, notes)
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, ROWS, strict=True)
    ]
    return pa.table(arrays, ROWS)


def _cells(item: Item) -> tuple[Any, ...]:
    notes: list[str] = []
    get = item.get
    email = _text(get("email", _ABSENT), "email_not_text", notes)
    deleted = get("_deleted")
    if deleted is not None and not isinstance(deleted.get("BOOL"), bool):
        notes.append("deleted_not_boolean")
    expires_at = get("_ttl")
    if expires_at is not None and (_whole(expires_at) or 0) > _SECONDS_BELOW:
        notes.append("ttl_in_milliseconds")
    version = get("_version")
    changed_at = get("_lastChangedAt")
    return (
        _key(get("id", _ABSENT), notes),
        email,
        email_key(email),
        get("createdAt"),
        get("updatedAt"),
        None if version is None else _in_64_bits(_whole(version)),
        None if changed_at is None else _plausible(_whole(changed_at)),
        deleted is not None and deleted.get("BOOL") is True,
        _text(get("owner", _ABSENT), "owner_not_text", notes),
        get("__typename", _ABSENT).get("S"),
        notes or _NO_NOTES,
        _item_text(item),
    )


def _key(value: dict[str, Any], notes: list[str]) -> str | None:
    key = value.get("S")
    if isinstance(key, str):
        return key
    notes.append("id_not_text")
    return None


def _text(value: dict[str, Any], note: str, notes: list[str]) -> str | None:
    text = value.get("S")
    if isinstance(text, str):
        return text or None
    if "NULL" not in value:
        notes.append(note)
    return None


def _whole(value: dict[str, Any]) -> int | None:
    """Return an N that is a whole number; None for anything else."""
    text = value.get("N")
    if not isinstance(text, str):
        return None
    if len(text) < 19 and text.isdecimal():
        return int(text)
    try:
        number = Decimal(text)
        # Nothing counted here has 40 digits; a hostile exponent would cost memory.
        return int(number) if number.is_finite() and number.adjusted() < 40 and number == int(number) else None
    except InvalidOperation:
        return None


def _in_64_bits(number: int | None) -> int | None:
    return number if number is not None and abs(number) < 2**63 else None


def _plausible(milliseconds: int | None) -> int | None:
    return milliseconds if milliseconds is not None and _FIRST <= milliseconds < _LAST else None


def _times(values: list[dict[str, Any] | None], notes: list[Sequence[str]]) -> pa.Array:
    """Return createdAt or updatedAt as times, and note in ``notes`` how a value had to be read."""
    texts = pa.array([value.get("S") if value else None for value in values], pa.string())
    usual = pc.fill_null(pc.match_substring_regex(texts, _APPSYNC_TIME), False)
    try:
        moments = pc.if_else(usual, texts, None).cast(pa.timestamp("ms", tz="UTC"))
    except pa.ArrowInvalid:
        # A day that the calendar does not have stops the whole column: one by one, then.
        usual = pa.array([False] * len(values))
        moments = pa.nulls(len(values), pa.timestamp("ms", tz="UTC"))
    milliseconds = moments.cast(pa.int64()).to_pylist()
    for index, is_usual in enumerate(usual.to_pylist()):
        value = values[index]
        if value is not None and not is_usual:
            milliseconds[index], note = _time(value)
            if note and note not in notes[index]:
                notes[index] = [*notes[index], note]
    return pa.array([_plausible(moment) for moment in milliseconds], pa.int64()).cast(ROWS.field("created_at").type)


def _time(value: dict[str, Any]) -> tuple[int | None, str | None]:
    """Return the milliseconds an unusual value stands for, or None, and what is worth noting about it."""
    text = value.get("S", value.get("N"))
    text = text.strip() if isinstance(text, str) else ""
    if _EPOCH_TIME.fullmatch(text):
        number = Decimal(text)
        milliseconds = number * 1000 if number < _SECONDS_BELOW else number
        return (int(milliseconds), "epoch_time") if milliseconds < _LAST else (None, None)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None, None
    if moment.tzinfo is None:
        return (moment.replace(tzinfo=UTC) - _EPOCH) // _MS, "time_without_zone"
    return (moment - _EPOCH) // _MS, None


def _item_text(item: Item) -> str:
    text = _json(item)
    if len(text) <= WHOLE_ITEM_BYTES:
        return text.decode()
    kept = {name: item[name] for name in SYSTEM_FIELDS if name in item}
    return _json(kept | {"_truncated": {"BOOL": True}}).decode()


def _json(item: Item) -> bytes:
    # Most attributes are texts: to look before calling halves the time of a large read.
    return orjson.dumps({name: value["S"] if "S" in value else _plain(value, _exact) for name, value in item.items()})


def _plain(value: dict[str, Any], number: Callable[[str], Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "N":
        return number(inner)
    convert = _KINDS.get(kind)
    return convert(inner, number) if convert else inner


_KINDS: dict[str, Callable[[Any, Callable[[str], Any]], Any]] = {
    "NULL": lambda inner, number: None,
    "M": lambda inner, number: {name: _plain(value, number) for name, value in inner.items()},
    "L": lambda inner, number: [_plain(value, number) for value in inner],
    "B": lambda inner, number: _base64(inner),
    "SS": lambda inner, number: list(inner),
    "NS": lambda inner, number: [number(value) for value in inner],
    "BS": lambda inner, number: [_base64(value) for value in inner],
}


def _exact(number: str) -> Any:
    """Return a number for orjson, digit by digit as DynamoDB wrote it."""
    if len(number) < 19 and number.isdecimal() and number[0] != "0":
        return int(number)
    return orjson.Fragment(number) if _JSON_NUMBER.fullmatch(number) else number


def _number(text: str) -> int | float | Decimal:
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact)
    return float(exact) if Decimal(repr(float(exact))) == exact else exact


def _base64(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _recoded(value: dict[str, Any], recode: Callable[[Any], Any], binary: type) -> dict[str, Any]:
    """Return an attribute value with every binary in it, of type ``binary``, recoded."""
    ((kind, inner),) = value.items()
    if kind == "M":
        return {"M": {name: _recoded(each, recode, binary) for name, each in inner.items()}}
    if kind == "L":
        return {"L": [_recoded(each, recode, binary) for each in inner]}
    if kind == "B" and isinstance(inner, binary):
        return {"B": recode(inner)}
    if kind == "BS":
        return {"BS": [recode(each) if isinstance(each, binary) else each for each in inner]}
    return value
