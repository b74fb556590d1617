"""Whether a plan's steps are what its own snapshot and settings make of them: a file can say what it likes. Pure."""

from typing import TYPE_CHECKING

from lib.config import Settings
from lib.model import Item
from lib.repair import replay
from lib.repair.planner import ACTIONS, keeper
from lib.repair.row_form import Missing, RowForm, learn, taken_over
from lib.repair.step import KEPT_ROW, Step

if TYPE_CHECKING:
    from lib.repair.plan import Plan
    from lib.snapshot import Snapshot


def edited(plan: "Plan", snapshot: "Snapshot", settings: Settings) -> Step | None:
    """Return the first step that would write something else than its action makes of the account, None without one.

    That the account still has these values, and the row is still as before, is for the moment of the write.
    """
    form = None
    if any(step.before is None for step in plan.steps):
        form, _ = learn(snapshot, settings, plan.correlation)
    return next((step for step in plan.steps if not _follows(step, plan, snapshot, settings, form)), None)


def _follows(step: Step, plan: "Plan", snapshot: "Snapshot", settings: Settings, form: RowForm | None) -> bool:
    if step.replays:
        return form is not None and _is_replayed(step, form, snapshot)
    if ACTIONS.get(step.situation) != step.action:
        return False
    if step.before is None:
        return form is not None and _is_created(step, form, plan.versioned)
    if step.before.get("id") != {"S": step.row_id}:
        return False
    if step.action == "delete_row":
        return step.after == _deleted(step.before, plan.versioned) and _is_kept(step, plan, snapshot)
    return bool(step.account) and step.after == _changed(step, step.before, settings)


def _is_created(step: Step, form: RowForm, versioned: bool) -> bool:
    try:
        item, _ = form.row(step.account)
    except Missing:
        return False
    wanted = item | ({"_version": {"N": "1"}} if versioned else {})
    return step.action == "create_row" and step.after == wanted and item["id"] == {"S": step.row_id}


def _is_replayed(step: Step, form: RowForm, snapshot: "Snapshot") -> bool:
    try:
        item, _ = form.row(step.account)
    except Missing:
        return False
    return step.situation == "orphaned_account" and replay.follows(step, item, snapshot)


def _changed(step: Step, before: Item, settings: Settings) -> Item:
    if step.action == "stamp_row":
        return before | {"_version": {"N": "1"}}
    changes, _ = taken_over(settings, step.account, before)
    hidden = ("_deleted", "_ttl") if step.action == "revive_row" else ()
    return {name: value for name, value in before.items() if name not in hidden} | changes


def _deleted(before: Item, versioned: bool) -> Item | None:
    return before | {"_deleted": {"BOOL": True}} if versioned else None


def _is_kept(step: Step, plan: "Plan", snapshot: "Snapshot") -> bool:
    found = keeper(snapshot, plan.correlation, step.before or {})
    if found is None:
        return not step.account
    return step.account.get(KEPT_ROW) == found[1] != step.row_id and step.account_id == found[0]["username"]
