"""Frame in, figure out: the figures of the pages, the same in a notebook.

One colour per meaning. Backgrounds are transparent and the greys of the axes are readable on white and on black;
inside the dashboard fonts and axes come from its theme.
"""

from collections.abc import Sequence
from html import escape
from math import log10
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from lib.aws.checks import Check
from lib.model import SITUATIONS, Wiring
from lib.snapshot import Snapshot
from lib.views import failures, trends

COLOURS = {
    "slate": "rgba(100, 116, 139, 0.42)",
    "grey": "#7D8899",
    "red": "#E5484D",
    "pink": "rgba(229, 72, 77, 0.45)",
    "orange": "#F28C0F",
    "violet": "#8A6BF5",
    "blue": "#2E90FA",
    "green": "#17A765",
}
"""Slate is fine, red missing or failed (pink: no log says why), orange silent, violet not invoked or a row only,
blue a duplicate, green in sync."""

OUTCOME_COLOURS = {
    "row_written": "slate",
    "rejected": "grey",
    "in_flight": "slate",
    "unknown": "pink",
    "not_invoked": "violet",
    "failed": "red",
    "silent_failure": "orange",
}

SITUATION_COLOURS = {
    "orphaned_account": "red",
    "malformed_row": "red",
    "drift": "orange",
    "orphaned_row": "violet",
    "duplicate": "blue",
    "tombstone": "grey",
    "unversioned_row": "grey",
    "in_flight": "grey",
    "out_of_scope": "grey",
    "in_sync": "green",
}

STATUS_COLOURS = {"problem": "red", "warning": "orange", "unknown": "grey", "ok": "slate"}

_SHARE_A_COLOUR = ("malformed_row", "unversioned_row")
_INK = "#76808F"  # 4 : 1 on white and on the dark background alike
_GRID = "rgba(125, 136, 153, 0.22)"


def sign_ups(snapshot: Snapshot, over: str = "30d") -> go.Figure:
    """Return the sign-ups by outcome, stacked per hour or day in UTC, over a period of ``trends.RANGES``."""
    return outcome_bars(trends.sign_ups(snapshot, trends.period(snapshot, over)))


def funnel(snapshot: Snapshot, over: str = "30d") -> go.Figure:
    """Return how many sign-ups of the period ran the trigger, got their row and were confirmed."""
    return stage_bars(trends.funnel(snapshot, trends.period(snapshot, over)))


def situations_history(snapshots: Sequence[Snapshot]) -> go.Figure:
    """Return the findings of past snapshots by situation, oldest first."""
    return situation_lines(trends.history(snapshots))


def durations(snapshot: Snapshot, over: str = "30d") -> go.Figure:
    """Return how long the trigger ran, against the 5 s after which Cognito tries again."""
    return duration_lines(failures.durations(snapshot, trends.period(snapshot, over)))


def outcome_bars(counted: pd.DataFrame) -> go.Figure:
    """Return the figure of ``trends.sign_ups``."""
    hours = len(counted) > 1 and counted["at"].iloc[1] - counted["at"].iloc[0] < pd.Timedelta(days=1)
    shown = [outcome for outcome in trends.OUTCOMES if outcome == "row_written" or counted[outcome].any()]
    bars = [
        go.Bar(
            name=trends.OUTCOMES[outcome],
            x=counted["at"],
            y=counted[outcome],
            marker={
                "color": COLOURS[OUTCOME_COLOURS[outcome]],
                "line": {"width": 0},
                "pattern": _hatch() if outcome == "in_flight" else {},
            },
            # A chosen bar is named below the chart: fading all others would hide how it compares.
            unselected={"marker": {"opacity": 1}},
            hovertemplate="%{y:,}",
        )
        for outcome in shown
    ]
    figure = go.Figure(bars, _layout(height=320, barmode="stack", bargap=0.25, hovermode="x unified"))
    figure.update_xaxes(hoverformat="%-d %b %Y, %H:%M UTC" if hours else "%a %-d %b %Y, UTC")
    figure.update_yaxes(rangemode="tozero", tickformat=",d", nticks=6)
    return figure


