import streamlit as st

from lib.ui import frame, matching_cards, policy_card, rescue, wiring_cards

opened = frame.open_page("Wiring", "From the user pool to the table: what answers, and what is about to break")
asked = wiring_cards.ask(opened)

with st.container(border=True):
    wiring_cards.chain(asked)

rescue.card(opened, asked.checks)
wiring_cards.to_fix(asked.checks)
wiring_cards.warnings(asked.wiring)
matching_cards.contamination(opened)

left, right = st.columns([13, 10], gap="small")
with left, st.container(border=True, height="stretch"):
    matching_cards.covered(opened)
with right, st.container(border=True, height="stretch"):
    matching_cards.correlation(opened.snapshot.wiring)

wiring_cards.healthy(asked)
wiring_cards.rests_on(opened, asked.wiring)
policy_card.card(opened, asked.wiring, asked.checks)
