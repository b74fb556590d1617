"""A refresh under way: it belongs to a thread of the server, so that turning the page does not break it off."""

import threading
from dataclasses import dataclass, field

import streamlit as st

from lib import display
from lib.environment import Environment
from lib.model import PooltableError

_POLL_S = 0.5


@dataclass
class Reading:
    """One refresh as its thread sees it. Only that thread writes here; every session reads."""

    counts: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    ended: bool = False

    @property
    def words(self) -> str:
        """What was read so far."""
        read = sum(dict(self.counts).values())
        return f"Reading {read:,} records" if read else "Reading…"


@dataclass
class _Readings:
    lock: threading.Lock = field(default_factory=threading.Lock)
    by_name: dict[str, Reading] = field(default_factory=dict)


@st.cache_resource
def _readings() -> _Readings:
    return _Readings()


def current(env: Environment) -> Reading | None:
    """Return the refresh that goes on, or the last one."""
    return _readings().by_name.get(env.name)


def start(env: Environment) -> Reading:
    """Return the refresh that goes on, whoever asked for it: a second one would read the same again; else begin one."""
    readings = _readings()
    with readings.lock:
        known = readings.by_name.get(env.name)
        if known is None or known.ended:
            known = readings.by_name[env.name] = Reading()
            threading.Thread(target=_read, args=(env, known), name=f"refresh-{env.name}", daemon=True).start()
        return known


@st.fragment(run_every=_POLL_S)
def progress(_environment: str, reading: Reading) -> None:
    """Show how far a refresh is, and make the page anew when it has ended."""
    if reading.ended:
        st.rerun()
    st.caption(reading.words, width="content")


def failure(reading: Reading | None) -> None:
    """Say why the last refresh failed, where it did."""
    if reading is not None and reading.error:
        with st.container(border=True, gap=None):
            st.markdown(":red[:material/error:] **The refresh failed; the last snapshot is shown.**")
            st.text(display.safe(reading.error))


def _read(env: Environment, reading: Reading) -> None:
    reading.error = "It was broken off by a fault of Pooltable."
    try:
        env.refresh(reading.counts.__setitem__)
        reading.error = None
    except PooltableError as error:
        reading.error = str(error)
    finally:
        reading.ended = True
