"""The log lines of one run, read again when somebody asks for them: masked, as plain text, kept a minute at most."""

import re
from datetime import timedelta
from typing import Any

import streamlit as st

from lib import display
from lib.aws.errors import is_denied
from lib.environment import Environment
from lib.logparse.excerpt import RawLine, RawLog, without_secrets
from lib.model import AwsError, PooltableError, now
from lib.ui import twins
from lib.ui.table import digest
from lib.views.lookup import Record

_MOST_LINES = 200
_MOST_CHARACTERS = 4000
_LONG, _HEIGHT = 900, 420  # characters that fill so many pixels
_ADDRESS = 320  # an e-mail has no more characters
_APART = re.compile(r"[\s\"'<>()\[\],;:{}]")


@st.fragment
def shown(env: Environment, run: Record, *, page: str, reveal: bool, retention_days: int | None) -> None:
    """Show a button that reads the run's log, then its lines, or why there are none; and the same as a command."""
    if not (run["log_group"] and run["log_stream"]):
        st.caption("The log does not tell which stream this run wrote to.")
        return
    name = digest([run["log_group"], run["log_stream"], str(run["request_id"]), str(run["started_at"])])
    asked = f"{page}_raw_log_{name}"
    if not st.session_state.get(asked):
        icon = ":material/article:"
        st.button(
            "Show raw log", icon=icon, key=f"{asked}_show", on_click=lambda: st.session_state.update({asked: True})
        )
    else:
        _read_and_show(env, run, name, reveal=reveal, retention_days=retention_days)
    with st.expander("Same on the command line", icon=":material/terminal:"):
        st.code(twins.raw_log(run), "bash", wrap_lines=True)


def _read_and_show(env: Environment, run: Record, name: str, *, reveal: bool, retention_days: int | None) -> None:
    try:
        with st.spinner("Reading the log"):
            found = _read(env.name, name, env, run)
    except AwsError as error:
        icon, title = ("lock", "Not permitted") if is_denied(error) else ("cloud_off", "The log could not be read")
        _instead(icon, title, str(error))
    except PooltableError as error:
        _instead("cloud_off", "The log could not be read", str(error))
    else:
        if found.lines:
            _lines(found, reveal=reveal)
        else:
            _instead("hourglass_disabled", "Gone from the log", _why_gone(run, retention_days))


@st.cache_data(max_entries=8, ttl=60, show_spinner=False)
def _read(_environment: str, run_name: str, _env: Environment, _run: Record) -> RawLog:
    return _env.raw_log(_run)


def _lines(found: RawLog, *, reveal: bool) -> None:
    shown = "\n".join(text(line, reveal=reveal) for line in found.lines[:_MOST_LINES])
    is_long = len(shown) > _LONG or shown.count("\n") > _LONG // 60
    # A code block of fixed height cannot be scrolled by keyboard; a container with its copy button in it can.
    with st.container(height=_HEIGHT if is_long else "content", border=False):
        st.code(shown, language=None, wrap_lines=True)
    for sentence in _remarks(found):
        st.caption(sentence)


def _remarks(found: RawLog) -> list[str]:
    said = []
    if len(found.lines) > _MOST_LINES:
        said.append(f"+{len(found.lines) - _MOST_LINES:,} more lines; the command below prints them all.")
    if found.more:
        said.append("There is more of this stream than was read; the command below prints it all.")
    if any(line.suspicious for line in found.lines):
        said.append("! marks a line that names another run, though only this one could write it.")
    if any(without_secrets(line.text[:_MOST_CHARACTERS]) != line.text[:_MOST_CHARACTERS] for line in found.lines):
        said.append("The values of clientMetadata and validationData are left out.")
    return said


def text(line: RawLine, *, reveal: bool) -> str:
    """Return a line as it may be shown: its time, secrets left out, masked unless revealed, harmless, cut."""
    whole = line.text
    cut = len(whole)
    if len(whole) > _MOST_CHARACTERS:
        # Not within an e-mail: half of one would not be masked.
        apart = _APART.search(whole, _MOST_CHARACTERS, _MOST_CHARACTERS + _ADDRESS)
        cut = apart.start() if apart else _MOST_CHARACTERS
    said = without_secrets(whole[:cut])
    said = said if reveal else display.mask_emails(said)
    more = f" … +{len(whole) - cut:,} characters" if cut < len(whole) else ""
    margin = "\n" + " " * 14
    body = margin.join(display.visible(part.replace("\t", "  ")) for part in said.split("\n"))
    return f"{line.at:%H:%M:%S}.{line.at.microsecond // 1000:03d}{' !' if line.suspicious else '  '}{body}{more}"


def _why_gone(run: Record, retention_days: int | None) -> str:
    if retention_days and run["started_at"] < now() - timedelta(days=retention_days):
        return f"The log group keeps its events for {retention_days:,} days; this run is older."
    return "The log group holds nothing of this run any more. What was read of it before is shown above."


def _instead(icon: str, title: str, why: Any) -> None:
    with st.container(border=True, gap="xxsmall"):
        st.markdown(f":material/{icon}: **{title}**")
        st.text(display.safe(str(why)))