def stage_bars(stages: pd.DataFrame) -> go.Figure:
    """Return the figure of ``trends.funnel``: a bar per stage with its count and its share of the first."""
    most = int(stages["count"].max()) or 1
    # The figures stand beside the bars: no colour of text is readable on a half-transparent bar in both themes.
    named = [
        f"{stage}<br><b>{count:,}</b> · {count / most:.1%}"
        for stage, count in zip(stages["stage"], stages["count"], strict=True)
    ]
    whole = go.Bar(
        x=[most] * len(stages),
        y=named,
        orientation="h",
        marker={"color": "rgba(125, 136, 153, 0.12)"},
        hoverinfo="skip",
    )
    reached = go.Bar(
        x=stages["count"],
        y=named,
        orientation="h",
        marker={"color": [COLOURS["grey"]] + [COLOURS["slate"]] * (len(stages) - 1)},
        hoverinfo="skip",
    )
    margin = {"l": 8, "r": 8, "t": 0, "b": 0}
    layout = _layout(height=60 * len(stages), barmode="overlay", bargap=0.5, showlegend=False, margin=margin)
    figure = go.Figure([whole, reached], layout)
    figure.update_xaxes(visible=False, range=[0, most])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=8)
    return figure


def situation_lines(counted: pd.DataFrame) -> go.Figure:
    """Return the figure of ``trends.history``: a stepped line per situation."""
    lines = [
        go.Scatter(
            name=SITUATIONS[str(situation)],
            x=of["at"],
            y=of["count"],
            mode="lines+markers",
            marker={"size": 5},
            line={
                "shape": "hv",
                "width": 2,
                "color": COLOURS[SITUATION_COLOURS[str(situation)]],
                "dash": "dot" if situation in _SHARE_A_COLOUR else "solid",
            },
            hovertemplate="%{y:,}",
        )
        for situation, of in counted.groupby("situation", sort=False)
    ]
    figure = go.Figure(lines, _layout(height=240, hovermode="x unified"))
    figure.update_xaxes(hoverformat="%-d %b %Y, %H:%M UTC")
    figure.update_yaxes(rangemode="tozero", tickformat=",d", nticks=5)
    return figure


def duration_lines(taken: pd.DataFrame) -> go.Figure:
    """Return the figure of ``failures.durations``: p50, p95 and longest run, cold starts apart, and the limit."""
    strokes: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("p50", "p50", {"mode": "lines", "line": {"color": COLOURS["grey"], "width": 2}}),
        ("p95", "p95", {"mode": "lines", "line": {"color": COLOURS["blue"], "width": 2}}),
        ("longest", "Longest", {"mode": "markers", "marker": {"color": COLOURS["red"], "size": 5}}),
        ("cold", "Cold start", {"mode": "markers", "marker": {"color": COLOURS["violet"], "size": 6, "symbol": "x"}}),
    )
    traces = [
        go.Scatter(name=name, x=taken["at"], y=taken[column] / 1000, hovertemplate="%{y:.2f} s", **stroke)
        for column, name, stroke in strokes
    ]
    figure = go.Figure(traces, _layout(height=260, hovermode="x unified"))
    limit = failures.LIMIT_MS / 1000
    figure.add_hline(y=limit, line={"color": COLOURS["red"], "width": 1, "dash": "dash"})
    figure.add_annotation(
        x=0, xref="paper", xanchor="left", y=log10(limit), yanchor="bottom", showarrow=False,
        text="Cognito tries again after 5 s", font={"size": 11},
    )  # fmt: skip
    seconds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
    figure.update_xaxes(hoverformat="%-d %b %Y, %H:%M UTC")
    figure.update_yaxes(type="log", tickvals=seconds, ticktext=[f"{second:g} s" for second in seconds])
    longest = float(taken[["longest", "cold"]].max().max())
    figure.update_yaxes(range=[log10(0.05), log10(max(8, longest / 1000 * 1.4))])
    return figure


def chain(wiring: Wiring, checks: Sequence[Check], ink: str = _INK) -> go.Figure:
    """Return the chain drawn: pool, trigger function, API, table, and the log group below the function.

    Each link has the colour and the words of its worst check; ``ink`` is the colour of the text.
    """
    trigger = "PreSignUp" if wiring.trigger == "pre_sign_up" else "PostConfirmation"
    nodes = {
        "pool": (0.5, 1.5, "User pool", wiring.pool),
        "function": (1.5, 1.5, "Trigger function", ", ".join(wiring.functions)),
        "api": (2.5, 1.5, "GraphQL API", wiring.api_id or wiring.graphql_url or ""),
        "table": (3.5, 1.5, "User table", wiring.table or ""),
        "log_group": (1.5, 0.42, "Log group", ", ".join(wiring.log_groups)),
    }
    figure = go.Figure(layout=_layout(height=230, showlegend=False, margin={"l": 0, "r": 0, "t": 0, "b": 0}))
    figure.update_layout(font={"color": ink})
    figure.update_xaxes(visible=False, range=[0, 4], fixedrange=True)
    figure.update_yaxes(visible=False, range=[0, 2.12], fixedrange=True)
    for name, (x, y, title, identifier) in nodes.items():
        _node(figure, x, y, f"<b>{title}</b>", identifier, _worst(name, checks))
    for x, label in ((1.0, trigger), (2.0, "createUser"), (3.0, "PutItem")):
        _arrow(figure, x - 0.085, 1.5, x + 0.085, 1.5)
        figure.add_annotation(x=x, y=2.0, text=label, showarrow=False, yanchor="middle", font={"size": 11})
    _arrow(figure, 1.5, 1.1, 1.5, 0.82)
    return figure


