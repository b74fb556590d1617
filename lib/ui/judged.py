"""The button by which a person says that a finding is as it should be, and takes that back."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import streamlit as st

from lib import display
from lib.environment import Environment
from lib.judging import last_moment
from lib.model import ACCEPTED, HEALTHY, PooltableError, now


def button(env: Environment, line: Mapping[str, Any]) -> None:
    """Show "Accept…" for a finding that is counted, "Count it again" for one that was accepted; else nothing."""
    name = line["account_id"] or line["row_id"] or next(iter(line["twins"] or ()), None)
    if line["situation"] in HEALTHY or name is None:
        return
    if ACCEPTED in (line["notes"] or ()):
        if st.button("Count it again", icon=":material/undo:", key="judged_again"):
            _judge(env, line, name, "Counted again.", over=True)
        return
    with st.popover("Accept…", icon=":material/task_alt:", help="It stays listed, but is no longer counted."):
        why = st.text_input("Why is it right as it is?", key=f"judged_why_{line['key']}")
        until = st.date_input(
            "Until (UTC), empty for good", value=None, min_value=now().date() + timedelta(days=1), key="judged_until"
        )
        st.caption("It is counted again as soon as its situation changes.")
        if st.button("Accept this finding", disabled=not why.strip(), key="judged_accept"):
            _judge(env, line, name, why, until=until if isinstance(until, date) else None)


def _judge(
    env: Environment, line: Mapping[str, Any], name: str, why: str, *, until: date | None = None, over: bool = False
) -> None:
    ends = now() if over else last_moment(until.isoformat()) if until else None
    try:
        env.accept_finding(name, why=why, until=ends, situation=line["situation"])
    except PooltableError as error:
        st.text(display.safe(str(error)))
        return
    st.rerun()
