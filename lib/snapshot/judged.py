"""Findings that a person has judged: recognised again in every later snapshot, as long as the situation is the same."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib.model import ACCEPTED, HEALTHY

_IDENTITY = ("situation", "account_id", "row_id", "twins", "notes")


def subject(line: Mapping[str, Any]) -> str:
    """Return what a finding is recognised by: a digest of its situation and the ids it is about."""
    ids = [line["account_id"], line["row_id"]]
    about = ids if any(ids) else sorted(line["twins"] or ())
    return hashlib.sha256(json.dumps([line["situation"], *about]).encode()).hexdigest()


def noted(lines: pa.Table, subjects: Mapping[str, Collection[str]]) -> pa.Table:
    """Return the lines with the note ``accepted`` on those that were judged; ``subjects`` are given by situation."""
    judged = pc.is_in(lines["situation"], pa.array([each for each in subjects if each not in HEALTHY], pa.string()))
    if not pc.any(judged).as_py():
        return lines
    named = lines.select(_IDENTITY).filter(judged).to_pylist()
    notes = [_with_note(line) if subject(line) in subjects[line["situation"]] else line["notes"] for line in named]
    column = lines["notes"].combine_chunks()
    changed = pc.replace_with_mask(pa.array(range(lines.num_rows)), judged.combine_chunks(), _places(lines, notes))
    both = pa.concat_arrays([column, pa.array(notes, column.type)])
    return lines.set_column(lines.column_names.index("notes"), lines.schema.field("notes"), both.take(changed))


def _places(lines: pa.Table, notes: list[Any]) -> pa.Array:
    return pa.array(range(lines.num_rows, lines.num_rows + len(notes)), pa.int64())


def _with_note(line: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*(line["notes"] or ()), ACCEPTED]))
