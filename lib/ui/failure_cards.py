"""The cards of the Failures page: groups of failed runs, how long runs take, and what all of it rests on."""

import pandas as pd
import streamlit as st

from lib import charts
from lib.ui import cards, choice, failed_runs, frame, table
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
STATES = {"new": "New", "ongoing": "Ongoing", "regressed": "Regressed"}


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


def group_table(found: pd.DataFrame, name: str, chosen: str | None) -> None:
    """Show the groups; a click opens one, by its fingerprint in the URL."""
    choice.table(
        pd.DataFrame(
            {
                "Kind": [[failures.KINDS[kind]] for kind in found["kind"]],
                "What it said": [
                    table.cell(message, reveal=False) or failed_runs.unsaid(kind)
                    for message, kind in zip(found["message"], found["kind"], strict=True)
                ],
                "Runs": found["events"],
                "Course": [cards.thinned(course, 30) for course in found["course"]],
                "Accounts hit": found["accounts"],
                "State": [STATES.get(state, "") for state in found["state"]],
                "First seen": found["first_seen"],
                "Last seen": found["last_seen"],
            }
        ),
        {
            "Kind": st.column_config.MultiselectColumn(
                options=list(failures.KINDS.values()), color=list(COLOURS.values()), width=130
            ),
            "What it said": st.column_config.TextColumn(width=380),
            "Course": st.column_config.BarChartColumn(trends.RANGES[name][0], y_min=0, color="gray", width=180),
            "State": st.column_config.TextColumn(
                help="New in this period, ongoing since the one before, or regressed after a pause; "
                "empty where the log does not reach back so far."
            ),
            "First seen": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
            "Last seen": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
        },
        list(found["fingerprint"]),
        chosen,
        name="group",
        alt="Failed runs grouped by kind and message, most frequent first; select one to list its sign-ups and runs",
        most=6,
        row_height=38,
        drops=("request",),
    )


def duration_card(opened: frame.Opened, name: str) -> None:
    """Show how long the trigger ran against the 5 s that Cognito waits, cold starts apart."""
    over = trends.period(opened.snapshot, name)
    st.subheader("How long the trigger runs", anchor=False)
    facts = failures.duration_facts(opened.snapshot, over)
    if not facts:
        st.caption("No run with a known duration in this period.")
        return
    chart, figures = st.columns([5, 2], gap="small", vertical_alignment="center")
    chart.plotly_chart(
        charts.duration_lines(failures.durations(opened.snapshot, over)),
        key="failures_durations",
        config=cards.PLOT,
        alt="Duration of the trigger's runs: p50, p95, longest and cold starts, against Cognito's limit of 5 s",
    )
    with figures:
        st.dataframe(
            pd.DataFrame({_START[start]: _figures(of) for start, of in sorted(facts.items(), reverse=True)}),
            row_height=34,
            alt="Durations of warm runs and of cold starts",
        )
        over_limit = sum(of.over_limit for of in facts.values())
        if over_limit:
            st.caption(f"{over_limit:,} ran over 5 s: Cognito had given up, a late write may still have made the row.")


def _suspicious(reach: failures.Evidence) -> str:
    within = f"{reach.suspicious:,} lines in {reach.suspicious_runs:,} runs" if reach.suspicious else ""
    outside = f"{reach.suspicious_outside:,} lines in no run" if reach.suspicious_outside else ""
    return ", ".join(filter(None, (within, outside))) or "none"


def evidence_card(opened: frame.Opened) -> None:
    """Show how far back the log proves anything, how long it is kept, and which runs have suspicious lines."""
    reach = failures.evidence(opened.snapshot)
    st.subheader("What this rests on", anchor=False)
    since = opened.snapshot.wiring.log_from
    cards.facts(
        {
            "Runs read": f"{reach.runs:,}",
            "Oldest event": None if reach.oldest is None else f"{reach.oldest:%-d %b %Y, %H:%M} UTC",
            "Read from": None if since is None else f"{since:%-d %b %Y, %H:%M} UTC, without a gap",
            "Kept for": f"{reach.retention_days:,} days"
            if reach.retention_days
            else "ever: the group has no retention",
            "Proves": "nothing: it was not read to its end"
            if reach.proven_from is None
            else f"what the trigger did since {reach.proven_from:%-d %b %Y, %H:%M} UTC",
            "Suspicious": _suspicious(reach),
        }
    )
    if reach.suspicious or reach.suspicious_outside:
        st.caption("A suspicious line names another run, or comes twice, where only one run could write.")
        with st.container(horizontal=True, gap="small"):
            for request_id, lines in reach.examples:
                st.page_link(
                    "pages/failures.py",
                    label=f"{request_id[:8]} ({lines})",
                    icon=":material/warning:",
                    query_params=frame.with_environment(request=request_id),
                )


_START = {"warm": "Warm", "cold": "Cold start"}


def _figures(of: failures.Durations) -> dict[str, str]:
    return {
        "Runs": f"{of.runs:,}",
        "p50": f"{of.p50:,.0f} ms",
        "p95": f"{of.p95:,.0f} ms",
        "Longest": f"{of.longest:,.0f} ms",
        "Over 5 s": f"{of.over_limit:,}",
    }
