"""A table of which one line is chosen; which one stands in the URL."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lib.ui.table import digest


def table(
    shown: pd.DataFrame,
    columns: Mapping[str, Any],
    ids: Sequence[str],
    chosen: str | None,
    *,
    name: str,
    alt: str,
    most: int,
    row_height: int = 34,
    drops: Sequence[str] = (),
) -> None:
    """Show a table, at most so many lines of it at once; a click puts the line's id into the URL as ``name``.

    ``drops`` are the parameters that mean nothing with another line.
    """
    # Positions mean nothing once the lines change: another order is another table.
    key = f"choice_{name}_{digest(ids)}"
    st.dataframe(
        shown,
        column_config=dict(columns),
        hide_index=True,
        row_height=row_height,
        height=row_height * min(len(shown), most) + 37,
        key=key,
        on_select=lambda: _choose(name, key, ids, drops),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [ids.index(chosen)] if chosen in ids else []}},
        alt=alt,
    )


def go(**parameters: str | None) -> None:
    """Change the URL's parameters, None takes one away; in one step, for each is a stop of the back button."""
    known = st.query_params.to_dict() | parameters
    st.query_params.from_dict({name: value for name, value in known.items() if value is not None})


def _choose(name: str, key: str, ids: Sequence[str], drops: Sequence[str]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    go(**{name: ids[rows[0]] if rows else None}, **dict.fromkeys(drops))
