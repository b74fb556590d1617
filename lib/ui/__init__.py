"""The only Streamlit of the library: what several pages share."""
