"""Findings turned into steps: what each action writes, and why a finding is left out. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lib.aws.api_type import ApiType
from lib.config import Settings
from lib.display import mask_emails
from lib.model import SITUATIONS, Item, email_key
from lib.repair.row_form import Missing, RowForm, learn, taken_over
from lib.repair.step import KEPT_ROW, Step, facts, text_of, typed_item, version_of

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

ACTIONS = {
    "orphaned_account": "create_row",
    "drift": "update_row",
    "tombstone": "revive_row",
    "unversioned_row": "stamp_row",
    "orphaned_row": "delete_row",
}
"""What repairs each situation, in the order of a plan's steps. The last three are planned only when they are named."""

_UNVERIFIED = "the account's new e-mail is not verified (a way to take over a row); name it by id to plan it"

Finding = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What the steps of a plan depend on besides the findings."""

    writer: str
    versioned: bool
    correlation: str
    known: ApiType | None = None


class Planner:
    """Turns findings into steps; what cannot be one becomes a warning. ``named`` are the ids that a person gave."""

    def __init__(
        self, snapshot: "Snapshot", settings: Settings, terms: Terms, findings: list[Finding], named: Collection[str]
    ) -> None:
        self.warnings: list[str] = []
        self._snapshot = snapshot
        self._settings = settings
        self._terms = terms
        self._findings = findings
        self._named = set(named)
        self._accounts = records_by(snapshot, "accounts", "username", [each["account_id"] for each in findings])
        self._rows = records_by(snapshot, "rows", "id", [each["row_id"] for each in findings])
        self._form: RowForm | None = None
        if any(each["situation"] == "orphaned_account" for each in findings):
            self._form, learnt = learn(snapshot, settings, terms.correlation)
            self.warnings += learnt

    def steps(self) -> tuple[Step, ...]:
        """Return the steps, numbered from 1."""
        makers: dict[str, Callable[[Finding], Step | None]] = {
            "orphaned_account": self._create,
            "drift": self._update,
            "tombstone": self._revive,
            "unversioned_row": self._stamp,
            "orphaned_row": self._delete,
        }
        made = [step for finding in self._offered() if (step := makers[finding["situation"]](finding))]
        return tuple(replace(step, number=number) for number, step in enumerate(made, start=1))

    def _offered(self) -> Iterator[Finding]:
        left_out: dict[str, int] = {}
        for finding in self._findings:
            reason = self._why_not(finding)
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
            else:
                yield finding
        self.warnings += [f"{count} left out: {reason}." for reason, count in left_out.items()]

    def _why_not(self, finding: Finding) -> str | None:
        situation = finding["situation"]
        if situation not in ACTIONS:
            return f"{SITUATIONS[situation].lower()} is for a person to judge; nothing repairs it"
        if situation == "unversioned_row" and self._terms.writer == "appsync" and "_version" in self._item(finding):
            return 'its _version is no number, which AppSync cannot mend; writer = "dynamodb" can'
        if not self._named.isdisjoint((finding["account_id"], finding["sub"], finding["row_id"])):
            return None
        if finding["cause"] == "row_deleted":
            return "the row was there and was deleted, which somebody may have meant; name the account by id to plan it"
        if situation in ("drift", "tombstone") and not self._accounts[finding["account_id"]]["email_verified"]:
            return _UNVERIFIED if "email" in self._taken_over(finding)[0] else None
        return None

    def _warn_of_takeover(self, finding: Finding, changes: Item) -> None:
        if "email" in changes and not self._accounts[finding["account_id"]]["email_verified"]:
            self.warnings.append(
                f"The new e-mail of account {_name(finding)} is not verified: whoever typed it takes over the row. "
                "Make sure whose it is."
            )

    def _create(self, finding: Finding) -> Step | None:
        assert self._form is not None
        try:
            item, used = self._form.row(facts(self._accounts[finding["account_id"]]))
        except Missing as missing:
            self.warnings.append(f"Account {_name(finding)} is left out: it has no {missing}, which its row needs.")
            return None
        unfilled = [name for name in (self._terms.known.required if self._terms.known else ()) if name not in item]
        if unfilled:
            self.warnings.append(
                f"Account {_name(finding)} is left out: the API's type User requires {', '.join(unfilled)}. "
                f"Set it in [environments.{self._settings.name}.row]."
            )
            return None
        if self._terms.versioned:
            item["_version"] = {"N": "1"}
        condition = "no row has this id (attribute_not_exists(id))"
        return self._step(finding, item["id"]["S"], None, item, condition, used)

    def _update(self, finding: Finding) -> Step:
        before = self._item(finding)
        changes, used = self._taken_over(finding)
        self._warn_of_takeover(finding, changes)
        return self._step(finding, finding["row_id"], before, before | changes, self._unchanged(before), used)

    def _revive(self, finding: Finding) -> Step:
        before = self._item(finding)
        changes, used = self._taken_over(finding)
        self._warn_of_takeover(finding, changes)
        after = {name: value for name, value in before.items() if name not in ("_deleted", "_ttl")} | changes
        return self._step(finding, finding["row_id"], before, after, "every attribute is as it was read", used)

    def _stamp(self, finding: Finding) -> Step:
        before = self._item(finding)
        after = before | {"_version": {"N": "1"}}
        held = "email is as it was read" if self._terms.writer == "appsync" else "every attribute is as it was read"
        used = {"sub": finding["sub"]}
        return self._step(finding, finding["row_id"], before, after, f"{held}, and the row has no _version", used)

    def _delete(self, finding: Finding) -> Step:
        before = self._item(finding)
        after = before | {"_deleted": {"BOOL": True}} if self._terms.versioned else None
        held = keeper(self._snapshot, self._terms.correlation, before)
        if held is None:
            condition = f"no account has this row, and {self._unchanged(before)}"
            return self._step(finding, finding["row_id"], before, after, condition, {})
        account, kept = held
        condition = f"its account has another row ({kept}), and {self._unchanged(before)}"
        used = {"sub": account["sub"], "email": account["email"], KEPT_ROW: kept}
        named = finding | {"account_id": account["username"], "sub": account["sub"]}
        return self._step(named, finding["row_id"], before, after, condition, used)

    def _step(
        self,
        finding: Finding,
        row_id: str,
        before: Item | None,
        after: Item | None,
        condition: str,
        used: Mapping[str, str | None],
    ) -> Step:
        return Step(
            number=0,
            action=ACTIONS[finding["situation"]],
            situation=finding["situation"],
            account_id=finding["account_id"],
            sub=finding["sub"],
            row_id=row_id,
            before=before,
            after=after,
            condition=condition,
            reason=finding["reason"] or "",
            account=dict(used),
        )

    def _item(self, finding: Finding) -> Item:
        return typed_item(self._rows[finding["row_id"]]["item"])

    def _taken_over(self, finding: Finding) -> tuple[Item, dict[str, str | None]]:
        return taken_over(self._settings, facts(self._accounts[finding["account_id"]]), self._item(finding))

    def _unchanged(self, before: Item) -> str:
        if self._terms.writer == "dynamodb":
            return "every attribute is as it was read"
        held = "email is as it was read"
        return f"_version = {version_of(before)} and {held}" if self._terms.versioned else held


def keeper(snapshot: "Snapshot", correlation: str, row: Item) -> tuple[Mapping[str, Any], str] | None:
    """Return the account that a further row belongs to and the row it has, None for a row without an account."""
    accounts, pairs = snapshot.table("accounts"), snapshot.table("pairs")
    if correlation == "email":
        held = among(accounts["email_key"], [email_key(text_of(row, "email")) or ""])
    elif correlation == "owner":
        owner = text_of(row, "owner") or ""
        held = among(accounts["username"], [owner, owner.partition("::")[2]])
    else:
        return None
    for account in accounts.filter(held).to_pylist():
        [kept, *_] = pairs.filter(among(pairs["account_id"], [account["username"]]))["row_id"].to_pylist() or [None]
        if kept is not None:
            return account, kept
    return None


def records_by(snapshot: "Snapshot", table: str, key: str, ids: Iterable[str | None]) -> dict[str, dict[str, Any]]:
    """Return the records of a table with these keys."""
    wanted = [id for id in ids if id is not None]
    if not wanted:
        return {}
    records = snapshot.table(table)
    return {record[key]: record for record in records.filter(among(records[key], wanted)).to_pylist()}


def among(column: pa.ChunkedArray, values: Iterable[str]) -> pa.ChunkedArray:
    """Return where a column has one of the values."""
    return pc.fill_null(pc.is_in(column, value_set=pa.array(list(values), pa.string())), False)


def _name(finding: Mapping[str, Any]) -> str:
    return mask_emails(finding["sub"] or finding["account_id"])
