"""The frame of every page: navigation, environment and latest snapshot, the head, and what stands in their way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlencode

import streamlit as st

import lib
from lib import config, display
from lib.demo import running
from lib.demo.world import attach
from lib.environment import Environment
from lib.model import NoSnapshot, PooltableError, now
from lib.snapshot import Snapshot
from lib.ui import jobs, reading, set_up, signing_up
from lib.views.trends import span

_RAN = "frame_ran"
_ENVIRONMENT = "env"
_STALE = timedelta(days=1)
# Whatever folder the server was started in.
_ICON = Path(__file__).parents[2] / "static" / "icon.svg"


@dataclass(frozen=True)
class Opened:
    """What a page works on: the environment and its latest snapshot, repairs confirmed since included.

    ``mark`` is the journal's at that: what is cached of the snapshot is cached under it, for a run may go on meanwhile.
    """

    env: Environment
    snapshot: Snapshot
    mark: int


def navigation() -> st.Page:
    """Declare the pages and return the chosen one."""
    st.session_state[_RAN] = True
    # Without an icon of our own the browser would fetch the page's Material icon from the web.
    st.set_page_config(page_title="Pooltable", page_icon=_ICON, layout="wide")
    st.logo(_ICON, size="large")
    return st.navigation(
        [
            st.Page("pages/overview.py", title="Overview", icon=":material/monitoring:", default=True),
            st.Page("pages/accounts.py", title="Accounts", icon=":material/person_alert:"),
            st.Page("pages/failures.py", title="Failures", icon=":material/bug_report:"),
            st.Page("pages/repairs.py", title="Repairs", icon=":material/build:"),
            st.Page("pages/wiring.py", title="Wiring", icon=":material/account_tree:"),
        ],
        position="top",
    )


def open_page(title: str, caption: str) -> Opened:
    """Show a page's head and return what the page works on; stop the page where there is nothing to show."""
    if not st.session_state.get(_RAN):
        # A deep link on a server just started runs the page alone, as if there were no dashboard.py.
        navigation()
        st.rerun()
    left, right = st.columns([2, 3], vertical_alignment="center")
    with left, st.container(gap=None):
        st.title(title, anchor=False)
        st.caption(caption)
    head = right.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small")
    with _failure_shown():
        env = environment()
        jobs.settle_once(env)
        mark = env.journal_mark()
        snapshot = _latest(env, head)
        _state_of(env, snapshot)
        return Opened(env, snapshot, mark)


def link(page: str, **parameters: str) -> str:
    """Return the link to a page in a given state; never put an e-mail into it."""
    known = with_environment(**parameters)
    return f"/{page}?{urlencode(known)}" if known else f"/{page}"


def with_environment(**parameters: str) -> dict[str, str]:
    """Return the query parameters of a link to another page, the chosen environment among them."""
    chosen = st.query_params.get(_ENVIRONMENT)
    return parameters | ({_ENVIRONMENT: chosen} if chosen else {})


def ago(moment: datetime) -> str:
    """Return how long ago a moment was, in words."""
    length = now() - moment
    return "just now" if length < timedelta(minutes=1) else f"{span(length)} ago"


def message(icon: str, title: str, text: str) -> None:
    """Show a state in the middle of the page: what it is, and what to do."""
    with st.container(horizontal_alignment="center", vertical_alignment="center", height=320, border=True):
        st.subheader(f":material/{icon}: {title}", anchor=False, width="content")
        st.text(display.safe(text), width="content")


@st.cache_resource(show_spinner="Opening the environment")
def _opened(name: str, world: str | None) -> Environment:
    # The world is part of the key: of another one there is another environment.
    return lib.connect(name)


def environment() -> Environment:
    """Return the environment that the URL names, else the first one configured; of the demo, the world of now."""
    known = config.load()
    named = st.query_params.get(_ENVIRONMENT)
    configured = [name for name in known.environments if name != config.DEMO]
    name = known.settings(named or (configured[0] if configured else config.DEMO)).name
    return _opened(name, _world(known.home) if name == config.DEMO else None)


