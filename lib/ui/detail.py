"""One account, opened: its situation and why, what happened to it, both records side by side, who shares its e-mail."""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from lib import charts, display
from lib.environment import Environment
from lib.model import SITUATIONS
from lib.repair.planner import ACTIONS
from lib.ui import cards, frame, judged, raw_log, repairs, table, twins
from lib.views import lookup
from lib.views.lookup import Detail
from lib.views.timeline import DriftSeen, Moment, drift_seen, timeline, told

_MARKS = {
    "ok": ("check_circle", "green"),
    "neutral": ("radio_button_unchecked", "gray"),
    "warning": ("warning", "orange"),
    "problem": ("cancel", "red"),
}
_LINES = 12
_TOLD = 3  # of many runs the last ones: they are a retry group at most
_SOURCES = {"pool": "user pool", "log": "trigger log", "table": "table", "journal": "journal", "snapshot": "snapshot"}
_NOTES = {
    "look_alike_email": "The two e-mails look alike, but are written in different characters.",
    "time_without_zone": "A time of the row has no zone; UTC was assumed.",
    "epoch_time": "A time of the row is a number; it was read as seconds or milliseconds since 1970.",
    "overwritten_by_password_reset": "A password reset ran the trigger again and wrote the row anew.",
    "accepted": "A person has judged this finding and accepted it.",
}


def account(opened: frame.Opened, detail: Detail, *, reveal: bool) -> None:
    """Show all that is known of one account, or of a row without one."""
    line = detail.line
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        _words(table.email(detail.email, reveal=reveal) or "No e-mail", size="16px", weight=600)
        colour = charts.SITUATION_COLOURS[line["situation"]]
        st.badge(SITUATIONS[line["situation"]], color=cards.BADGES.get(colour, colour))  # type: ignore[arg-type]
    if line["id"] is not None:
        st.code(_plain(line["id"], reveal=reveal), language=None)
    if line["reason"]:
        st.text(_plain(line["reason"], reveal=reveal))
    _notes(line)
    if line["situation"] in ACTIONS:
        repairs.button(opened, repairs.label(line["situation"]), [line["id"]], key="accounts_repair_one")
    if line["situation"] == "orphaned_account":
        repairs.replay_button(opened, "Run the trigger again…", [line["id"]], key="accounts_replay_one")
    judged.button(opened.env, line)
    moments = timeline(opened.snapshot, detail, _steps_on(opened.env, line), _drift_seen(opened, detail))
    if moments:
        st.subheader("What happened", anchor=False)
        for moment in moments:
            _moment(moment, reveal=reveal)
    _holders(opened, detail, reveal=reveal)
    _records(detail, reveal=reveal)
    _evidence(opened, detail, reveal=reveal)
    _command_line(opened.env, line)


def nothing_chosen() -> None:
    """Say what the detail is for."""
    _middle(
        "Select an account",
        "Click a line: its sign-up, its trigger runs and its row appear here. Tick lines to repair several.",
    )


def unknown() -> None:
    """Say that what the link names is not in this snapshot."""
    _middle(
        "Not in this snapshot",
        "Nothing here has this id. It may be gone, deleted by a repair, or newer than the last refresh.",
    )


def _middle(title: str, text: str) -> None:
    with st.container(height="stretch", horizontal_alignment="center", vertical_alignment="center", gap="xxsmall"):
        st.subheader(title, anchor=False, width="content")
        st.caption(text, width="content", text_alignment="center")


def _notes(line: Mapping[str, Any]) -> None:
    said = [_NOTES[note] for note in line["notes"] if note in _NOTES]
    if line["also_case_only"]:
        said.append("The two e-mails differ in case or spaces only.")
    for sentence in said:
        st.caption(f":material/info: {sentence}")


def _moment(moment: Moment, *, reveal: bool) -> None:
    icon, colour = _MARKS[moment.state]
    when = "at an unknown time" if moment.at is None else frame.ago(moment.at)
    parts = [_absolute(moment.at), _plain(moment.said, reveal=reveal), _SOURCES[moment.source], _id(moment)]
    with st.container(horizontal=True, gap="small"):
        st.markdown(f":{colour}[:material/{icon}:]", width="content")
        with st.container(gap=None):
            _words(_plain(moment.what, reveal=reveal), aside=when, weight=600)
            _words(" · ".join(filter(None, parts)), size="12px", quiet=True)
        if moment.source == "log" and moment.id:
            _link_to_run(moment.id)


def _id(moment: Moment) -> str:
    # The account's and the row's stand whole above; a run's id is what one looks for in the journal.
    shown = _plain(moment.id or "", reveal=False)
    return shown if moment.source in ("journal", "snapshot") else shown[:8]


def _link_to_run(request_id: str) -> None:
    st.page_link(
        "pages/failures.py",
        label="Run",
        icon=":material/arrow_outward:",
        icon_position="right",
        width="content",
        query_params=frame.with_environment(request=request_id),
    )


