"""The form of a created row: what healthy rows of the same table look like, and what is configured. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.config import Settings
from lib.model import Item, Refused, email_key
from lib.repair.step import text_of

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

_COMMON = 0.99
"""The share of healthy rows that must have a form before a created row takes it."""

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_IDS = ("{username}", "{sub}")
_OWNERS = (None, "{sub}::{username}", "{username}", "{sub}")

# Matched by the plain join where one will do: pairs would judge the whole snapshot once more.
_MATCHED = {
    "username": "rows r join accounts a on a.username = r.id where r.deleted is not true",
    "sub": "rows r join accounts a on a.sub = r.id where r.deleted is not true",
}
_PAIRED = """rows r join pairs p on p.row_id = r.id and p.situation in ('in_sync', 'drift')
    join accounts a on a.username = p.account_id"""
# Counted by the engine that holds the snapshot: there may be millions of rows.
_COUNTS = """
select
    count(*) as healthy,
    coalesce(sum(case when r.id = a.username then 1 else 0 end), 0) as id_username,
    coalesce(sum(case when r.id = a.sub then 1 else 0 end), 0) as id_sub,
    coalesce(sum(case when r.owner is null then 1 else 0 end), 0) as owner_none,
    coalesce(sum(case when r.owner = a.sub || '::' || a.username then 1 else 0 end), 0) as owner_both,
    coalesce(sum(case when r.owner = a.username then 1 else 0 end), 0) as owner_username,
    coalesce(sum(case when r.owner = a.sub then 1 else 0 end), 0) as owner_sub,
    mode(r.typename) as typename
from {matched}
"""


class Missing(LookupError):
    """The account lacks the attribute of this name."""


@dataclass(frozen=True)
class RowForm:
    """Attributes of a created row as texts with {placeholders} of account attributes."""

    attributes: Mapping[str, str]
    typename: str = "User"
    needs_email: bool = False

    def row(self, account: Mapping[str, str | None]) -> tuple[Item, dict[str, str | None]]:
        """Return the row of an account, and the attributes of the account that it was made from.

        Raises ``Missing`` for an attribute that the account does not have. Times and version fields are left to the
        moment of the write.
        """
        if self.needs_email and not account.get("email"):
            raise Missing("email")
        item: Item = {"__typename": {"S": self.typename}}
        if account.get("email"):
            item["email"] = {"S": str(account["email"])}
        used = {"sub": account.get("sub"), "email": account.get("email")}
        for name, template in self.attributes.items():
            used |= {placeholder: _value(account, placeholder) for placeholder in _PLACEHOLDER.findall(template)}
            item[name] = {"S": _PLACEHOLDER.sub(lambda match: _value(account, match.group(1)), template)}
        return item, used


def taken_over(settings: Settings, account: Mapping[str, str | None], row: Item) -> tuple[Item, dict[str, str | None]]:
    """Return the attributes of a row that the account's values are to replace, and the attributes they come from.

    These are the e-mail where the keys differ, and each configured attribute that is made from the account's. A plain
    text of `[..row]` is for new rows only: an older row may have moved on from it.
    """
    used = {"sub": account.get("sub"), "email": account.get("email")}
    changes: Item = {}
    if account.get("email") and email_key(account["email"]) != email_key(text_of(row, "email")):
        changes["email"] = {"S": str(account["email"])}
    for name, template in settings.row.items():
        placeholders = _PLACEHOLDER.findall(template)
        if name == "id" or not placeholders or not all(account.get(each) for each in placeholders):
            continue
        used |= {each: account[each] for each in placeholders}
        value = _PLACEHOLDER.sub(lambda match: _value(account, match.group(1)), template)
        if text_of(row, name) != value:
            changes[name] = {"S": value}
    return changes, used


def learn(snapshot: "Snapshot", settings: Settings, correlation: str) -> tuple[RowForm, list[str]]:
    """Return the form that at least 99 % of matched rows have, with what is configured on top, and warnings.

    Raises ``Refused`` where the attribute that rows are matched by cannot be filled that way.
    """
    [counted] = snapshot.sql(_COUNTS.format(matched=_MATCHED.get(correlation, _PAIRED))).to_dict("records")
    typename = counted.pop("typename")
    counts = {str(name): int(count) for name, count in counted.items()}
    healthy = counts["healthy"]
    owners = [counts[name] for name in ("owner_none", "owner_both", "owner_username", "owner_sub")]
    owner, is_common = _common(_OWNERS, owners, healthy)
    attributes = {"id": _id(correlation, settings, counts)}
    if owner:
        attributes["owner"] = owner
    warnings = list(_owner_warnings(settings, correlation, owner, not healthy or is_common))
    attributes |= {name: text for name, text in settings.row.items() if name != "id"}
    # Without rows it is not None but pandas' NaN.
    typename = typename if isinstance(typename, str) else "User"
    return RowForm(attributes, typename, needs_email=correlation == "email"), warnings


def _id(correlation: str, settings: Settings, counts: Mapping[str, int]) -> str:
    configured = settings.row.get("id")
    if correlation in ("username", "sub"):
        by_correlation = f"{{{correlation}}}"
        if configured not in (None, by_correlation):
            raise Refused(
                f"There is no plan: rows are matched to accounts by {correlation}, but [environments.{settings.name}."
                f'row] id makes another id. Remove it, or set it to "{by_correlation}".'
            )
        return by_correlation
    learnt, _ = _common(_IDS, [counts["id_username"], counts["id_sub"]], counts["healthy"])
    if configured or learnt:
        return str(configured or learnt)
    raise Refused(
        f"There is no plan: healthy rows show no common form of id. Set [environments.{settings.name}.row] id, "
        'such as "{sub}".'
    )


def _owner_warnings(settings: Settings, correlation: str, owner: str | None, is_clear: bool) -> Iterator[str]:
    if "owner" in settings.row:
        return
    setting = f'[environments.{settings.name}.row] owner, such as "{{sub}}::{{username}}"'
    if correlation == "owner" and owner is None:
        raise Refused(
            f"There is no plan: rows are matched by owner, and healthy rows show no common form. Set {setting}."
        )
    if not is_clear:
        yield f"Healthy rows show no common form of owner, so created rows get none. If they need one, set {setting}."


def _common(forms: tuple[Any, ...], counts: list[int], healthy: int) -> tuple[Any, bool]:
    """Return the first form that nearly all healthy rows have, and whether there is one."""
    for form, count in zip(forms, counts, strict=True):
        if healthy and count >= _COMMON * healthy:
            return form, True
    return None, False


def _value(account: Mapping[str, str | None], name: str) -> str:
    value = account.get(name)
    if not value:
        raise Missing(name)
    return value
