"""What the cards of several pages are made of: badges, masked texts, facts, links, the choice of a period."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lib import charts, display
from lib.model import SITUATIONS
from lib.ui import frame
from lib.views import trends

BADGES = {"slate": "gray", "grey": "gray", "pink": "red"}
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


def masked(email: object) -> str:
    """Return an e-mail as it may leave the server: masked, on one line; empty where there is none."""
    return "" if pd.isna(email) else display.visible(display.mask_email(str(email)) or "")  # type: ignore[call-overload]


def told(text: object) -> str:
    """Return a text from a log as it may leave the server: e-mails masked, on one line; empty where there is none."""
    return "" if pd.isna(text) else display.visible(display.mask_emails(str(text)))  # type: ignore[call-overload]


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
            label, text = st.columns([1, 3], gap="small")
            label.caption(name)
            text.text(display.visible(value))
