import streamlit as st

from lib.ui import cards, failed_runs, failure_cards, frame, revealing

opened = frame.open_page("Trigger failures", "Runs that failed, and those that finished without writing the row")
if not cards.log_was_read(opened):
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    name = cards.range_choice()
    found = failure_cards.groups(opened, name)
    st.caption(failure_cards.summary(found, name))
    reveal = revealing.toggle(opened, "failures")

now_open = failed_runs.opened(opened, found)
if not found.empty:
    failure_cards.group_table(found, name, now_open.fingerprint)

if not found.empty or now_open.named_group or now_open.named_run:
    listed, run = st.columns([5, 3], gap="small")
    with listed, st.container(border=True, height="stretch"):
        now_open = failed_runs.listed(opened, name, now_open, reveal=reveal)
    with run, st.container(border=True, height="stretch"):
        failed_runs.opened_run(opened, now_open, reveal=reveal)

durations, evidence = st.columns([5, 2], gap="small")
with durations, st.container(border=True, height="stretch"):
    failure_cards.duration_card(opened, name)
with evidence, st.container(border=True, height="stretch"):
    failure_cards.evidence_card(opened)
