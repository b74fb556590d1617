"""One step of a plan, and how images of a row are compared. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lib.aws.rows import is_tombstone, rows_of
from lib.aws.typed import typed
from lib.model import Item, iso

SERVICE_SET = ("createdAt", "updatedAt", "_version", "_lastChangedAt")
"""What the writer sets at the moment of the write; an undo leaves it as it is."""

KEPT_ROW = "kept_row"
"""Among a step's account: the row that the account has besides the one that is deleted."""

EVENT, FUNCTION, ORIGIN = "replayed_event", "replayed_function", "event_origin"
"""Among a replay's account: the event as JSON, the function that is run with it, and where the event is from."""

NO_FACTS = (KEPT_ROW, EVENT, FUNCTION, ORIGIN)
"""What stands among a step's account and is nothing that the account itself has."""

TOMBSTONE_LIFE = timedelta(minutes=43200)
"""Amplify's baseTableTtl: how long a soft-deleted row stays before DynamoDB removes it."""


@dataclass(frozen=True)
class Step:
    """One conditional write: what a row was when it was planned, and what it is to become.

    ``before`` is None where a row is to be created, ``after`` where one is to be deleted for good; a row of a versioned
    table is deleted by becoming a tombstone. ``account`` has the attributes of the account that ``after`` was made
    from; empty in an undo, which asks no account.
    """

    number: int
    action: str  # create_row | update_row | revive_row | stamp_row | delete_row | replay
    situation: str
    account_id: str | None
    sub: str | None
    row_id: str
    before: Item | None
    after: Item | None
    condition: str
    reason: str
    account: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def deletes(self) -> bool:
        """Whether the row is gone for the app afterwards."""
        return self.after is None or (is_tombstone(self.after) and not is_tombstone(self.before or {}))

    @property
    def revives(self) -> bool:
        """Whether a soft-deleted row lives again afterwards."""
        return is_tombstone(self.before or {}) and not is_tombstone(self.after or self.before or {})

    @property
    def stamps(self) -> bool:
        """Whether the row is only given its first version."""
        return self.action == "stamp_row"

    @property
    def replays(self) -> bool:
        """Whether the trigger's function is run, in the hope of a row with the id and e-mail of ``after``."""
        return self.action == "replay"

    @property
    def restores(self) -> bool:
        """Whether an undo brings back a row that is gone for good, as it was."""
        # An undo asks no account. Its after-image alone tells nothing: a step once tried has its times in it too.
        return self.action == "create_row" and not self.account

    @property
    def goes_past_the_api(self) -> bool:
        """Whether GraphQL has no word for the write, so that even behind AppSync it goes to the table."""
        return self.restores or self.revives

    @property
    def needs_no_account(self) -> bool:
        """Whether the row may only be deleted while it still has no account."""
        return self.action == "delete_row" and self.situation == "orphaned_row"

    def changes(self) -> dict[str, dict[str, Any] | None]:
        """Return the application attributes that change, None for one that is removed."""
        before, after = self.before or {}, self.after or {}
        return {
            name: after.get(name)
            for name in dict.fromkeys([*after, *before])
            if name not in SERVICE_SET and before.get(name) != after.get(name)
        }

    def wanted(self, row: Item | None, at: datetime) -> Item | None:
        """Return the whole item to write over ``row``, the row as it is now, with the times of this moment."""
        if self.after is None:
            return None
        changes = self.changes()
        item = {name: value for name, value in (row or {}).items() if name not in changes}
        item |= {name: value for name, value in changes.items() if value is not None}
        item["updatedAt"] = {"S": iso(at)}
        if row is None:
            # A row that an undo brings back is as old as it was.
            item["createdAt"] = self.after.get("createdAt", item["updatedAt"])
        if self.deletes and "_ttl" not in changes:
            item["_ttl"] = {"N": str(int((at + TOMBSTONE_LIFE).timestamp()))}
        version = self._version_before(row)
        if version is not None:
            milliseconds = int(at.timestamp() * 1000)
            item |= {"_version": {"N": str(version + 1)}, "_lastChangedAt": {"N": str(milliseconds)}}
        return item

    def _version_before(self, row: Item | None) -> int | None:
        """Return the version that the write counts on from, None where the row gets none."""
        wants_one = version_of(self.after or {}) is not None
        if row is None:
            return 0 if wants_one else None
        found = version_of(row)
        return 0 if found is None and wants_one else found


def typed_item(text: str) -> Item:
    """Return the item behind the ``item`` column of a row, as exactly as JSON holds it."""
    return {name: typed(value) for name, value in json.loads(text, parse_float=Decimal).items()}


def same(one: Item | None, other: Item | None) -> bool:
    """Return whether two images are one, as far as a snapshot keeps a row."""
    return _kept(one) == _kept(other)


def differing(one: Item | None, other: Item | None) -> list[str]:
    """Return the names of the attributes in which two images differ, as far as a snapshot keeps a row."""
    kept, others = _kept(one) or {}, _kept(other) or {}
    return [name for name in dict.fromkeys([*kept, *others]) if kept.get(name, _kept) != others.get(name, _kept)]


def is_written(found: Item | None, wanted: Item | None, *, created: bool) -> bool:
    """Return whether a row is what a write wanted, whatever times the service gave it.

    A created row may have attributes besides, which the API's own resolvers added.
    """
    if wanted is None:
        return found is None or is_tombstone(found)
    if found is None or is_tombstone(found) != is_tombstone(wanted):
        return False
    kept, asked = _kept(found) or {}, _kept(wanted) or {}
    names = set(asked) if created else set(asked) | set(kept)
    given = {"createdAt", "updatedAt", "_lastChangedAt"} | ({"_ttl"} if is_tombstone(wanted) else set())
    return all(kept.get(name) == asked.get(name) for name in names - given)


def version_of(item: Item) -> int | None:
    """Return the row's `_version`; None where there is none, or no whole number."""
    number = item.get("_version", {}).get("N")
    return int(number) if isinstance(number, str) and number.isdecimal() else None


def text_of(item: Item, name: str) -> str | None:
    """Return a text attribute of an item, None where it is no text."""
    value = item.get(name, {}).get("S")
    return value if isinstance(value, str) else None


def facts(account: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what a row can be made from: every attribute of the account, and its username."""
    attributes: dict[str, str | None] = json.loads(account["attributes"] or "{}")
    return {**attributes, "username": account["username"], "sub": account["sub"], "email": account["email"]}


def _kept(item: Item | None) -> dict[str, Any] | None:
    if item is None:
        return None
    kept: dict[str, Any] = json.loads(rows_of([item])["item"][0].as_py(), parse_float=Decimal)
    return kept
