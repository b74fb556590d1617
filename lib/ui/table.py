"""The table of findings: one page of lines, several of them chosen by id, one of them opened."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lib import charts, display
from lib.model import CAUSES, SITUATIONS
from lib.ui import cards
from lib.views.lookup import Found

ALL = "all"
"""The situation in the URL that stands for all of them."""

ROW_HEIGHT = 34
_CUT = 120

_STATUSES = {
    "FORCE_CHANGE_PASSWORD": "Invited",
    "RESET_REQUIRED": "Must reset",
    "EXTERNAL_PROVIDER": "Federated",
}


def finding_table(found: Found, *, situation: str | None, key: str, reveal: bool, height: int) -> None:
    """Show one page of lines. What is ticked stands in ``session_state`` by key, what is opened in the URL.

    ``key`` is the page's name: the ticked keys are in ``{key}_chosen``, the opened one is the parameter `account`.
    """
    keys = [str(name) for name in found.lines["key"]]
    chosen = st.session_state.setdefault(f"{key}_chosen", [])
    # Positions mean nothing once the lines change: other lines are another table.
    table_key = f"{key}_table_{digest(keys)}"
    ticked = [position for position, name in enumerate(keys) if name in chosen]
    st.dataframe(
        _shown(found.lines, situation, reveal=reveal),
        column_config=_columns(every=situation is None),
        hide_index=True,
        row_height=ROW_HEIGHT,
        height="content" if ROW_HEIGHT * (len(keys) + 1) < height else height,
        key=table_key,
        on_select=lambda: _select(key, table_key, keys, situation),
        selection_mode=["multi-row", "single-cell"],
        selection_default={"selection": {"rows": ticked}},
        placeholder="",
        alt="Accounts and rows that match, newest first; tick lines to repair them, choose a cell to open its account",
    )


def nothing_found(*, elsewhere: int, searched: bool, height: int, clear: Callable[[], None]) -> None:
    """Say that nothing matches, and offer the way out."""
    with st.container(
        border=True, height=height, horizontal_alignment="center", vertical_alignment="center", gap="small"
    ):
        st.subheader(":material/person_search: No accounts match", anchor=False, width="content")
        if searched and elsewhere:
            others = f"{elsewhere:,} in other situations {'matches' if elsewhere == 1 else 'match'} this search."
            st.caption(others, width="content")
            st.button("Search everywhere", on_click=_everywhere, key="accounts_everywhere")
        else:
            st.caption(
                "Clear the search, or pick another situation. New sign-ups appear here at the next refresh.",
                width="content",
            )
        st.button("Clear filters", on_click=clear, key="accounts_clear")


def cell(text: object, *, reveal: bool) -> str:
    """Return a text as a cell shows it: masked unless revealed, on one line, cut."""
    if text is None or pd.isna(text):  # type: ignore[call-overload]
        return ""
    shown = str(text) if reveal else display.mask_emails(str(text))
    return _harmless(shown)


def email(value: object, *, reveal: bool) -> str:
    """Return an e-mail as a cell shows it; empty where there is none."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return ""
    return _harmless(str(value) if reveal else display.mask_email(str(value)) or "")


def _harmless(text: str) -> str:
    # The grid's own toolbar exports its cells as they are shown.
    return str(display.csv_cell(_cut(display.visible(text))))


def status(line: Any) -> str:
    """Return an account's status in words."""
    if pd.isna(line["status"]):
        return "No account"
    words = _STATUSES.get(line["status"], str(line["status"]).replace("_", " ").capitalize())
    return words if line["enabled"] is not False else f"{words}, disabled"


def _shown(lines: pd.DataFrame, situation: str | None, *, reveal: bool) -> pd.DataFrame:
    records = lines.to_dict("records")
    shown: dict[str, Sequence[Any] | pd.Series[Any]] = {}
    if situation == "drift":
        shown["Account's e-mail"] = [email(line["email"], reveal=reveal) for line in records]
        shown["Row's e-mail"] = [email(line["row_email"], reveal=reveal) for line in records]
    else:
        shown["E-mail"] = [email(_either(line), reveal=reveal) for line in records]
    if situation is None:
        shown["Situation"] = [[SITUATIONS[line["situation"]]] for line in records]
    if situation != "drift":
        shown["Why"] = [_why(line, reveal=reveal) for line in records]
    if situation != "duplicate":
        shown["Status"] = [status(line) if line["situation"] != "duplicate" else "" for line in records]
        shown["Row came" if situation == "orphaned_row" else "Signed up"] = lines["since"]
        shown["Sub"] = [_short(line) for line in records]
    return pd.DataFrame(shown)


def _columns(*, every: bool) -> dict[str, Any]:
    since = st.column_config.DatetimeColumn(format="distance", timezone="UTC", width=95)
    colours = [charts.SITUATION_COLOURS[situation] for situation in SITUATIONS]
    return {
        "E-mail": st.column_config.TextColumn(width=155 if every else 170),
        "Account's e-mail": st.column_config.TextColumn(width=180),
        "Row's e-mail": st.column_config.TextColumn(width=180),
        "Situation": st.column_config.MultiselectColumn(
            options=list(SITUATIONS.values()),
            color=[cards.BADGES.get(colour, colour) for colour in colours],
            width=130,
        ),
        "Why": st.column_config.TextColumn(width=145 if every else "medium"),
        "Status": st.column_config.TextColumn(width=90),
        "Signed up": since,
        "Row came": since,
        "Sub": st.column_config.TextColumn(width=75),
    }


def _everywhere() -> None:
    st.query_params["situation"] = ALL
    for name in ("cause", "page"):
        st.query_params.pop(name, None)


def _select(key: str, table_key: str, keys: Sequence[str], situation: str | None) -> None:
    selection = st.session_state[table_key]["selection"]
    before: list[str] = st.session_state[f"{key}_chosen"]
    ticked = [keys[position] for position in selection["rows"] if position < len(keys)]
    chosen = [name for name in before if name not in keys] + ticked
    st.session_state[f"{key}_chosen"] = chosen
    added = [name for name in chosen if name not in before]
    touched = [keys[position] for position, _ in selection["cells"] if position < len(keys)]
    if added:
        st.query_params.update(situation=situation or ALL, account=added[-1])
    elif set(chosen) == set(before) and touched:
        st.query_params.update(situation=situation or ALL, account=touched[-1])
    elif st.query_params.get("account") in set(before) - set(chosen):
        if chosen:
            st.query_params["account"] = chosen[-1]
        else:
            st.query_params.pop("account", None)


def _why(line: Any, *, reveal: bool) -> str:
    return CAUSES[line["cause"]] if not pd.isna(line["cause"]) else cell(line["reason"], reveal=reveal)


def _either(line: Any) -> object:
    return line["row_email"] if pd.isna(line["email"]) else line["email"]


def _short(line: Any) -> str:
    return cell(line["row_id"] if pd.isna(line["sub"]) else line["sub"], reveal=False)[:8]


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[: _CUT - 1]}…"


def digest(keys: Sequence[str]) -> str:
    """Return a short name for these keys in this order, fit for a widget's key."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
