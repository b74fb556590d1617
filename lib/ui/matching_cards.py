"""The parts of the Wiring page about who gets a row: what the trigger covers, how rows are matched, and strangers'."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from lib import display
from lib.model import Wiring
from lib.reconcile.correlation import AHEAD, ENOUGH, WAYS
from lib.ui import cards, frame
from lib.views import coverage
from lib.views.strangers import strangers

_SHOWN_STRANGERS = 20
_SOURCES = {
    "configured": "configured",
    "learnt": "learnt from the last refresh",
    "presumed": "presumed: nothing could be learnt yet",
    "unknown": "not clear: there is no plan until correlation is set",
}
_ALL_SUCH = st.column_config.LinkColumn(
    display_text="Show all",
    help="Every account with the situation and cause of those without a row, also those of other lines",
    alignment="left",
    width=130,
)
_RUNS = {coverage.NONE: "No run seen", coverage.UNKNOWN: "The log does not reach back"}


@st.cache_data(max_entries=8, show_spinner=False)
def _matrix(environment: str, stamp: str, mark: int, _opened: frame.Opened) -> pd.DataFrame:
    return coverage.matrix(_opened.snapshot)


@st.cache_data(max_entries=8, show_spinner=False)
def _strangers(environment: str, stamp: str, mark: int, _opened: frame.Opened) -> pd.DataFrame:
    return strangers(_opened.snapshot, _opened.env.neighbours())


def covered(opened: frame.Opened) -> None:
    """Show how accounts came to be, which trigger source was seen for them, and whether they have their row."""
    counted = _matrix(opened.env.name, opened.snapshot.stamp, opened.mark, opened)
    promise = coverage.PROMISES[opened.snapshot.wiring.trigger]
    st.subheader("What the trigger covers", anchor=False)
    without = ", ".join(coverage.ORIGINS[each].lower() for each in promise.not_covered)
    st.caption(f"It promises a row to {promise.to}. Not covered: {without}.")
    if counted.empty:
        st.caption("There are no accounts yet.")
        return
    shown = pd.DataFrame(
        {
            "Account": counted["origin"].map(coverage.ORIGINS),
            "Trigger source seen": counted["trigger_source"].replace(_RUNS),
            "With row": counted["with_row"],
            "Without row": counted["without_row"],
            "All such findings": [_accounts(line) for line in counted.to_dict("records")],
        }
    )
    st.dataframe(
        shown,
        column_config={"All such findings": _ALL_SUCH},
        hide_index=True,
        row_height=34,
        height="content",
        key="wiring_coverage",
        alt="How accounts came to be, the trigger source seen for them, and how many have a row",
    )


def correlation(wiring: Wiring) -> None:
    """Show by what rows are matched to accounts, and the score of every way."""
    st.subheader("How rows are matched", anchor=False)
    by = WAYS[wiring.correlation] if wiring.correlation else "not known"
    st.caption(f"By {by}, {_SOURCES[wiring.correlation_source]}.")
    if not wiring.correlation_scores:
        st.caption("There are no scores: a side was empty or not read to its end.")
        return
    shown = pd.DataFrame(
        {
            "Way": [WAYS.get(way, way) for way in wiring.correlation_scores],
            "Matches": [round(share, 3) for share in wiring.correlation_scores.values()],
        }
    )
    bar = st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0, color="gray")
    st.dataframe(
        shown,
        column_config={"Matches": bar},
        hide_index=True,
        row_height=34,
        key="wiring_scores",
        alt="The share of the smaller side that each way of matching rows to accounts finds",
    )
    st.caption(
        f"Shares of the smaller side, used unasked from {ENOUGH:.0%} on. Ways less than {100 * AHEAD:g} points apart "
        "are a tie: username comes before sub, owner and e-mail."
    )


def contamination(opened: frame.Opened) -> None:
    """Show the rows that belong to accounts of another environment's pool."""
    found = _strangers(opened.env.name, opened.snapshot.stamp, opened.mark, opened)
    if found.empty:
        return
    with st.container(border=True, gap="xsmall"):
        st.subheader(f"{display.counted(len(found), 'row')} of another pool", anchor=False)
        st.caption("Their ids are accounts of another environment: its trigger writes here too, or data were copied.")
        first = found.head(_SHOWN_STRANGERS)
        shown = pd.DataFrame(
            {
                "Row": [cards.told(row_id) for row_id in first["row_id"]],
                "Environment": first["environment"],
                "Pool": first["pool"],
                "Open": [frame.link("accounts", account=key) for key in first["key"]],
            }
        )
        st.dataframe(
            shown,
            column_config={"Open": st.column_config.LinkColumn(display_text="Row", alignment="left")},
            hide_index=True,
            row_height=34,
            key="wiring_strangers",
            alt="Rows that belong to accounts of another environment's pool",
        )
        if len(found) > len(first):
            st.caption(f"The first {len(first)} of {len(found):,}.")


def _accounts(line: Mapping[Hashable, Any]) -> str:
    """Return the link to findings like the accounts without a row of one line, where these share a situation."""
    if not line["without_row"] or pd.isna(line["situation"]):
        return ""
    cause = {} if pd.isna(line["cause"]) else {"cause": str(line["cause"])}
    return frame.link("accounts", situation=str(line["situation"]), **cause)
