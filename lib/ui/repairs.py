"""Repairs on the pages: the preview that is confirmed, the run under way, what came of it, and its undo."""

import json
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from lib import display
from lib.environment import Environment
from lib.journal import COUNTED
from lib.model import Item, PooltableError
from lib.repair import Run
from lib.repair.plan import Plan, Step
from lib.repair.planner import ACTIONS
from lib.ui import frame, jobs, twins

_SHOWN = 100
_VERBS = {
    "create_row": "Create",
    "update_row": "Update",
    "revive_row": "Revive",
    "stamp_row": "Stamp",
    "delete_row": "Delete",
    "replay": "Run the trigger for",
}
_DONE = {
    "create_row": "created",
    "update_row": "updated",
    "revive_row": "revived",
    "stamp_row": "stamped",
    "delete_row": "deleted",
    "replay": "written by the trigger",
}
_STATES = {
    "done": (":material/check_circle:", "green"),
    "partial": (":material/error:", "orange"),
    "cancelled": (":material/cancel:", "gray"),
    "interrupted": (":material/pause_circle:", "orange"),
    "refused": (":material/block:", "red"),
    "waiting": (":material/hourglass_empty:", "orange"),
    "running": (":material/play_circle:", "blue"),
}


def refusal(env: Environment) -> str | None:
    """Return why the pages may not repair here, None where they may: a setting, or the permission that is missing."""
    reason = env.read_only(without_login=True)
    if reason:
        return reason
    right = env.write_right()
    return right.why if right.may is False else None


def label(situation: str, count: int | None = None) -> str:
    """Return what a button says that repairs so many findings of one situation, or the one that is open."""
    which = "this row" if count is None else display.counted(count, "row")
    return f"{_VERBS[ACTIONS[situation]]} {which}…"


def button(
    opened: frame.Opened, label: str, ids: Sequence[str], *, key: str, primary: bool = False, wait: str | None = None
) -> None:
    """Show the button that opens the preview of repairing these accounts; it says why where it may not or must wait."""
    reason = (refusal(opened.env) or wait) if ids else None
    if st.button(
        label,
        icon=":material/build:",
        type="primary" if primary and ids and not reason else "secondary",
        disabled=not ids or reason is not None,
        help=reason,
        key=key,
    ):
        preview(opened.env, lambda: opened.env.plan(ids=list(ids)))


def replay_button(opened: frame.Opened, label: str, ids: Sequence[str], *, key: str) -> None:
    """Show, quietly, the button that opens the preview of running the trigger again for these orphaned accounts."""
    reason = refusal(opened.env)
    if st.button(label, icon=":material/replay:", type="tertiary", disabled=reason is not None, help=reason, key=key):
        preview(opened.env, lambda: opened.env.replay_plan(ids=list(ids)))


def undo_button(env: Environment, run_id: str, *, key: str) -> None:
    """Show the button that opens the preview of a run's undo."""
    reason = refusal(env)
    if st.button("Undo…", icon=":material/undo:", disabled=reason is not None, help=reason, key=key):
        preview(env, lambda: env.undo_plan(run_id))


def status(opened: frame.Opened) -> None:
    """Show the run under way, or what came of the last one until it is dismissed; nothing when there is none."""
    env = opened.env
    job = jobs.current(env)
    if job is None:
        return
    if job.mark > opened.mark:
        # It ended while this page was made: what the page would show was true before.
        st.rerun()
    if not job.ended:
        _progress(env.name, job)
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if job.run is None:
            st.text(display.safe(broken_off(job)), width="stretch")
        else:
            icon, colour = _STATES[job.run.state]
            with st.container(gap=None):
                st.markdown(f":{colour}[{icon}] {said(job.plan, job.run)}")
                if job.run.message:
                    st.text(display.safe(job.run.message))
            if job.run.record["done"] and not job.plan.undo_of:
                undo_button(env, job.run.run_id, key="repairs_undo_last")
        if st.button("Dismiss", key="repairs_dismiss"):
            jobs.dismiss(env)
            st.rerun()


def state_badge(state: str) -> None:
    """Show the state of a run."""
    icon, colour = _STATES[state]
    st.badge(state.capitalize(), icon=icon, color=colour)  # type: ignore[arg-type]  # one of its colours


def images(step: Step) -> str:
    """Return what a step changes in one line, e-mails masked: `email: a → b`, or the row that is made or gone."""
    if step.before is None or step.after is None or step.deletes:
        return _image(step.before or step.after)
    before, after = step.before, step.after
    names = ["_version"] if step.stamps else step.changes()
    changes = (f"{name}: {_value(before, name)} → {_value(after, name)}" for name in names)
    return display.safe(", ".join(changes))


def _so_far(job: jobs.Job) -> str:
    return f"{job.settled} of {len(job.plan.steps)} steps · run {job.run_id}" if job.run_id else "Beginning"


def broken_off(job: jobs.Job) -> str:
    """Return why a job has no run: one that had begun may have written, one that had not has not."""
    begun = f"Run {job.run_id} was broken off. " if job.run_id else "Nothing was written. "
    return begun + (job.error or "")


@st.fragment(run_every=0.5)
def _progress(_environment: str, job: jobs.Job) -> None:
    total = len(job.plan.steps)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.progress(job.settled / total if total else 0.0, text=_so_far(job))
        if st.button("Cancel", disabled=job.cancelled.is_set(), key="repairs_cancel"):
            job.cancelled.set()
    if job.ended:
        st.rerun()


