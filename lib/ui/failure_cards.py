"""The parts of the Failures page: groups of failed runs, the runs of one group, one run, and how long runs take."""

import hashlib
import shlex
from typing import Any

import pandas as pd
import streamlit as st

from lib import charts
from lib.ui import cards, frame
from lib.views import failures, trends

COLOURS = {
    "silent": "orange",
    "caught": "orange",
    "error": "red",
    "timeout": "red",
    "oom": "red",
    "exit": "red",
    "init_error": "red",
    "incomplete": "gray",
}
_UNSAID = {"incomplete": "The log ends before the run does"}
STATES = {"new": "New", "ongoing": "Ongoing", "back": "Back again"}


@st.cache_data(max_entries=64, show_spinner=False)
def _groups(environment: str, stamp: str, mark: int, name: str, _opened: frame.Opened) -> pd.DataFrame:
    return failures.groups(_opened.snapshot, trends.period(_opened.snapshot, name))


def groups(opened: frame.Opened, name: str) -> pd.DataFrame:
    """Return ``failures.groups`` of a period, made once per snapshot and state of the journal."""
    return _groups(opened.env.name, str(opened.snapshot.stamp), opened.mark, name, opened)


def summary(found: pd.DataFrame, name: str) -> str:
    """Return one sentence on the failures of a period."""
    words = trends.RANGES[name][0]
    if found.empty:
        return f"No run of the trigger failed in the last {words}."
    events, silent = int(found["events"].sum()), int(found.loc[found["kind"] == "silent", "events"].sum())
    new = int((found["state"] == "new").sum())
    clauses = [f"{events:,} failed runs in {len(found):,} group{'s' if len(found) > 1 else ''}"]
    clauses += [f"{silent:,} in silence"] if silent else []
    clauses += [f"{new:,} group{'s' if new > 1 else ''} new in the last {words}"] if new else []
    return "; ".join(clauses) + "."


def group_table(found: pd.DataFrame, name: str) -> str:
    """Show the groups and return the fingerprint of the chosen one: that of the URL, else the first."""
    ids = list(found["fingerprint"])
    chosen = st.query_params.get("group", "")
    chosen = chosen if chosen in ids else ids[0]
    # Positions mean nothing once the groups change: another order is another table.
    key = f"failures_groups_{_digest(ids)}"
    st.dataframe(
        pd.DataFrame(
            {
                "Kind": [[failures.KINDS[kind]] for kind in found["kind"]],
                "What it said": [
                    _words(message, kind) for message, kind in zip(found["message"], found["kind"], strict=True)
                ],
                "Runs": found["events"],
                "Course": [cards.thinned(course, 30) for course in found["course"]],
                "Accounts hit": found["accounts"],
                "State": [STATES.get(state, "") for state in found["state"]],
                "First seen": found["first_seen"],
                "Last seen": found["last_seen"],
            }
        ),
        column_config={
            "Kind": st.column_config.MultiselectColumn(
                options=list(failures.KINDS.values()), color=list(COLOURS.values()), width=130
            ),
            "What it said": st.column_config.TextColumn(width=380),
            "Course": st.column_config.BarChartColumn(trends.RANGES[name][0], y_min=0, color="gray", width=180),
            "State": st.column_config.TextColumn(help="Against the period before, as far as the log reaches back."),
            "First seen": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
            "Last seen": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
        },
        hide_index=True,
        row_height=38,
        height=38 * min(len(found), 6) + 37,
        key=key,
        on_select=lambda: _choose("group", key, ids),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [ids.index(chosen)]}},
        alt="Failed runs grouped by kind and message, most frequent first; select one to list its runs",
    )
    return chosen


def run_table(found: pd.DataFrame) -> "dict[Any, Any]":
    """Show the runs of one group and return the chosen one: that of the URL, else the latest."""
    # A run that could not start has no request id of its own.
    ids = ["" if pd.isna(request) else str(request) for request in found["request_id"]]
    chosen = st.query_params.get("request", "")
    position = ids.index(chosen) if chosen in ids else 0
    key = f"failures_runs_{_digest(ids)}"
    st.dataframe(
        pd.DataFrame(
            {
                "Started (UTC)": found["started_at"],
                "Request": [request[:8] for request in ids],
                "Duration": found["duration_ms"],
                "Returned": [_returned(outcome) for outcome in found["outcome"]],
                "E-mail": [cards.masked(email) for email in found["email"]],
                "Account": [cards.account_link(sub) for sub in found["sub"]],
            }
        ),
        column_config={
            "Started (UTC)": st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss", timezone="UTC"),
            "Duration": st.column_config.NumberColumn(format="%,.0f ms"),
            "Account": st.column_config.LinkColumn(display_text="Timeline", alignment="left"),
        },
        hide_index=True,
        row_height=34,
        height=34 * min(len(found), 9) + 37,
        key=key,
        on_select=lambda: _choose("request", key, ids),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [position]}},
        alt="Runs of the chosen group, latest first; select one for its facts",
    )
    return found.iloc[position].to_dict()


