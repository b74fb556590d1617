import streamlit as st

from lib.ui import cards, failure_cards, frame
from lib.views import failures, trends

opened = frame.open_page("Trigger failures", "Runs that failed, and those that finished without writing the row")
if not cards.log_was_read(opened):
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    name = cards.range_choice()
    found = failure_cards.groups(opened, name)
    st.caption(failure_cards.summary(found, name))

if not found.empty:
    fingerprint = failure_cards.group_table(found, name)
    runs = failures.invocations(opened.snapshot, trends.period(opened.snapshot, name), fingerprint)
    table, run = st.columns([4, 3], gap="small")
    with table, st.container(border=True, height="stretch"):
        st.subheader("Runs", anchor=False)
        chosen = failure_cards.run_table(runs)
    with run, st.container(border=True, height="stretch"):
        st.subheader("Chosen run", anchor=False)
        failure_cards.run_facts(chosen)

with st.container(border=True):
    failure_cards.duration_card(opened, name)