def _evidence(opened: frame.Opened, detail: Detail, *, reveal: bool) -> None:
    """Show the last runs' request ids, whole and to be copied, with what they said of an error and their raw log."""
    runs = [run for run in detail.invocations if run["request_id"]][-_TOLD:]
    if not runs:
        return
    st.subheader("In the trigger's log", anchor=False)
    retention_days = opened.snapshot.wiring.retention_days
    for run in runs:
        lines = [f"RequestId: {run['request_id']}", *(told(run) or "").split("\n")[:_LINES]]
        st.code("\n".join(_plain(line, reveal=reveal) for line in lines if line), language=None, wrap_lines=True)
        raw_log.shown(opened.env, run, page="accounts", reveal=reveal, retention_days=retention_days)


def _holders(opened: frame.Opened, detail: Detail, *, reveal: bool) -> None:
    if not detail.duplicates:
        return
    st.subheader("Who else has this e-mail" if detail.line["id"] else "Who has this e-mail", anchor=False)
    for other in detail.duplicates:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            with st.container(gap=None):
                _words(table.email(other["email"] or other["row_email"], reveal=reveal))
                since = "" if other["since"] is None else f" · {frame.ago(other['since'])}"
                _words(f"{table.status(other)}{since}", size="12px", quiet=True)
            st.markdown(cards.badge(other["situation"]), width="content")
            if detail.line["situation"] == "duplicate" and other["situation"] == "orphaned_row":
                repairs.button(opened, "Delete row…", [other["id"]], key=f"accounts_delete_{other['key']}")
            st.button("Open", key=f"accounts_open_{other['key']}", on_click=_open, args=(other["key"],))
    if detail.line["situation"] == "duplicate" and all(other["account_id"] for other in detail.duplicates):
        st.caption("Each has a living account, so no row is deleted here: the e-mail of one must change in the pool.")
    hidden = len(detail.line["twins"]) - len(detail.duplicates)
    if hidden > 0 and len(detail.duplicates) >= lookup.TWINS:
        st.caption(f"and {hidden:,} more")


def _records(detail: Detail, *, reveal: bool) -> None:
    compared = lookup.compared(detail)
    if not compared:
        return
    st.subheader("Both records", anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                "Attribute": [("≠ " if line.differs else "") + table.cell(line.name, reveal=True) for line in compared],
                "Account": [table.cell(line.account, reveal=reveal) for line in compared],
                "Row": [table.cell(line.row, reveal=reveal) for line in compared],
            }
        ),
        column_config={
            "Attribute": st.column_config.TextColumn(width=110),
            "Account": st.column_config.TextColumn(width=205),
            "Row": st.column_config.TextColumn(width=205),
        },
        hide_index=True,
        row_height=table.ROW_HEIGHT,
        height="content",
        alt="The account's and the row's attributes side by side; ≠ marks those that differ",
    )


def _command_line(env: Environment, line: Mapping[str, Any]) -> None:
    if line["situation"] not in ACTIONS:
        return
    with st.expander("Same on the command line", icon=":material/terminal:"):
        st.code(twins.repair(env.name, [line["sub"] or line["id"]]), "bash")


def _open(key: str) -> None:
    st.query_params["account"] = key


def _steps_on(env: Environment, line: Mapping[str, Any]) -> list[dict[str, Any]]:
    ids = {line["account_id"], line["sub"], line["row_id"]} - {None}
    return _steps(env.name, env.journal_mark(), tuple(sorted(ids)), env)


@st.cache_data(max_entries=64, show_spinner=False)
def _steps(environment: str, mark: int, ids: tuple[str, ...], _env: Environment) -> list[dict[str, Any]]:
    return _env.journal.steps_on(environment, ids)


def _drift_seen(opened: frame.Opened, detail: Detail) -> DriftSeen | None:
    if detail.line["situation"] != "drift":
        return None
    return _drift_since(opened.env.name, opened.snapshot.stamp, detail.key, opened, detail)


@st.cache_data(max_entries=64, show_spinner=False)
def _drift_since(environment: str, stamp: str, key: str, _opened: frame.Opened, _detail: Detail) -> DriftSeen | None:
    return drift_seen(_opened.env.store.newest_first(), _detail)


def _words(text: str, *, size: str = "14px", weight: int = 400, quiet: bool = False, aside: str = "") -> None:
    # Markdown would make links and images of what users wrote; this shows it as it is, in the size it needs.
    shade = ";opacity:.72" if quiet else ""
    style = f"font-size:{size};font-weight:{weight};overflow-wrap:anywhere;line-height:1.45{shade}"
    after = f' <span style="font-weight:400;opacity:.72">{escape(aside)}</span>' if aside else ""
    st.html(f'<div style="{style}">{escape(text)}{after}</div>')


def _plain(text: str, *, reveal: bool) -> str:
    return display.visible(text if reveal else display.mask_emails(text))


def _absolute(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%-d %b %Y, %H:%M:%S} UTC"
