"""The switch that shows e-mails in full: who turns it on is put on record first."""

import streamlit as st

from lib import display
from lib.environment import operator
from lib.model import JournalError
from lib.ui import frame


def toggle(opened: frame.Opened, page: str) -> bool:
    """Show the switch of a page and return whether e-mails are revealed on it."""
    reveal = st.toggle("Reveal e-mails", key=f"{page}_reveal", on_change=_record, args=(opened, page))
    if refusal := st.session_state.pop(f"{page}_refused", None):
        st.text(display.safe(refusal))
    return reveal


def _record(opened: frame.Opened, page: str) -> None:
    if not st.session_state[f"{page}_reveal"]:
        return
    try:
        opened.env.journal.record("reveal", environment=opened.env.name, who=operator())
    except JournalError as error:
        # What cannot be put on record is not shown.
        st.session_state[f"{page}_reveal"] = False
        st.session_state[f"{page}_refused"] = str(error)
