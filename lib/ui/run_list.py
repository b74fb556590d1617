"""The runs in the journal, and one of them with its steps."""

from typing import Any

import pandas as pd
import streamlit as st

from lib import display, output
from lib.environment import Environment
from lib.journal import COUNTED
from lib.ui import repairs

_KINDS = {"apply": "Repair", "undo": "Undo"}
_ROW_HEIGHT = 34
_HEIGHT = 560


def table(env: Environment) -> str | None:
    """Show the runs of an environment, newest first, and return the chosen one's id."""
    runs = env.journal.history(env.name)
    if not runs:
        with st.container(border=True, height=_HEIGHT, horizontal_alignment="center", vertical_alignment="center"):
            st.subheader(":material/build: Nothing was repaired yet", anchor=False, width="content")
            st.text("Choose findings under Accounts: every repair made there is listed here.", width="content")
        return None
    ids = [run["run_id"] for run in runs]
    chosen = st.dataframe(
        _shown(runs),
        column_config={
            "Started": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
            "Steps": st.column_config.NumberColumn(width="small"),
        },
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height="content" if len(runs) < _HEIGHT // _ROW_HEIGHT else _HEIGHT,
        on_select="rerun",
        selection_mode="single-row",
        # Positions are what a selection is kept by, so a new run must make a new table.
        key=f"repairs_runs_{len(ids)}",
        alt="Runs, newest first: kind, state, when, by whom, why, and how many steps",
    )
    rows: list[int] = chosen.selection.rows
    return str(ids[rows[0] if rows else 0])


def detail(env: Environment, run_id: str | None) -> None:
    """Show one run: its facts, its steps, and what can be done about it."""
    if run_id is None:
        st.caption("A run's steps appear here.")
        return
    [run] = env.runs(run_id)
    [told] = env.journal.history(env.name, run_id)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(_KINDS[told["kind"]], anchor=False)
        repairs.state_badge(run["state"])
    st.code(run_id, language=None)
    st.text(_facts(told))
    with st.container(horizontal=True):
        # An undo is undone by a new repair: its rows are findings again.
        if run["done"] and told["kind"] != "undo":
            repairs.undo_button(env, run_id, key=f"repairs_undo_{run_id}")
        st.download_button(
            "Export",
            output.to_json(run),
            file_name=f"run-{run_id}.json",
            mime="application/json",
            icon=":material/download:",
            key="repairs_export",
        )
    st.dataframe(
        pd.DataFrame(
            {
                "Outcome": [step["state"] for step in run["steps_detail"]],
                "Action": [step["action"].replace("_", " ") for step in run["steps_detail"]],
                "Row": [display.safe(step["row_id"]) for step in run["steps_detail"]],
                "Said": [display.safe(step["message"] or "") for step in run["steps_detail"]],
            }
        ),
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height="content" if len(run["steps_detail"]) < 9 else _ROW_HEIGHT * 9,
        alt="The steps of this run and what became of each",
    )


def _shown(runs: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Kind": [_KINDS[run["kind"]] for run in runs],
            "State": [run["state"] for run in runs],
            "Started": pd.to_datetime([run["started_at"] for run in runs]),
            "Who": [display.safe(run["who"]) for run in runs],
            "Why": [display.safe(run["why"] or "") for run in runs],
            "Steps": [run["steps"] for run in runs],
            "Outcome": [", ".join(f"{run[state]} {state}" for state in COUNTED if run[state]) for run in runs],
        }
    )


def _facts(run: dict[str, Any]) -> str:
    said = f"{run['who']}, {run['started_at']} to {run['ended_at'] or 'now'}"
    of = f" Undo of run {run['undo_of']}." if run["undo_of"] else ""
    return display.safe(f"{said}.{of} {run['why'] or 'No reason given.'}")