def run_facts(run: dict[Any, Any]) -> None:
    """Show one run: its request id to copy, what it said, its facts, and the command that prints its log lines."""
    st.code("no request id" if pd.isna(run["request_id"]) else run["request_id"], language=None)
    said = "" if pd.isna(run["said"]) else str(run["said"])
    shown = "\n".join(cards.told(line) for line in said.split("\n"))
    st.code(shown or _words(None, run["kind"]), language=None, wrap_lines=True)
    cards.facts(
        {
            "Started": f"{run['started_at']:%-d %b %Y, %H:%M:%S} UTC",
            "Duration": _duration(run),
            "Memory": None
            if pd.isna(run["max_memory_mb"])
            else f"{run['max_memory_mb']:.0f} of {run['memory_mb']:.0f} MB",
            "Called for": run["trigger_source"],
            "Function": run["function"],
            "Log stream": run["log_stream"],
        }
    )
    if not pd.isna(run["log_group"]) and not pd.isna(run["log_stream"]):
        st.caption("Its log lines, on the command line")
        st.code(_log_command(run), language=None, wrap_lines=True)


def duration_card(opened: frame.Opened, name: str) -> None:
    """Show how long the trigger ran against the 5 s that Cognito waits, cold starts apart."""
    over = trends.period(opened.snapshot, name)
    st.subheader("How long the trigger runs", anchor=False)
    facts = failures.duration_facts(opened.snapshot, over)
    if not facts:
        st.caption("No run with a known duration in this period.")
        return
    chart, table = st.columns([5, 2], gap="small", vertical_alignment="center")
    chart.plotly_chart(
        charts.duration_lines(failures.durations(opened.snapshot, over)),
        key="failures_durations",
        config=cards.PLOT,
        alt="Duration of the trigger's runs: p50, p95, longest and cold starts, against Cognito's limit of 5 s",
    )
    with table:
        st.dataframe(
            pd.DataFrame({_START[start]: _figures(of) for start, of in sorted(facts.items(), reverse=True)}),
            row_height=34,
            alt="Durations of warm runs and of cold starts",
        )
        over_limit = sum(of.over_limit for of in facts.values())
        if over_limit:
            st.caption(f"{over_limit:,} ran over 5 s: Cognito had given up, a late write may still have made the row.")


_START = {"warm": "Warm", "cold": "Cold start"}


def _figures(of: failures.Durations) -> dict[str, str]:
    return {
        "Runs": f"{of.runs:,}",
        "p50": f"{of.p50:,.0f} ms",
        "p95": f"{of.p95:,.0f} ms",
        "Longest": f"{of.longest:,.0f} ms",
        "Over 5 s": f"{of.over_limit:,}",
    }


def _choose(name: str, key: str, ids: list[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        st.query_params[name] = ids[rows[0]]
    else:
        st.query_params.pop(name, None)
    if name == "group":
        st.query_params.pop("request", None)


def _digest(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def _words(said: object, kind: str) -> str:
    return cards.told(said) or _UNSAID.get(kind, failures.KINDS[kind])


def _returned(outcome: str) -> str:
    return "Event returned" if outcome == "completed" else failures.KINDS[outcome]


def _duration(run: dict[Any, Any]) -> str | None:
    if pd.isna(run["duration_ms"]):
        return None
    cold = "" if pd.isna(run["init_ms"]) else f", after a cold start of {run['init_ms']:,.0f} ms"
    return f"{run['duration_ms']:,.0f} ms{cold}"


def _memory(run: dict[Any, Any]) -> str | None:
    if pd.isna(run["max_memory_mb"]) or pd.isna(run["memory_mb"]):
        return None
    return f"{run['max_memory_mb']:.0f} of {run['memory_mb']:.0f} MB"


def _log_command(run: dict[Any, Any]) -> str:
    start = int(run["started_at"].timestamp() * 1000) - 1000
    words = ["aws", "logs", "get-log-events", "--log-group-name", run["log_group"], "--log-stream-name"]
    return shlex.join([*words, run["log_stream"], "--start-time", str(start), "--start-from-head"])
