"""One run, opened: who, when and why, what became of each step, what can be taken back and what tried again."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lib import display
from lib.environment import Environment
from lib.journal import SEALED
from lib.model import ConfigError
from lib.ui import frame, repairs, run_list, twins
from lib.ui.run_filters import KINDS

_ROW_HEIGHT = 34
_LISTED = 500
_ALL = "all"
_WORDS = {"intent": "under way", "planned": "not begun"}


def detail(env: Environment, run_id: str | None) -> None:
    """Show one run: its facts, what can be done about it, and its steps."""
    if run_id is None:
        _middle("No run yet", "The steps of a run appear here.")
        return
    try:
        [run], [told] = env.runs(run_id), env.journal.history(env.name, run_id)
    except ConfigError:
        _middle(
            "There is no such run", "The journal of this environment has no run of this id. Choose one of the list."
        )
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(KINDS.get(told["kind"], told["kind"]), anchor=False)
        repairs.state_badge(run["state"])
    st.code(run_id, language=None)
    _facts(told)
    undone = env.journal.undone_rows(run_id)
    done = [step for step in run["steps_detail"] if step["state"] == "done"]
    _undoable(told, done, undone)
    # Above the steps, though what it says depends on which of them are ticked below.
    bar = st.container(horizontal=True)
    steps = _listed(run["steps_detail"], run_id)
    chosen = _steps(steps, undone, run_id) if run["steps_detail"] else []
    with bar:
        _actions(env, run, told, [step for step in chosen if step["state"] == "done"])
    with st.expander("Chain of the journal", icon=":material/link:"):
        st.caption("Its head after the last record of this run: keep it, and later it shows that nothing was changed.")
        st.code(run["head"] or "This run is older than the chain.", language=None, wrap_lines=True)


def _facts(run: dict[str, Any]) -> None:
    ended = f" to {_time(run['ended_at'])}" if run["ended_at"] else ", not ended"
    st.text(display.safe(f"{run['who']}, {_time(run['started_at'])}{ended} UTC"))
    st.text(display.safe(run["why"] or "No reason given."))
    if run["message"]:
        st.text(display.safe(run["message"]))
    if run["undo_of"]:
        st.markdown(f"Undo of [run {run['undo_of']}]({frame.link('repairs', run=run['undo_of'])})")


def _undoable(run: dict[str, Any], done: Sequence[dict[str, Any]], undone: set[str]) -> None:
    """Say what of a run can be taken back, or why nothing can."""
    back = sum(step["row_id"] in undone for step in done)
    if run["kind"] == "undo":
        said = "An undo is not undone: its rows are findings again, to be repaired anew."
    elif not done:
        said = "It wrote nothing, so there is nothing to undo."
    elif any(step["purged"] for step in done):
        said = "It cannot be undone any more: its images were purged or forgotten, only digests are left."
    elif back:
        said = f"{back:,} of {display.counted(len(done), 'written row')} taken back already."
    else:
        said = f"{display.counted(len(done), 'written row')}: each can be taken back while it is untouched."
    st.caption(said)


def _actions(env: Environment, run: dict[str, Any], told: dict[str, Any], chosen: Sequence[dict[str, Any]]) -> None:
    run_id, reason = run["run_id"], None
    ended = run["state"] not in ("running", "waiting")
    can_undo = ended and run["done"] and told["kind"] != "undo"
    left = ended and run["state"] != "refused" and run["steps"] - run["done"] - run["already"]
    if can_undo or left:
        reason = repairs.refusal(env)
    if can_undo and chosen:
        numbers = [step["number"] for step in chosen]
        if st.button(
            f"Undo {display.counted(len(numbers), 'step')}…",
            icon=":material/undo:",
            disabled=reason is not None,
            help=reason,
            key="repairs_undo_some",
        ):
            repairs.preview(env, lambda: env.undo_plan(run_id, steps=numbers), twin=twins.undo(run_id, sorted(numbers)))
    elif can_undo:
        repairs.undo_button(env, run_id, key=f"repairs_undo_{run_id}")
    if left and st.button(
        f"Try {left:,} again…",
        icon=":material/replay:",
        disabled=reason is not None,
        help=reason or "Plans anew, on the newest snapshot, what this run did not get done.",
        key="repairs_retry",
    ):
        repairs.preview(env, lambda: env.retry_plan(run_id))
    run_list.download(run)


def _listed(steps: list[dict[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """Return the steps with the outcome that is chosen, where there is more than one to choose from."""
    counts = Counter(step["state"] for step in steps)
    if len(counts) < 2:
        return steps
    words = {_ALL: f"All {len(steps):,}"} | {
        state: f"{state.capitalize()} {count:,}" for state, count in counts.items()
    }
    wanted = st.pills(
        "Outcome",
        list(words),
        default=_ALL,
        format_func=lambda each: words[each],
        required=True,
        label_visibility="collapsed",
        key=f"repairs_outcome_{run_id}",
    )
    return steps if wanted == _ALL else [step for step in steps if step["state"] == wanted]


def _steps(steps: list[dict[str, Any]], undone: set[str], run_id: str) -> list[dict[str, Any]]:
    """Show the steps and return those that are ticked."""
    shown = steps[:_LISTED]
    ticked = st.dataframe(
        pd.DataFrame(
            {
                "Step": [step["number"] for step in shown],
                "Outcome": [_outcome(step, undone) for step in shown],
                "Action": [step["action"].replace("_", " ").capitalize() for step in shown],
                "Row": [_row(step["row_id"]) for step in shown],
                "Said": [display.safe(step["message"] or "") for step in shown],
            }
        ),
        column_config={
            "Step": st.column_config.NumberColumn(width=50),
            "Outcome": st.column_config.TextColumn(width=80),
            "Action": st.column_config.TextColumn(width=95),
            "Row": st.column_config.TextColumn(width=110),
            "Said": st.column_config.TextColumn(width=300),
        },
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=_ROW_HEIGHT * min(len(shown), 8) + 37,
        on_select="rerun",
        selection_mode="multi-row",
        # Positions mean nothing once other steps are listed.
        key=f"repairs_steps_{run_id}_{len(shown)}_{shown[0]['number'] if shown else 0}",
        alt="The steps of this run, what became of each, and what was said; tick those to undo",
    )
    if len(steps) > _LISTED:
        st.caption(f"and {len(steps) - _LISTED:,} more; the export has them all")
    rows: list[int] = ticked.selection.rows
    return [shown[row] for row in rows]


def _outcome(step: dict[str, Any], undone: set[str]) -> str:
    if step["state"] == "done" and step["row_id"] in undone:
        return "undone"
    return _WORDS.get(step["state"], str(step["state"]))


def _row(row_id: str) -> str:
    return "forgotten" if row_id.startswith(SEALED) else display.safe(row_id)


def _time(stamp: str) -> str:
    return stamp[:19].replace("T", " ")


def _middle(title: str, text: str) -> None:
    with st.container(height="stretch", horizontal_alignment="center", vertical_alignment="center", gap="xxsmall"):
        st.subheader(title, anchor=False, width="content")
        st.caption(text, width="content", text_alignment="center")