def preview(env: Environment, planned: Callable[[], Plan], *, twin: str | None = None) -> None:
    """Open the preview of a plan, made now; ``twin`` is its command where the plan itself does not tell."""
    try:
        plan = planned()
    except PooltableError as error:
        _refusal(str(error))
        return
    _confirm(env, plan, twin)


@st.dialog("Nothing can be repaired now", icon=":material/block:")
def _refusal(reason: str) -> None:
    st.text(display.safe(reason))


@st.dialog("Preview", width="large", icon=":material/build:")
def _confirm(env: Environment, plan: Plan, twin: str | None) -> None:
    """Show what a plan would write and under which condition; carry it out when it is confirmed."""
    steps = plan.steps
    st.markdown(f"**{_label(steps)}** in `{plan.table}`, {_way(plan)}.")
    for warning in plan.warnings:
        with st.container(horizontal=True, gap="small"):
            st.markdown(":orange[:material/warning:]", width="content")
            st.text(display.safe(warning))
    # One text, not a paragraph each: the steps should be seen without scrolling.
    said = [display.safe(note) for note in plan.notes] + ([_cost(plan)] if steps else [])
    if said:
        st.text("\n".join(said))
    if not steps:
        return
    _steps_table(steps)
    _twins(plan, twin)
    why = st.text_input("Why (kept in the journal)", key="repairs_why", placeholder="Optional")
    typed = _typed(plan)
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="repairs_close"):
            st.rerun()
        go = st.button(_label(steps), type="primary", disabled=typed is False, key="repairs_go")
    if go:
        with st.spinner("Beginning"):
            job = jobs.start(env, plan, why=why or None, release=len(steps) if plan.over_threshold else None)
        if job.error is None:
            st.rerun()
        st.markdown(":red[:material/error:] **The repair did not go through.**")
        st.text(display.safe(broken_off(job)))


def _way(plan: Plan) -> str:
    if any(step.replays for step in plan.steps):
        return "by the trigger itself, with all else that it does"
    past = all(step.goes_past_the_api for step in plan.steps) and bool(plan.steps)
    return f"through {_WRITERS['dynamodb' if past else plan.writer]}. Nothing else changes"


def _cost(plan: Plan) -> str:
    """Return what a plan costs; AWS may count each account that is asked for as active this month."""
    writes, asked = plan.cost["writes"], plan.cost["admin_get_user"]
    users = f" and {display.counted(asked, 'AdminGetUser call')} (AWS may count each user as active this month)"
    what = "run" if any(step.replays for step in plan.steps) else "conditional write"
    return f"Cost: {display.counted(writes, what)}{users if asked else ''}."


_WRITERS = {"appsync": "the app's AppSync API", "dynamodb": "DynamoDB directly"}


def _steps_table(steps: Sequence[Step]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Action": [f"{_VERBS[step.action]} row" for step in steps[:_SHOWN]],
                "Sub": [(step.sub or "")[:8] for step in steps[:_SHOWN]],
                "What changes": [images(step) for step in steps[:_SHOWN]],
                "Only if": [display.mask_emails(step.condition) for step in steps[:_SHOWN]],
            }
        ),
        hide_index=True,
        row_height=34,
        height="content" if len(steps) < 9 else 34 * 9,
        alt="The steps of the plan: what each writes, and the condition under which it does",
    )
    if len(steps) > _SHOWN:
        st.caption(f"and {len(steps) - _SHOWN} more")


def _twins(plan: Plan, twin: str | None) -> None:
    with st.expander("Same on the command line", icon=":material/terminal:"):
        named = (step.sub or step.row_id for step in plan.steps)
        replays = any(step.replays for step in plan.steps)
        same = twins.undo(plan.undo_of) if plan.undo_of else twins.repair(plan.environment, named, replays=replays)
        st.code(twin or same, language="bash")
        st.caption("The first step as an AWS CLI command, e-mails masked:")
        st.code(display.mask_emails(plan.aws_cli(plan.steps[0])), language="bash", wrap_lines=True)


def _typed(plan: Plan) -> bool | None:
    """Ask for the count where it must be typed; return whether it was, None where a click is enough."""
    count = len(plan.steps)
    if not plan.must_be_typed:
        return None
    return st.text_input(f"Type {count} to confirm", key="repairs_typed").strip() == str(count)


def _label(steps: Sequence[Step]) -> str:
    actions = {step.action for step in steps}
    verb = _VERBS[actions.pop()] if len(actions) == 1 else "Repair"
    return f"{verb} {len(steps)} {_rows(len(steps))}"


def said(plan: Plan, run: Run) -> str:
    """Return what came of a run in one sentence; only what was written and read back is called confirmed."""
    record, steps = run.record, {step.number: step.action for step in plan.steps}
    done = Counter(steps[outcome.number] for outcome in run.outcomes if outcome.state == "done")
    counts = [f"{count} {_rows(count)} {_DONE[action]}" for action, count in done.items()]
    counts += [f"{record[state]} {state}" for state in COUNTED if state != "done" and record[state]]
    confirmed = "Confirmed by reading back, run" if record["done"] and not record["unknown"] else "Run"
    return f"{', '.join(counts) or 'Nothing was written'}. {confirmed} `{run.run_id}`."


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _image(item: Item | None) -> str:
    shown = {name: next(iter(value.values())) for name, value in (item or {}).items() if not name.startswith("_")}
    return display.safe(json.dumps(shown, ensure_ascii=False))


def _value(item: Item, name: str) -> str:
    return str(next(iter(item[name].values()))) if name in item else "nothing"
