import streamlit as st

from lib.ui import frame, repairs, run_detail, run_filters, run_list

opened = frame.open_page("Repairs", "Every run: who, why, what became of each step, and its undo")
repairs.status(opened)
run_list.settled(opened.env)

with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    chosen = run_filters.choose(opened.env)
    run_list.export(opened.env)

table, detail = st.columns([13, 10], gap="small")
with table:
    run_id = run_list.table(opened.env, chosen)
with detail, st.container(border=True, height="stretch"):
    run_detail.detail(opened.env, run_id)
