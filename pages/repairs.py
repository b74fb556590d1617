import streamlit as st

from lib.ui import frame, repairs, run_list

opened = frame.open_page("Repairs", "Every run: who, why, what became of each step, and its undo")
repairs.status(opened)

table, detail = st.columns([13, 10], gap="small")
with table:
    run_id = run_list.table(opened.env)
with detail, st.container(border=True, height="stretch"):
    run_list.detail(opened.env, run_id)