def _worst(name: str, checks: Sequence[Check]) -> Check:
    of = [check for check in checks if check.name in (name, *_ABOUT.get(name, ()))]
    return min(of, key=lambda check: list(STATUS_COLOURS).index(check.status), default=Check(name, "unknown", ""))


def _node(figure: go.Figure, x: float, y: float, title: str, identifier: str, worst: Check) -> None:
    colour = COLOURS[STATUS_COLOURS[worst.status]]
    dash = "dot" if worst.status == "unknown" else "solid"
    box = {"x0": x - 0.4, "x1": x + 0.4, "y0": y - 0.38, "y1": y + 0.38}
    line = {"color": colour, "width": 1 if worst.status == "ok" else 2, "dash": dash}
    figure.add_shape(type="rect", **box, line=line, fillcolor="rgba(125, 136, 153, 0.08)", layer="below")
    known = f'<span style="font-family: monospace">{escape(_short(identifier))}</span>' if identifier else "not known"
    text = f"{title}<br>{known}<br>{_said(worst)}"
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 11}, hovertext=escape(identifier))


def _said(worst: Check) -> str:
    if worst.name == "api_key" and worst.status in _KEY:
        return _KEY[worst.status]
    about = _WORDS.get(worst.name)
    return f"{_MARKS[worst.status]} {about}" if about and worst.status != "ok" else _STATUS[worst.status]


def _arrow(figure: go.Figure, x0: float, y0: float, x1: float, y1: float) -> None:
    figure.add_annotation(
        x=x1, y=y1, ax=x0, ay=y0, xref="x", yref="y", axref="x", ayref="y",
        arrowhead=2, arrowsize=1, arrowwidth=1.5, arrowcolor=COLOURS["grey"], text="",
    )  # fmt: skip


def _short(text: str, most: int = 20) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[: half - 1]}…{text[-half:]}"


# Which further checks are about a link of the chain, and what each of them looks at.
_ABOUT = {
    "pool": ("trigger",),
    "function": ("runtime", "invoke_permission", "time_out", "environment"),
    "api": ("api_key", "data_source"),
    "table": ("versions", "protection"),
    "log_group": ("log_retention", "log_format", "metrics"),
}
_WORDS = {
    "trigger": "its trigger",
    "runtime": "its runtime",
    "invoke_permission": "Cognito's right",
    "time_out": "its time-out",
    "environment": "its environment",
    "data_source": "its table",
    "versions": "row versions",
    "protection": "its protection",
    "log_retention": "its retention",
    "log_format": "its format",
    "metrics": "its counts",
}
_MARKS = {"problem": "✕", "warning": "!", "unknown": "?"}
_KEY = {"problem": "✕ its key has expired", "warning": "! its key expires soon", "ok": "✓ answers"}
_STATUS = {"ok": "✓ answers", "warning": "! look at this", "problem": "✕ does not answer", "unknown": "? not checked"}


def _layout(**layout: Any) -> go.Layout:
    # The grey stands in a template, not in the layout: so the dashboard's theme replaces it.
    axis = {"gridcolor": _GRID, "zeroline": False, "linecolor": _GRID}
    neutral = {
        "font": {"color": _INK, "size": 12},
        "xaxis": axis | {"showgrid": False},
        "yaxis": axis,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left"},
    }
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}, "traceorder": "normal"}
    shown: dict[str, Any] = {
        "template": {"layout": neutral},
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "legend": legend,
        # An axis without a title still keeps the theme's distance to one.
        "xaxis": {"title": {"text": "", "standoff": 0}},
        "yaxis": {"title": {"text": "", "standoff": 0}},
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    return go.Layout(**shown | layout)


def _hatch() -> dict[str, Any]:
    return {"shape": "/", "fgcolor": COLOURS["grey"], "bgcolor": "rgba(0,0,0,0)", "size": 5, "solidity": 0.35}
