"""One person taken out of a snapshot's tables. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lib.person import Person

_NAMING = {
    "accounts": ("username", "sub", "email_key"),
    "rows": ("id", "owner", "email_key"),
    "invocations": ("username", "email"),
    "seen": ("id",),
    "findings": ("account_id", "sub", "row_id", "email", "row_email"),
}
"""By which columns a line of a table is a person's own."""

_IDS = {"accounts": ("username", "sub"), "rows": ("id",)}
_EMAILS = ("email", "email_key")


def widened(person: Person, tables: Mapping[str, pa.Table]) -> Person:
    """Return the person with every id and e-mail of the accounts and rows that are theirs: so named, or of one e-mail.

    Asked once it leads from an id to its e-mail, asked again from the e-mail to whatever else has it.
    """
    ids, emails = set(person.ids), set(person.emails)
    for name, columns in _IDS.items():
        own = tables[name].filter(_own(tables[name], _NAMING[name], person))
        for column in columns:
            ids |= set(own[column].drop_null().to_pylist())
        for column in _EMAILS:
            emails |= set(own[column].drop_null().to_pylist())
    return Person(ids, emails)


def without(name: str, table: pa.Table, person: Person) -> tuple[pa.Table, int]:
    """Return the table of this name without the person's lines and mentions, and how many lines it was about."""
    own = _own(table, _NAMING[name], person)
    kept = table.filter(pc.invert(own))
    spoken = 0
    for index, field in enumerate(kept.schema):
        if pa.types.is_string(field.type) or pa.types.is_list(field.type):
            values = kept.column(index).to_pylist()
            cleaned = [_cleaned(value, person) for value in values]
            if cleaned != values:
                spoken += sum(one != other for one, other in zip(cleaned, values, strict=True))
                kept = kept.set_column(index, field, pa.array(cleaned, field.type))
    return kept, table.num_rows - kept.num_rows + spoken


def _own(table: pa.Table, columns: Iterable[str], person: Person) -> pa.Array:
    masks = [pa.array([person.named(value) for value in table[column].to_pylist()], pa.bool_()) for column in columns]
    mask = masks[0]
    for other in masks[1:]:
        mask = pc.or_(mask, other)
    return mask


def _cleaned(value: Any, person: Person) -> Any:
    if isinstance(value, list):
        return [_cleaned(each, person) for each in value]
    return person.without(value) if value and person.mentioned(value) else value