def _world(home: Path) -> str:
    """Return which embedded world there is; start one where the last one has ended, and the pages lead nowhere."""
    facts = running.living(home)
    if facts is None:
        with st.spinner("Opening the environment"):
            facts = attach(home)
    return f"{facts.url} {facts.pid} {facts.started_at}"


def _latest(env: Environment, head: st.delta_generator.DeltaGenerator) -> Snapshot:
    with head:
        _badge(env)
        connecting = st.container(width="content")
        signing_up.control(env)
        updated = st.container(width="content")
        asked = st.button("Refresh", icon=":material/refresh:", shortcut="U", key="frame_refresh")
    read = reading.current(env)
    # Before the snapshot: a refresh that ends in between makes the page anew.
    goes_on = read is not None and not read.ended
    try:
        snapshot = env.latest()
    except NoSnapshot:
        snapshot = None
    if asked or (snapshot is None and env.embedded and read is None):
        read, goes_on = reading.start(env), True
    with connecting:
        # The page is made anew when a read ends, and would take an open dialog with it.
        set_up.control(env, _opened.clear, busy=goes_on)
    if read is not None and goes_on:
        with updated:
            reading.progress(env.name, read)
    if snapshot is None:
        _without_snapshot(env, read, goes_on=goes_on)
    if goes_on:
        return snapshot
    reading.failure(read)
    at = datetime.fromisoformat(snapshot.manifest["finished_at"])
    words = f"Updated {ago(at)}"
    updated.caption(
        f":orange[{words}]" if now() - at > _STALE else words, help=f"{at:%d %b %Y, %H:%M:%S} UTC", width="content"
    )
    return snapshot


def _badge(env: Environment) -> None:
    names = list(env.config.environments)
    if len(names) > 1:
        st.selectbox(
            "Environment",
            names,
            index=names.index(env.name) if env.name in names else 0,
            key="frame_environment",
            on_change=_switch,
            label_visibility="collapsed",
            width=160,
        )
    elif env.embedded:
        st.badge("Demo world", icon=":material/science:", color="violet")
    else:
        st.badge(env.name, icon=":material/cloud:", color="gray")
    if env.read_only(without_login=True):
        st.badge("Read-only", icon=":material/lock:", color="gray", help=env.read_only(without_login=True))


def _switch() -> None:
    st.query_params.clear()
    st.query_params[_ENVIRONMENT] = st.session_state["frame_environment"]


def _without_snapshot(env: Environment, read: reading.Reading | None, *, goes_on: bool) -> NoReturn:
    if goes_on:
        _skeletons()
    elif read is not None and read.error:
        message("cloud_off", "Nothing could be read", read.error)
    else:
        said = f"Refresh reads the pool, the table and the trigger's log of {env.name}. It writes nothing."
        message("cloud_download", "Nothing was read yet", said)
    st.stop()


def _skeletons() -> None:
    st.caption("The first read of an environment takes the longest.")
    for card in st.columns(4, gap="small"):
        card.skeleton(height=140)
    st.skeleton(height=320)


def _state_of(env: Environment, snapshot: Snapshot) -> None:
    """Say above the page what of it is missing or looks wrong."""
    manifest = snapshot.manifest
    if not manifest["complete"]:
        st.warning(
            "Not everything was read, so what depends on it is withheld and nothing can be repaired.",
            icon=":material/cloud_off:",
        )
        for reason in manifest["reasons"]:
            st.text(display.safe(reason))
    elif manifest["suspicious"] and not env.accepted(snapshot):
        _suspicion(env, snapshot)


def _suspicion(env: Environment, snapshot: Snapshot) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(":orange[:material/warning:] **This read looks wrong, so nothing is repaired on it.**")
            for reason in snapshot.manifest["reasons"]:
                st.text(display.safe(reason))
        with st.popover("Accept…"):
            why = st.text_input("Why is it right?", key="frame_why")
            if st.button("Accept this read", disabled=not why, key="frame_accept"):
                env.accept(snapshot, why)
                st.rerun()


@contextmanager
def _failure_shown() -> Iterator[None]:
    try:
        yield
    except PooltableError as error:
        message("error", "This cannot be shown", str(error))
        st.stop()
