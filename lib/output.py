"""How a table leaves the program: as JSON, CSV, Parquet or text, masked unless asked otherwise."""

import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib.display import csv_cell, mask_email, masked, visible
from lib.model import ConfigError, iso

FORMATS = ("table", "json", "csv", "parquet")
_EMAILS = frozenset({"email", "row_email", "email_key"})
_CELL_WIDTH = 48


def rendered(table: pa.Table, form: str, *, reveal: bool = False) -> bytes:
    """Return the table in one of ``FORMATS``; times as ISO-8601 UTC with `Z`, one array or line per row."""
    table = table if reveal else masked_table(table)
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()
    records = [_record(record) for record in table.to_pylist()]
    text = {"json": _json, "csv": _csv, "table": _text}[form](records, table.column_names)
    return text.encode("utf-8", errors="replace")


def masked_table(table: pa.Table) -> pa.Table:
    """Return the table with every e-mail address in it masked, in ids and lists and JSON too."""
    for index, name in enumerate(table.column_names):
        column = table.column(index)
        if pa.types.is_string(column.type) or pa.types.is_list(column.type):
            values = [_masked_cell(name, value) for value in column.to_pylist()]
            table = table.set_column(index, table.schema.field(index), pa.array(values, column.type))
    return table


def to_json(content: Mapping[str, Any] | list[Any], *, reveal: bool = False) -> str:
    """Return one JSON document, times as text, e-mails masked unless revealed."""
    return _printable(json.dumps(content if reveal else masked(content), default=_plain, ensure_ascii=False, indent=2))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all; raise ``ConfigError`` where that cannot be."""
    write_whole(path, content, mode=0o600)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all, for everybody to read unless ``mode`` says otherwise; raise ``ConfigError``."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(
            f"Cannot write {path}: {error.strerror}. Name a file in a folder you may write to."
        ) from error


def _masked_cell(name: str, value: Any) -> Any:
    if value is None:
        return None
    # An e-mail column is masked even when what it holds does not look like an address.
    return mask_email(value) if name in _EMAILS else masked(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in record.items()}


def _json(records: list[dict[str, Any]], columns: list[str]) -> str:
    return _printable(json.dumps(records, ensure_ascii=False, indent=1)) + "\n"


def _printable(text: str) -> str:
    """Return JSON with every character that a terminal would obey instead of showing as an escape, the same to read."""
    if text.isascii():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def _csv(records: list[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for record in records:
        writer.writerow([csv_cell(visible(_flat(record[name]))) for name in columns])
    return text.getvalue()


def _text(records: list[dict[str, Any]], columns: list[str]) -> str:
    """Return columns under each other; the empty ones are left out, since a terminal is narrow."""
    shown = [name for name in columns if any(record[name] not in (None, []) for record in records)]
    lines = [shown, *([_cut(_flat(record[name])) for name in shown] for record in records)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(shown))]
    return "".join("  ".join(_padded(line, widths)).rstrip() + "\n" for line in lines)


def _padded(line: list[str], widths: list[int]) -> Iterable[str]:
    return (cell.ljust(width) for cell, width in zip(line, widths, strict=True))


def _flat(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(value) if isinstance(value, list) else str(value)


def _cut(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _CELL_WIDTH else f"{text[: _CELL_WIDTH - 1]}…"
