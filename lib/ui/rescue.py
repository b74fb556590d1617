"""The key rescue on the Wiring page: what an expired key costs, its preview, its result, and the rows it left out."""

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from lib import display, rescue
from lib.aws.checks import Check
from lib.aws.keys import DAYS
from lib.environment import Environment
from lib.model import PooltableError
from lib.ui import cards, frame, jobs, reading, repairs
from lib.views.key_gap import Gap, key_gap

_RESULT = "rescue_result"
_DEFAULT_DAYS = 30
_STATES = {
    "done": (":green[:material/check_circle:]", "The API key was extended"),
    "failed": (":red[:material/error:]", "The API key was not extended"),
    "unknown": (":orange[:material/help:]", "Whether the API key was extended is not known"),
}


@st.cache_data(max_entries=8, show_spinner=False)
def _gap(environment: str, stamp: str, mark: int, _opened: frame.Opened) -> Gap | None:
    return key_gap(_opened.snapshot)


def card(opened: frame.Opened, checks: Sequence[Check]) -> None:
    """Show what can be done about an expired or expiring key, and who was lost to it; nothing where all is well."""
    env, gap = opened.env, _gap(opened.env.name, str(opened.snapshot.stamp), opened.mark, opened)
    needed = any(check.name == "api_key" and check.status in ("problem", "warning") for check in checks)
    lost = gap.accounts if gap else ()
    result: rescue.Rescued | None = st.session_state.get(f"{_RESULT}_{env.name}")
    if not (needed or lost or result):
        return
    with st.container(border=True, gap="small", key="rescue_card"):
        st.subheader("API key", anchor=False)
        if result:
            _result(env, result)
        elif needed:
            _offer(env)
        if gap and lost:
            rescued = result is not None and result.state == "done"
            _backfill(opened, gap, open_still=gap.until is None and not rescued, primary=rescued or not needed)
        repairs.status(opened)


def _offer(env: Environment) -> None:
    reason = env.read_only(without_login=True)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.text("Extending the very key that the trigger uses heals it at once: nothing is deployed.", width="content")
        if st.button(
            "Extend the key…",
            icon=":material/key:",
            type="secondary" if reason else "primary",
            disabled=reason is not None,
            help=reason,
            key="rescue_open",
        ):
            _preview(env)


def _backfill(opened: frame.Opened, gap: Gap, *, open_still: bool, primary: bool) -> None:
    lost = display.counted(len(gap.accounts), "account")
    when = f"from {_at(gap.since)} until {_at(gap.until)}" if gap.until else f"since {_at(gap.since)}"
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(gap=None, width="content"):
            st.text(f"{lost} without a row, lost {when} while the key was not valid.")
            if open_still:
                st.caption("Extend the key first: until then more are lost.")
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            st.page_link(
                "pages/accounts.py",
                label="See them",
                icon=":material/person_alert:",
                query_params=frame.with_environment(situation="orphaned_account", cause="api_key_expired"),
            )
            label = f"Create {display.counted(len(gap.accounts), 'row')}…"
            repairs.button(opened, label, gap.accounts, key="rescue_backfill", primary=primary, wait=_busy(opened.env))


def _busy(env: Environment) -> str | None:
    """Return why the rows have to wait: the end of a read makes the page anew, which closes an open preview."""
    read, job = reading.current(env), jobs.current(env)
    if job is not None and not job.ended:
        return "A run is under way."
    return "Everybody who was lost until now is being read." if read is not None and not read.ended else None


def _result(env: Environment, result: rescue.Rescued) -> None:
    icon, title = _STATES[result.state]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(gap=None, width="content"):
            until = f" until {_at(result.expires_at)}" if result.state == "done" and result.expires_at else ""
            st.markdown(f"{icon} **{title}{until}.**")
            st.text(display.safe(result.message))
            if result.state == "done":
                st.caption(rescue.WARNING)
        if st.button("Dismiss", key="rescue_dismiss"):
            del st.session_state[f"{_RESULT}_{env.name}"]
            st.rerun()


def _preview(env: Environment) -> None:
    try:
        with st.spinner("Asking for the key"):
            plan = env.rescue_plan(_DEFAULT_DAYS)
    except PooltableError as error:
        _refusal(str(error))
        return
    _confirm(env, plan)


@st.dialog("The key cannot be extended", icon=":material/block:")
def _refusal(reason: str) -> None:
    st.text(display.safe(reason))


@st.dialog("Extend the API key", width="medium", icon=":material/key:")
def _confirm(env: Environment, planned: rescue.Plan) -> None:
    """Show what would be written; write it when it is confirmed by typing the days."""
    days = int(st.number_input("Days from now", *DAYS, value=_DEFAULT_DAYS, key="rescue_days"))
    plan = planned.lasting(days)
    cards.facts(
        {
            "Key": f"digest {plan.digest}",
            "Of API": plan.api_id,
            "Used by": ", ".join(plan.functions),
            "Expired" if plan.expired else "Expires": _at(plan.expires_at),
            "Will expire": _at(plan.until),
        }
    )
    st.caption(f":material/warning: {rescue.WARNING}")
    st.caption(f":material/undo: {rescue.UNDO}")
    with st.expander("Same as an AWS CLI command", icon=":material/terminal:"):
        st.code(plan.aws_cli(), language="bash", wrap_lines=True)
    why = st.text_input("Why (kept in the journal)", key="rescue_why", placeholder="Optional")
    typed = st.text_input(f"Type {days} to confirm", key="rescue_typed").strip() == str(days)
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="rescue_close"):
            st.rerun()
        label = f"Extend by {display.counted(days, 'day')}"
        go = st.button(label, type="primary", disabled=not typed, key="rescue_go")
    if go:
        _carry_out(env, days, why or None)


def _carry_out(env: Environment, days: int, why: str | None) -> None:
    reason = env.read_only(without_login=True)
    try:
        if reason:
            raise PooltableError(reason)
        with st.spinner("Extending the key"):
            done = env.rescue(days, why=why)
    except PooltableError as error:
        st.markdown(":red[:material/error:] **The key was not extended.**")
        st.text(display.safe(str(error)))
        return
    st.session_state[f"{_RESULT}_{env.name}"] = done
    # The gap has an end now: a fresh read shows everybody lost in it, up to the last minute.
    reading.start(env)
    st.rerun()


def _at(moment: datetime) -> str:
    return f"{moment:%-d %b %Y, %H:%M} UTC"
