"""What the cards of several pages are made of: badges, masked texts, facts, links, the choice of a period."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lib import charts, display
from lib.model import SITUATIONS
from lib.ui import frame
from lib.views import trends

BADGES = {"slate": "gray", "grey": "gray", "pink": "red"}
_NAME = 88  # pixels that the longest name of a fact needs
PLOT = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


def range_choice(key: str = "range", default: str = "30d") -> str:
    """Show the choice of the period, kept in the URL, and return its name in ``trends.RANGES``."""
    chosen: str = st.segmented_control(
        "Period",
        list(trends.RANGES),
        default=default,
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen


def badge(situation: str) -> str:
    """Return the Markdown of a situation's badge."""
    colour = charts.SITUATION_COLOURS[situation]
    return f":{BADGES.get(colour, colour)}-badge[{SITUATIONS[situation]}]"


def thinned(course: Sequence[float], most: int) -> list[float]:
    """Return a course with neighbours added up, so that it has no more than so many points."""
    width = -(-len(course) // most)
    return [sum(course[start : start + width]) for start in range(0, len(course), width)]


def told(text: object, *, reveal: bool = False) -> str:
    """Return a text as it may leave the server: masked unless revealed, on one line; empty where there is none."""
    if text is None or pd.isna(text):  # type: ignore[call-overload]
        return ""
    return display.visible(str(text) if reveal else display.mask_emails(str(text)))


def account_link(sub: object) -> str:
    """Return the link to an account's timeline; empty where there is no account."""
    return "" if pd.isna(sub) else frame.link("accounts", account=str(sub))  # type: ignore[call-overload]


def log_was_read(opened: frame.Opened) -> bool:
    """Return whether the snapshot holds the trigger's log; where not, say why and what to do."""
    source = opened.snapshot.manifest["sources"]["invocations"]
    if source["complete"] or source["count"]:
        return True
    arrow = ":material/arrow_forward:"
    with st.container(border=True):
        st.subheader("The trigger's log was not read", anchor=False)
        st.text(display.safe(source["why_not"] or "No log group is known."))
        st.caption("Situations are shown all the same; causes and failures need the log.")
        st.page_link("pages/wiring.py", label="See what is missing", icon=arrow, query_params=frame.with_environment())
    return False


def facts(values: Mapping[str, str | None]) -> None:
    """Show names and values below each other; what is not known is left out. Values are shown as they are."""
    with st.container(gap="xxsmall"):
        for name, value in values.items():
            if value is None or pd.isna(value):
                continue
            # Not columns: on a narrow page they would leave the names no room.
            with st.container(horizontal=True, gap="small"):
                st.caption(name, width=_NAME)
                # In a container of its own it wraps within its line; by itself it would move below the name.
                st.container().text(display.visible(value))
