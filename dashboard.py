import streamlit as st

from lib.ui import frame

st.set_page_config(page_title="Pooltable", page_icon="static/icon.svg", layout="wide")
frame.navigation().run()
