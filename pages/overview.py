import streamlit as st

from lib.model import now
from lib.ui import cards, frame
from lib.views import trends

opened = frame.open_page("Sign-ups", "Who signed up, and who never reached the table")

with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    name = cards.range_choice()
    shown = cards.overview(opened, name)
    st.caption(trends.summary(shown, now=now()))

cards.kpis(shown)

chart, situations = st.columns([5, 2], gap="small")
with chart, st.container(border=True, height="stretch"):
    cards.outcome_chart(shown)
with situations, st.container(border=True, height="stretch"):
    cards.situation_card(shown)

losses, funnel = st.columns([5, 2], gap="small")
with losses, st.container(border=True, height="stretch"):
    cards.losses_card(opened, shown)
with funnel, st.container(border=True, height="stretch"):
    cards.funnel_card(shown)

cards.history_card(opened)
