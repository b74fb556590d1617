"""The runs in the journal, as a table of which one is chosen."""

from typing import Any

import pandas as pd
import streamlit as st

from lib import display, output
from lib.environment import Environment
from lib.journal import COUNTED
from lib.ui import choice, jobs, run_filters, twins
from lib.ui.run_filters import KINDS, Chosen

_MOST = 16
_HEIGHT = 560


def table(env: Environment, chosen: Chosen) -> str | None:
    """Show the runs and return the id of the one that the URL names, or else of the newest; None without any."""
    if not chosen.runs:
        _nothing(narrowed=chosen.narrowed)
        return st.query_params.get("run")
    ids = [str(run["run_id"]) for run in chosen.runs]
    named = st.query_params.get("run", ids[0])
    choice.table(
        _shown(chosen.runs),
        {
            "Started": st.column_config.DatetimeColumn(format="distance", timezone="UTC", width=125),
            "Kind": st.column_config.TextColumn(width=70),
            "State": st.column_config.TextColumn(width=95),
            "Outcome": st.column_config.TextColumn(width=150),
            "Steps": st.column_config.NumberColumn(width=60),
            "Why": st.column_config.TextColumn(width=180),
        },
        ids,
        named,
        name="run",
        alt="Runs, newest first: kind, state, when, what came of the steps, why, and by whom",
        most=_MOST,
    )
    return named


def settled(env: Environment) -> None:
    """Say what came of settling, when this server began, what earlier runs had left open; nothing where none had."""
    said = jobs.settled(env)
    if said == jobs.SETTLING:
        _settling(env.name, env)
    elif said:
        st.caption(f":material/history: {said}")


@st.fragment(run_every=1)
def _settling(_environment: str, env: Environment) -> None:
    st.caption(f":material/hourglass_empty: {jobs.SETTLING}")
    if jobs.settled(env) != jobs.SETTLING:
        st.rerun()


def export(env: Environment) -> None:
    """Show the button that gives the whole audit, and the commands that give and check it."""
    with st.popover("Export audit", icon=":material/download:"):
        file = f"pooltable-{env.name}-audit.jsonl"
        st.download_button(
            "JSON lines, e-mails masked",
            data=lambda: "".join(env.journal.audit(env.name)),
            file_name=file,
            mime="application/jsonl",
            icon=":material/receipt_long:",
            on_click="ignore",
            width="stretch",
            key="repairs_audit",
        )
        st.caption("Every run, step and decision, and the hash chain that binds them. Its head now:")
        st.code(env.journal.head() or "none yet", language=None, wrap_lines=True)
        st.caption("Same on the command line, and whether the chain holds")
        st.code(twins.audit(file), "bash", wrap_lines=True)


def download(run: dict[str, Any]) -> None:
    """Show the button that gives one run with its steps."""
    st.download_button(
        "Export",
        output.to_json(run),
        file_name=f"run-{run['run_id']}.json",
        mime="application/json",
        icon=":material/download:",
        on_click="ignore",
        key="repairs_export",
    )


def _nothing(*, narrowed: bool) -> None:
    with st.container(border=True, height=_HEIGHT, horizontal_alignment="center", vertical_alignment="center"):
        if narrowed:
            st.subheader(":material/filter_alt_off: No run is like this", anchor=False, width="content")
            st.button("Clear the filters", on_click=run_filters.clear, key="repairs_clear")
        else:
            st.subheader(":material/build: Nothing was repaired yet", anchor=False, width="content")
            st.text("Choose findings under Accounts: every repair made there is listed here.", width="content")


def _shown(runs: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Started": pd.to_datetime([run["started_at"] for run in runs]),
            "Kind": [KINDS.get(run["kind"], run["kind"]) for run in runs],
            "State": [run["state"].capitalize() for run in runs],
            "Outcome": [", ".join(f"{run[state]} {state}" for state in COUNTED if run[state]) for run in runs],
            "Steps": [run["steps"] for run in runs],
            "Why": [display.safe(run["why"] or "") for run in runs],
            "Who": [display.safe(run["who"]) for run in runs],
        }
    )
