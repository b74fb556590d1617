"""A plan as people read it: text for a terminal, a table for a notebook, each step as a command of the AWS CLI."""

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.aws.rows import plain
from lib.display import mask_emails, visible
from lib.repair.step import EVENT, FUNCTION, Step

if TYPE_CHECKING:
    from lib.repair.plan import Plan

SHOWN = 20
"""So many steps of a plan are shown where a person did not ask for all."""


def text(plan: "Plan", limit: int | None = None) -> str:
    """Return the plan for a person to read, e-mails masked; at most ``limit`` steps of it."""
    return "\n".join(visible(mask_emails(line)) for line in _lines(plan, limit))


def html(plan: "Plan") -> str:
    """Return what a notebook shows: the sentences, and a table of the steps; e-mails masked."""
    head, *_ = _lines(plan, 0)
    steps = [
        {
            "step": step.number,
            "action": step.action,
            "row": mask_emails(step.row_id),
            "after": mask_emails(_image(step.after)),
            "only if": mask_emails(step.condition),
            "why": mask_emails(step.reason),
        }
        for step in plan.steps[:SHOWN]
    ]
    said = "".join(f"<p>{escape(mask_emails(text))}</p>" for text in (head, *plan.warnings, *plan.notes))
    return said + (pd.DataFrame(steps).to_html(index=False) if steps else "")


def aws_cli(plan: "Plan", step: Step) -> str:
    """Return the same write as a command of the AWS CLI, quoted for a POSIX shell."""
    return " ".join(shlex.quote(word) for word in _command(plan, step))


def _lines(plan: "Plan", limit: int | None) -> Iterator[str]:
    kind = f"Undo of run {plan.undo_of}" if plan.undo_of else f"Plan on snapshot {plan.snapshot}"
    replays = any(step.replays for step in plan.steps)
    way = "by running the trigger again" if replays else f"written through {plan.writer}"
    what = "runs of the trigger" if replays else "writes"
    yield f"{kind}: {len(plan.steps)} steps on table {plan.table} of {plan.environment}, {way}"
    for step in plan.steps[:limit]:
        yield f"{step.number:>5} {step.action} {step.row_id} (sub {step.sub or 'unknown'}): {step.reason}"
        yield f"      before     {_image(step.before)}"
        yield f"      after      {_image(step.after)}"
        yield f"      condition  {step.condition}"
    if limit is not None and len(plan.steps) > limit:
        yield f"      ... and {len(plan.steps) - limit} more"
    yield (
        f"Cost: {plan.cost['writes']} {what}, {plan.cost['admin_get_user']} AdminGetUser calls "
        "(AWS may count each of these users as active this month)"
    )
    yield from (f"Note: {note}" for note in plan.notes)


def _image(item: Mapping[str, Any] | None) -> str:
    return json.dumps(plain(dict(item)), default=str, ensure_ascii=False) if item is not None else "no row"


def _command(plan: "Plan", step: Step) -> Iterator[str]:
    if step.replays:
        yield from ("aws", "lambda", "invoke", "--function-name", step.account[FUNCTION] or "", "--region", plan.region)
        yield from ("--cli-binary-format", "raw-in-base64-out", "--payload", step.account[EVENT] or "", "/dev/stdout")
        return
    wanted = step.wanted(step.before, plan.at)
    where = ("--table-name", plan.table, "--region", plan.region)
    if step.before is None:
        yield from ("aws", "dynamodb", "put-item", *where, "--item", json.dumps(wanted))
        yield from ("--condition-expression", "attribute_not_exists(id)")
        return
    verb = "delete-item" if wanted is None else "update-item"
    yield from ("aws", "dynamodb", verb, *where, "--key", json.dumps({"id": step.before["id"]}))
    names = {f"#{place}": name for place, name in enumerate(dict.fromkeys([*step.before, *(wanted or {})]))}
    alias = {name: place for place, name in names.items()}
    values = {f":before{alias[name][1:]}": value for name, value in step.before.items()}
    if wanted is not None:
        changed = [name for name in wanted if wanted[name] != step.before.get(name)]
        values |= {f":after{alias[name][1:]}": wanted[name] for name in changed}
        gone = [alias[name] for name in step.before if name not in wanted]
        sets = "SET " + ", ".join(f"{alias[name]} = :after{alias[name][1:]}" for name in changed)
        yield from ("--update-expression", sets + (f" REMOVE {', '.join(gone)}" if gone else ""))
    held = [f"{alias[name]} = :before{alias[name][1:]}" for name in step.before]
    held += [f"attribute_not_exists({alias[name]})" for name in wanted or {} if name not in step.before]
    yield from ("--condition-expression", " AND ".join(held))
    yield from ("--expression-attribute-names", json.dumps(names))
    yield from ("--expression-attribute-values", json.dumps(values))
