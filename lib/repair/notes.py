"""What a person should know of a plan before it is carried out: how it is written, and what can be taken back. Pure."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from lib.aws.api_type import ApiType
from lib.repair.step import Step

if TYPE_CHECKING:
    from lib.repair.plan import Plan

UNCERTAIN_HANDLERS = {
    "LAMBDA": "The API resolves conflicts by a Lambda function of its own, which may write something else.",
    None: "It is not known how the API resolves conflicts (appsync:ListResolvers tells).",
}
"""What is said of a conflict handler that Pooltable cannot foresee."""

_HANDLERS = {
    "AUTOMERGE": "AUTOMERGE, which merges a stale version without an error",
    "OPTIMISTIC_CONCURRENCY": "OPTIMISTIC_CONCURRENCY, which refuses a stale version",
}
_STRANGE_TOMBSTONE = (
    "AppSync has no undelete: soft-deleted rows are revived by a direct write to _deleted, _ttl and _version. "
    "AWS warns that changing these fields oneself may cause errors or data loss in the app."
)
_OWN_TOMBSTONE = (
    "AppSync has no undelete: rows that an undo or a delete of Pooltable soft-deleted are revived by a direct write."
)


def of_steps(
    steps: Collection[Step], *, versioned: bool, own_tombstones: Callable[[Collection[str]], Collection[str]]
) -> Iterator[str]:
    """Yield what the actions among the steps mean, whichever the writer."""
    actions = {step.action for step in steps}
    if "revive_row" in actions:
        revived = {step.row_id for step in steps if step.action == "revive_row"}
        yield _OWN_TOMBSTONE if revived <= set(own_tombstones(revived)) else _STRANGE_TOMBSTONE
    if "stamp_row" in actions:
        yield "A stamped row keeps its version: that cannot be undone, and nothing else of the row changes."
    if "delete_row" in actions and versioned:
        yield (
            "Deleted rows stay as tombstones for 30 days, as AppSync leaves them; until then an undo brings them back."
        )
    elif "delete_row" in actions:
        yield "Deleted rows are gone from the table; the journal keeps them whole, and an undo writes them back."


def of_writer(
    plan: "Plan", steps: Collection[Step], *, handler: str | None, known: ApiType | None, asked: bool
) -> Iterator[str]:
    """Yield how the steps are written, and what that way can and cannot promise."""
    if not steps:
        return
    if plan.writer == "dynamodb":
        if plan.versioned:
            yield (
                "A direct write reaches DataStore clients only at their next base sync; AppSync would tell them "
                "at once."
            )
        return
    steps = [step for step in steps if not step.goes_past_the_api]
    if plan.versioned and any(step.action == "create_row" for step in steps):
        yield "Undoing a created row leaves AppSync's tombstone in its place, as the table is versioned."
    if any(step.before is not None for step in steps):
        yield (
            "AppSync can only be asked to hold the fields of its schema: each row is re-read immediately before the "
            "write, and the record that comes back is compared."
        )
    if steps and plan.versioned and handler in _HANDLERS:
        yield f"The API's conflict handler is {_HANDLERS[handler]}; each write holds the old values besides."
    if steps and asked:
        yield _selection(known)


def of_undo(plan: "Plan", stamped: int) -> Iterator[str]:
    """Yield what an undo leaves behind."""
    gone = any(step.after is None for step in plan.steps)
    if gone and plan.versioned and plan.writer == "appsync":
        yield "The table is versioned: AppSync leaves a tombstone in the place of each deleted row."
    elif gone:
        yield (
            "Where a refresh has seen a row that is deleted here, its account is called row_deleted from now on: "
            "repairing it then takes naming it by its id."
        )
    if any(step.goes_past_the_api for step in plan.steps) and plan.writer == "appsync":
        yield "Rows that were deleted are brought back by a direct write to the table: AppSync has no undelete."
    if stamped:
        yield f"{stamped} stamped {'row keeps its' if stamped == 1 else 'rows keep their'} version."
    if not plan.steps and not stamped:
        yield "The run wrote nothing, so there is nothing to undo."


def _selection(known: ApiType | None) -> str:
    if known is None:
        return (
            "The API does not tell its fields (introspection is off, or it did not answer): mutations select the known "
            "ones, and a DataStore client whose type has more takes the change at its next sync only."
        )
    return f"Mutations select every field of the API's type User, so that DataStore clients update: {_listed(known)}."


def _listed(known: ApiType) -> str:
    return ", ".join(known.fields)
