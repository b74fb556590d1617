"""The choice of which runs Repairs lists: state, kind, who, action and page, all in the URL."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from lib import display
from lib.environment import Environment
from lib.ui import choice
from lib.ui.table import digest

PAGE = 50

KINDS = {"apply": "Repair", "undo": "Undo"}
_ANY = {"state": "Any state", "kind": "Any kind", "who": "Anybody", "action": "Any action"}


@dataclass(frozen=True)
class Chosen:
    """The runs of one page, newest first, and how many there are in all; ``narrowed`` where a filter is set."""

    runs: list[dict[str, Any]]
    total: int
    page: int
    narrowed: bool


def choose(env: Environment) -> Chosen:
    """Show the filters and return what is listed."""
    named = {name: st.query_params[name] for name in _ANY if name in st.query_params}
    _, known = env.journal.choices(env.name, {})
    # Who it was may be an e-mail, which no URL may hold.
    people = {digest([who]): who for who in known["who"]}
    chosen = {name: people.get(value, value) if name == "who" else value for name, value in named.items()}
    total, _ = env.journal.choices(env.name, chosen)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name in _ANY:
            options = list(people) if name == "who" else known[name]
            _select(name, options, {**people, **KINDS}, named.get(name, ""))
        _pager(total)
    runs = env.journal.history(env.name, chosen=chosen, limit=PAGE, offset=_page() * PAGE)
    return Chosen(runs, total, _page(), bool(chosen))


def clear() -> None:
    """Take every filter back."""
    choice.go(**dict.fromkeys((*_ANY, "page")))


def _select(name: str, options: list[str], words: dict[str, str], chosen: str) -> None:
    # The URL is the truth: a link, the browser's back button and the boxes lead to the same view.
    st.session_state[f"repairs_{name}"] = chosen
    st.selectbox(
        _ANY[name],
        ["", *dict.fromkeys([*options, *filter(None, [chosen])])],
        format_func=lambda each: display.safe(words.get(each, each.replace("_", " ").capitalize())) or _ANY[name],
        key=f"repairs_{name}",
        label_visibility="collapsed",
        width=170,
        on_change=_turn_to,
        args=(name,),
    )


def _turn_to(name: str) -> None:
    choice.go(**{name: st.session_state[f"repairs_{name}"] or None}, page=None, run=None)


def _page() -> int:
    named = st.query_params.get("page", "1")
    return max(0, int(named) - 1) if named.isdecimal() and len(named) < 7 else 0


def _pager(total: int) -> None:
    if total <= PAGE:
        st.caption(f"{total:,} in all", width="content")
        return
    page, last = _page(), (total - 1) // PAGE
    st.caption(f"Page {page + 1:,} of {last + 1:,}, {total:,} in all", width="content")
    for label, icon, other in (("Newer", "chevron_left", page - 1), ("Older", "chevron_right", page + 1)):
        st.button(
            f":material/{icon}:",
            type="tertiary",
            help=label,
            disabled=not 0 <= other <= last,
            key=f"repairs_{icon}",
            on_click=choice.go,
            kwargs={"page": str(other + 1)},
        )
