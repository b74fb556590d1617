"""The buttons above the findings: repair what is ticked, or all that matches; what deletes stands apart."""

from collections.abc import Mapping

from lib.repair.plan import DEFAULT_SITUATIONS
from lib.repair.planner import ACTIONS
from lib.ui import frame, repairs
from lib.ui.filters import Chosen
from lib.views import lookup

_DELETED = "orphaned_row"


def buttons(opened: frame.Opened, chosen: Chosen, ticked: Mapping[str | None, str]) -> None:
    """Show the buttons; ``ticked`` has the situation of each ticked id, None for a duplicate's, which has no repair."""
    ids = {name: situation for name, situation in ticked.items() if name is not None and situation in ACTIONS}
    deleted = [name for name, situation in ids.items() if situation == _DELETED]
    repaired = [name for name in ids if name not in deleted]
    if repaired or not deleted:
        label = _label({ids[name] for name in repaired}, len(repaired))
        repairs.button(opened, label, repaired, key="accounts_repair", primary=True)
    if deleted:
        label = repairs.label(_DELETED, len(deleted))
        repairs.button(opened, label, deleted, key="accounts_delete", primary=not repaired)
    orphaned = [name for name, situation in ids.items() if situation == "orphaned_account"]
    if len(orphaned) > 1:
        label = f"Run the trigger again for {len(orphaned)}…"
        repairs.replay_button(opened, label, orphaned, key="accounts_replay")
    _all(opened, chosen)


def _all(opened: frame.Opened, chosen: Chosen) -> None:
    # Without a situation only what is safe to repair by default: the others are each a choice of their own.
    situations = DEFAULT_SITUATIONS if chosen.situation is None else (chosen.situation,)
    found = lookup.repairable(
        opened.snapshot,
        [each for each in situations if each in ACTIONS],
        situation=chosen.situation,
        cause=chosen.cause,
        search=chosen.search,
    )
    verb = _label(set(situations) & set(ACTIONS), len(found)).partition(" ")[0].rstrip("…")
    label = f"{verb} all {len(found):,} rows…" if found else f"{verb} all…"
    repairs.button(opened, label, found, key="accounts_repair_all")


def _label(situations: set[str], count: int) -> str:
    if len(situations) == 1:
        return repairs.label(next(iter(situations)), count)
    return f"Repair {count:,} rows…" if count else "Repair…"
