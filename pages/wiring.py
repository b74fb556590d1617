import streamlit as st

from lib.ui import frame, rescue, wiring_cards

opened = frame.open_page("Wiring", "From the user pool to the table: what answers, and what is about to break")
wiring, checks = wiring_cards.ask(opened)

with st.container(border=True):
    wiring_cards.chain(wiring, checks)

wiring_cards.to_fix(checks)
rescue.card(opened, checks)
wiring_cards.warnings(wiring)
wiring_cards.healthy(wiring, checks)
wiring_cards.rests_on(opened, wiring)
