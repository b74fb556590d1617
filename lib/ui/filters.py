"""The choice of what Accounts lists: situation, cause and page in the URL, the search in the session only."""

from dataclasses import dataclass

import streamlit as st

from lib import display
from lib.model import CAUSES, SITUATIONS
from lib.ui import frame, revealing
from lib.ui.table import ALL
from lib.views import lookup
from lib.views.trends import BY_WEIGHT, FINDINGS_BY_WEIGHT

PAGE = 50


@dataclass(frozen=True)
class Chosen:
    """What is to be listed; ``situation`` is None for all findings, or with a search for every pair."""

    situation: str | None
    cause: str | None
    search: str
    page: int
    counts: dict[str, int]

    @property
    def matching(self) -> dict[str, str | None]:
        """What ``lib.views.lookup`` wants to know."""
        return {"situation": self.situation, "cause": self.cause, "search": self.search}


def choose(opened: frame.Opened) -> tuple[Chosen, bool]:
    """Show the filters and return what is chosen, and whether e-mails are revealed."""
    search = str(st.session_state.get("accounts_search") or "")
    _unknown_words()
    known = _counts(opened.env.name, opened.snapshot.stamp, opened.mark, "", opened)
    counts = _counts(opened.env.name, opened.snapshot.stamp, opened.mark, search, opened)
    situation = _situation(known, counts, every=bool(search.strip()))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text_input(
            "Search",
            key="accounts_search",
            icon=":material/search:",
            placeholder="E-mail, sub or request id",
            label_visibility="collapsed",
            type="search",
            width=300,
            on_change=_first_page,
        )
        cause = _cause(lookup.causes(opened.snapshot, situation, search=search))
        reveal = revealing.toggle(opened, "accounts")
    return Chosen(situation, cause, search, _page(), counts), reveal


def _unknown_words() -> None:
    """Say which words of the URL choose nothing: a wrong link must not look like a right one."""
    for name, known in (("situation", (ALL, *SITUATIONS)), ("cause", tuple(CAUSES))):
        named = st.query_params.get(name, "")
        if named and named not in known:
            with st.container(horizontal=True, gap="small"):
                st.markdown(":orange[:material/warning:]", width="content")
                st.text(display.safe(f"There is no {name} {named[:40]!r}, so this shows what stands there without it."))


def clear() -> None:
    """Take every filter back."""
    st.session_state["accounts_search"] = ""
    _go(situation=ALL, cause="", page="")


def pager(total: int, shown: int, chosen: Chosen) -> None:
    """Show which lines of how many are shown, and the way to the others."""
    first = chosen.page * PAGE + 1
    words = f"{first:,}\u2013{first + shown - 1:,} of {total:,}" if total > PAGE else f"{total:,} in all"
    st.caption(words if shown else "0 in all", width="content")
    if total > PAGE:
        last = (total - 1) // PAGE
        _turn("Previous page", "chevron_left", chosen.page - 1, disabled=chosen.page == 0)
        _turn("Next page", "chevron_right", chosen.page + 1, disabled=chosen.page >= last)


@st.cache_data(max_entries=32, show_spinner=False)
def _counts(environment: str, stamp: str, mark: int, search: str, _opened: frame.Opened) -> dict[str, int]:
    return lookup.counts(_opened.snapshot, search=search)


def _situation(known: dict[str, int], counts: dict[str, int], *, every: bool) -> str | None:
    # The URL is the truth: a link, the browser's back button and the pills lead to the same view.
    named = st.query_params.get("situation", "")
    worst = next((each for each in FINDINGS_BY_WEIGHT if known.get(each)), ALL)
    if named not in (ALL, *SITUATIONS):
        named = ALL if every or "account" in st.query_params else worst
    st.session_state["accounts_situation"] = named
    total = sum(counts.get(each, 0) for each in (SITUATIONS if every else FINDINGS_BY_WEIGHT))
    words = {ALL: f"{'All' if every else 'All findings'} {total:,}"}
    words |= {each: f"{SITUATIONS[each]} {counts.get(each, 0):,}" for each in BY_WEIGHT}
    st.pills(
        "Situation",
        [ALL, *(each for each in BY_WEIGHT if known.get(each) or each == named)],
        format_func=lambda each: words[each],
        required=True,
        key="accounts_situation",
        label_visibility="collapsed",
        on_change=_turn_to_situation,
    )
    return None if named == ALL else named


def _cause(counts: dict[str, int]) -> str | None:
    named = st.query_params.get("cause", "")
    if named not in CAUSES:
        named = ""
    if not counts and not named:
        return None
    st.session_state["accounts_cause"] = named
    st.selectbox(
        "Cause",
        ["", *(each for each in CAUSES if counts.get(each) or each == named)],
        # No count in it: a label that changes with a repair would come back as the choice.
        format_func=lambda each: CAUSES.get(each, "Any cause"),
        key="accounts_cause",
        label_visibility="collapsed",
        width=220,
        on_change=_turn_to_cause,
    )
    return named or None


def _turn_to_situation() -> None:
    _go(situation=st.session_state["accounts_situation"], cause="", page="", account="")


def _turn_to_cause() -> None:
    _go(cause=st.session_state["accounts_cause"], page="")


def _go(**parameters: str) -> None:
    # In one change: each is a place that the browser's back button stops at.
    known = st.query_params.to_dict() | parameters
    st.query_params.from_dict({name: value for name, value in known.items() if value})


def _first_page() -> None:
    st.query_params.pop("page", None)


def _page() -> int:
    named = st.query_params.get("page", "1")
    return max(0, int(named) - 1) if named.isdecimal() and len(named) < 7 else 0


def _turn(label: str, icon: str, page: int, *, disabled: bool) -> None:
    st.button(
        f":material/{icon}:",
        type="tertiary",
        help=label,
        disabled=disabled,
        key=f"accounts_{icon}",
        on_click=lambda: st.query_params.update(page=str(page + 1)),
    )
