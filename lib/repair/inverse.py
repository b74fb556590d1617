"""What reverses a step that is done: conditional on the row being exactly as the step left it. Pure."""

from dataclasses import replace

from lib.repair.step import Step


def inverse(step: Step) -> Step | None:
    """Return the step that takes back what a step did, None for a stamp: a version is given once."""
    if step.stamps:
        return None
    return replace(
        step,
        action=_action(step),
        before=step.after,
        after=step.before,
        condition="the row is exactly as the run left it" if step.after else "no row has this id",
        reason=f"Undo of step {step.number}: {step.action}.",
        account={},
    )


def _action(step: Step) -> str:
    if step.before is None or step.revives:
        return "delete_row"
    if step.after is None:
        return "create_row"
    return "revive_row" if step.deletes else "update_row"
