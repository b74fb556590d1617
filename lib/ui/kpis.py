"""The figures at the head of Overview, each with its change against the period before and its course."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from lib import charts
from lib.ui import cards
from lib.views import trends
from lib.views.overview import Figure, Overview

_WIDE, _HIGH = 300, 44
_SILENT = "The trigger finished without an error, yet no row was written."
_SILENT_HELP = {
    (True, True): _SILENT,
    (True, False): f"{_SILENT} The log does not cover the whole period before.",
    (False, False): "Not known: the trigger's log was not read, or does not reach into this period.",
}


@dataclass(frozen=True)
class _Kpi:
    """One card; without a ``change`` it says that there is nothing to compare with."""

    label: str
    value: str | None
    change: str | int | None
    colour: Any
    figure: Figure
    shape: Literal["line", "bar", "area"]
    help: str | None = None


def kpis(shown: Overview) -> None:
    """Show the four figures of the period with the change against the one before and their course."""
    words = f"vs previous {trends.RANGES[shown.name][0]}"
    found = (_sign_ups(shown), _missing(shown), _silent(shown), _in_sync(shown))
    for place, kpi in zip(st.columns(len(found), gap="small"), found, strict=True):
        with place:
            _card(kpi, words)


def _sign_ups(shown: Overview) -> _Kpi:
    figure = shown.figures.sign_ups
    return _Kpi("Sign-ups", _count(figure.value), _growth(figure), "gray", figure, "area")


def _missing(shown: Overview) -> _Kpi:
    figure = shown.figures.missing
    colour = "red" if figure.value else "gray"
    told = "Accounts of this period without a row, whatever the reason."
    return _Kpi("Rows missing", _count(figure.value), _change(figure), colour, figure, "bar", told)


def _silent(shown: Overview) -> _Kpi:
    figure = shown.figures.silent
    colour = "orange" if figure.value else "gray"
    told = _SILENT_HELP[figure.value is not None, figure.before is not None]
    return _Kpi("Silent failures", _count(figure.value), _change(figure), colour, figure, "bar", told)


def _in_sync(shown: Overview) -> _Kpi:
    figure = shown.figures.in_sync
    falls = figure.value is not None and figure.value < (figure.before or 0)
    colour = "green" if figure.value == 1 else "red" if falls else "gray"
    share = None if figure.value is None else f"{figure.value:.1%}"
    told = "Share of this period's accounts whose row is there and agrees with the account."
    return _Kpi("In sync", share, _points(figure), colour, figure, "line", told)


def _card(kpi: _Kpi, words: str) -> None:
    # Without a delta the card would lose its colour and its line of the row.
    is_known = kpi.change is not None
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.metric(
            kpi.label,
            kpi.value,
            kpi.change if is_known else "not comparable",
            kpi.colour,
            help=kpi.help,
            delta_arrow="auto" if is_known else "off",
            delta_description=words if is_known else None,
        )
        # The sparkline of st.metric draws marks without a name for screen readers, and loads Vega for them.
        drawing = _sparkline(kpi.figure.course, kpi.shape, kpi.colour)
        st.image(drawing, width="stretch", alt=f"{kpi.label}: course over the period")


def _sparkline(course: Sequence[float], shape: str, colour: str) -> str:
    ink = charts.COLOURS["grey" if colour == "gray" else colour]
    heights = _heights(cards.thinned(course, 30) if shape == "bar" else course, from_zero=shape != "line")
    step = _WIDE / max(1, len(heights) - (shape != "bar"))
    if shape == "bar":
        drawn = "".join(
            f'<rect x="{step * (place + 0.25):.1f}" y="{_HIGH - height:.1f}" width="{step / 2:.1f}"'
            f' height="{height:.1f}" rx="1" fill="{ink}"/>'
            for place, height in enumerate(heights)
        )
    else:
        line = " ".join(f"{step * place:.1f},{_HIGH - height:.1f}" for place, height in enumerate(heights))
        drawn = f'<polyline points="{line}" fill="none" stroke="{ink}" stroke-width="2"/>'
        if shape == "area":
            drawn += f'<polygon points="0,{_HIGH} {line} {_WIDE},{_HIGH}" fill="{ink}" fill-opacity="0.14"/>'
    size = f'viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{drawn}</svg>'


def _heights(course: Sequence[float], *, from_zero: bool) -> list[float]:
    low = 0 if from_zero else min(course, default=0)
    span = max(course, default=0) - low
    least = 0 if from_zero else 2
    return [least + (_HIGH - 4) * (value - low) / span if span else least for value in course]


def _count(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _growth(figure: Figure) -> str | int | None:
    if not figure.before or figure.value is None:
        return None
    return _signed(100 * (figure.value - figure.before) / figure.before, "{:+.1f}%")


def _change(figure: Figure) -> str | int | None:
    if figure.before is None or figure.value is None:
        return None
    return _signed(figure.value - figure.before, "{:+,.0f}")


def _points(figure: Figure) -> str | int | None:
    if figure.before is None or figure.value is None:
        return None
    return _signed(100 * (figure.value - figure.before), "{:+.1f} pt")


def _signed(change: float, form: str) -> str | int:
    # Streamlit draws an arrow at "+0.0%", none at the number 0.
    text = form.format(change)
    return 0 if not any(digit in text for digit in "123456789") else text
