"""How a table leaves the program: as JSON, CSV, Parquet or text, masked unless asked otherwise."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib.display import csv_cell, mask_email, masked, visible
from lib.model import iso

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
    return json.dumps(content if reveal else masked(content), default=_plain, ensure_ascii=False, indent=2)


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
    return json.dumps(records, ensure_ascii=False, indent=1) + "\n"


def _csv(records: list[dict[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for record in records:
        writer.writerow([csv_cell(_flat(record[name])) for name in columns])
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
