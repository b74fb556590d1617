import streamlit as st

from lib.model import now
from lib.ui import cards, frame, kpis, overview_cards
from lib.views import overview

opened = frame.open_page("Sign-ups", "Who signed up, and who never reached the table")

with st.container(horizontal=True, vertical_alignment="center", gap="small"):
    name = cards.range_choice()
    shown = overview_cards.overview(opened, name)
    st.caption(overview.summary(shown, now=now()))

kpis.kpis(shown)

chart, situations = st.columns([5, 2], gap="small")
with chart, st.container(border=True, height="stretch"):
    overview_cards.outcome_chart(shown)
with situations, st.container(border=True, height="stretch"):
    overview_cards.situation_card(shown)

losses, funnel = st.columns([5, 2], gap="small")
with losses, st.container(border=True, height="stretch"):
    overview_cards.losses_card(opened, shown)
with funnel, st.container(border=True, height="stretch"):
    overview_cards.funnel_card(shown)

overview_cards.history_card(opened)
