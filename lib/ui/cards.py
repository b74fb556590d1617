"""The cards of Overview and Failures: what was counted, shown; nothing is counted here."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pandas as pd
import streamlit as st

from lib import charts, display
from lib.model import HEALTHY, SITUATIONS
from lib.ui import frame
from lib.views import trends

BADGES = {"slate": "gray", "grey": "gray", "pink": "red"}
_LISTED = 200
_WIDE, _HIGH = 300, 44
_SILENT = "The trigger finished without an error, yet no row was written."
_SILENT_HELP = {
    (True, True): _SILENT,
    (True, False): f"{_SILENT} The log does not cover the whole period before.",
    (False, False): "Not known: the trigger's log was not read, or does not reach into this period.",
}
PLOT = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


@st.cache_data(max_entries=64, show_spinner=False)
def _overview(environment: str, stamp: str, mark: int, name: str, _opened: frame.Opened) -> trends.Overview:
    return trends.overview(_opened.snapshot, name)


def overview(opened: frame.Opened, name: str) -> trends.Overview:
    """Return what Overview shows of a period, counted once per snapshot and state of the journal."""
    return _overview(opened.env.name, str(opened.snapshot.stamp), opened.mark, name, opened)


def range_choice(key: str = "range", default: str = "30d") -> str:
    """Show the choice of the period, kept in the URL, and return its name in ``trends.RANGES``."""
    chosen: str = st.segmented_control(
        "Period",
        list(trends.RANGES),
        default=default,
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen


def badge(situation: str) -> str:
    """Return the Markdown of a situation's badge."""
    colour = charts.SITUATION_COLOURS[situation]
    return f":{BADGES.get(colour, colour)}-badge[{SITUATIONS[situation]}]"


def kpis(shown: trends.Overview) -> None:
    """Show the four figures of the period with the change against the one before and their course."""
    found, words = shown.figures, f"vs previous {trends.RANGES[shown.name][0]}"
    cards = st.columns(4, gap="small")
    with cards[0]:
        _metric(
            "Sign-ups", _count(found.sign_ups.value), _growth(found.sign_ups), words, "gray", found.sign_ups, "area"
        )
    with cards[1]:
        _metric(
            "Rows missing",
            _count(found.missing.value),
            _change(found.missing),
            words,
            "red" if found.missing.value else "gray",
            found.missing,
            "bar",
            help="Accounts of this period without a row, whatever the reason.",
        )
    with cards[2]:
        _metric(
            "Silent failures",
            _count(found.silent.value),
            _change(found.silent),
            words,
            "orange" if found.silent.value else "gray",
            found.silent,
            "bar",
            help=_SILENT_HELP[found.silent.value is not None, found.silent.before is not None],
        )
    with cards[3]:
        falls = found.in_sync.value is not None and found.in_sync.value < (found.in_sync.before or 0)
        colour = "green" if found.in_sync.value == 1 else "red" if falls else "gray"
        _metric(
            "In sync",
            None if found.in_sync.value is None else f"{found.in_sync.value:.1%}",
            _points(found.in_sync),
            words,
            colour,
            found.in_sync,
            "line",
            help="Share of this period's accounts whose row is there and agrees with the account.",
        )


def situation_card(shown: trends.Overview) -> None:
    """Show how many pairs are in which situation, each a link to them, and the way to repair."""
    st.subheader("Situations", anchor=False)
    with st.container(gap="xxsmall"):
        for line in shown.situations.to_dict("records"):
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.page_link(
                    "pages/accounts.py",
                    label=badge(line["situation"]),
                    icon=":material/chevron_right:",
                    icon_position="right",
                    query_params=frame.with_environment(situation=line["situation"]),
                )
                st.markdown(f"{line['count']:,}", width=64, text_alignment="right")
    found = shown.situations[~shown.situations["situation"].isin(HEALTHY)]
    if found.empty:
        st.caption("Nothing needs attention: every account has its row.")
        return
    repairable = int(found["repairable"].sum())
    st.caption(f"{found['count'].sum():,} findings need attention; {repairable:,} of them can be repaired.")
    if st.button(
        "Review and repair", type="primary", icon=":material/arrow_forward:", icon_position="right", width="stretch"
    ):
        st.switch_page("pages/accounts.py", query_params=frame.with_environment(situation=found["situation"].iloc[0]))


def outcome_chart(shown: trends.Overview) -> None:
    """Show the sign-ups by outcome; a click on a bar puts it into the URL as `bar`."""
    st.subheader("Sign-ups by outcome", anchor=False)
    total, lost = shown.figures.sign_ups.value or 0, shown.figures.missing.value or 0
    st.plotly_chart(
        charts.outcome_bars(shown.counted),
        key="overview_bars",
        on_select=_choose_bar,
        selection_mode="points",
        config=PLOT,
        alt=f"Sign-ups by outcome over {trends.RANGES[shown.name][0]}: {total:,}, of which {lost:,} have no row",
    )
    with st.container(gap="xxsmall"):
        _below_the_chart(shown)


def _below_the_chart(shown: trends.Overview) -> None:
    unit = "hours" if shown.over.step < timedelta(days=1) else "days"
    st.caption(f"Bars are {unit}, UTC. Click one to list its sign-ups below.")
    _stalls(shown)
    if shown.reach is not None and shown.reach > shown.over.start:
        st.caption(f"The log reaches back to {shown.reach:%-d %b %Y}: what was lost before has no known cause.")
    if shown.reach is None:
        st.caption("The trigger's log was not read: causes and rejected sign-ups are not known.")


def _stalls(shown: trends.Overview) -> None:
    worst = shown.stalls.sort_values("lost", ascending=False).head(2)
    for line in worst.to_dict("records"):
        until = "" if pd.isna(line["until"]) else f" to {line['until']:%-d %b %H:%M}"
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(
                f":material/warning: No row {'from' if until else 'since'} {line['since']:%-d %b %H:%M}{until} UTC:"
                f" {line['lost']:,} sign-ups in a row lost theirs.",
                width="content",
            )
            st.page_link(
                "pages/accounts.py",
                label="First account lost",
                query_params=frame.with_environment(account=line["sub"]),
            )
    if len(shown.stalls) > len(worst):
        more = len(shown.stalls) - len(worst)
        st.caption(f"{more} smaller gap{'s' if more > 1 else ''} in this period.")


def chosen_bar(shown: trends.Overview) -> trends.Period | None:
    """Return the bar that the URL names, None where it names none of this period."""
    try:
        start = datetime.fromisoformat(st.query_params.get("bar", "")).replace(tzinfo=UTC)
    except ValueError:
        return None
    return shown.over.bar(start) if start in set(shown.counted["at"]) else None


def forget_bar() -> None:
    """Take the chosen bar out of the URL."""
    st.query_params.pop("bar", None)


def losses_card(opened: frame.Opened, shown: trends.Overview) -> None:
    """Show the latest sign-ups without a row, or all those of the chosen bar; each opens its account."""
    bar = chosen_bar(shown)
    if bar is None:
        st.subheader("Latest sign-ups without a row", anchor=False)
        _sign_ups_table(shown.losses, "No sign-up of this period lost its row.")
        return
    when = bar.start.strftime("%-d %b, %H:%M UTC" if bar.step < timedelta(days=1) else "%-d %b")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(f"Sign-ups of {when}", anchor=False, width="content")
        st.button("Latest losses", icon=":material/close:", type="tertiary", on_click=forget_bar)
    found = trends.members(opened.snapshot, bar, trends.OUTCOMES, limit=_LISTED, worst_first=True)
    _sign_ups_table(found, "Nobody signed up then.")
    if len(found) == _LISTED:
        st.caption(f"The first {_LISTED} of them, losses first.")


def funnel_card(shown: trends.Overview) -> None:
    """Show how far the sign-ups of the period got."""
    st.subheader("How far sign-ups got", anchor=False)
    stages = ", ".join(f"{line['stage'].lower()} {line['count']:,}" for line in shown.funnel.to_dict("records"))
    st.plotly_chart(charts.stage_bars(shown.funnel), key="overview_funnel", config=PLOT, alt=f"Sign-ups: {stages}")
    if shown.counted["unknown"].any():
        st.caption("Where no log says so, only a row proves that the trigger ran.")


def history_card(opened: frame.Opened) -> None:
    """Show the findings of past snapshots, as soon as there are two."""
    counted = _history(opened.env.name, str(opened.snapshot.stamp), opened)
    if counted["at"].nunique() < 2:
        return
    with st.container(border=True):
        st.subheader("Findings over past snapshots", anchor=False)
        st.plotly_chart(
            charts.situation_lines(counted),
            key="overview_history",
            config=PLOT,
            alt=f"Findings by situation in the last {counted['at'].nunique()} snapshots",
        )
        st.caption("As each snapshot judged them; a refresh adds one.")


@st.cache_data(max_entries=8, show_spinner=False)
def _history(environment: str, stamp: str, _opened: frame.Opened) -> pd.DataFrame:
    return trends.history(_opened.env.history())


def thinned(course: Sequence[float], most: int) -> list[float]:
    """Return a course with neighbours added up, so that it has no more than so many points."""
    width = -(-len(course) // most)
    return [sum(course[start : start + width]) for start in range(0, len(course), width)]


def masked(email: object) -> str:
    """Return an e-mail as it may leave the server: masked, on one line; empty where there is none."""
    return "" if pd.isna(email) else display.visible(display.mask_email(str(email)) or "")  # type: ignore[call-overload]


def told(text: object) -> str:
    """Return a text from a log as it may leave the server: e-mails masked, on one line; empty where there is none."""
    return "" if pd.isna(text) else display.visible(display.mask_emails(str(text)))  # type: ignore[call-overload]


def account_link(sub: object) -> str:
    """Return the link to an account's timeline; empty where there is no account."""
    return "" if pd.isna(sub) else frame.link("accounts", account=str(sub))  # type: ignore[call-overload]


def _sign_ups_table(found: pd.DataFrame, nothing: str) -> None:
    if found.empty:
        st.caption(nothing)
        return
    st.dataframe(
        pd.DataFrame(
            {
                "When": found["signed_up_at"],
                "Signed up": found["signed_up_at"],
                "E-mail": [masked(email) for email in found["email"]],
                "Sub": ["" if pd.isna(sub) else str(sub)[:8] for sub in found["sub"]],
                "Why": [told(why) for why in found["why"]],
                "Open": [account_link(sub) for sub in found["sub"]],
            }
        ),
        column_config={
            "When": st.column_config.DatetimeColumn(format="distance", timezone="UTC"),
            "Signed up": st.column_config.DatetimeColumn("Signed up (UTC)", format="D MMM, HH:mm", timezone="UTC"),
            "Open": st.column_config.LinkColumn(display_text="Timeline", alignment="left"),
        },
        hide_index=True,
        row_height=34,
        height=min(34 * (len(found) + 1) + 3, 34 * 9 + 3),
        alt="Sign-ups, newest first, with the reason and a link to the account",
    )


def _choose_bar() -> None:
    points = st.session_state["overview_bars"]["selection"]["points"]
    if points:
        st.query_params["bar"] = points[0]["x"].replace(" ", "T")
    else:
        forget_bar()


def _metric(
    label: str,
    value: str | None,
    delta: str | int | None,
    words: str,
    colour: Any,
    figure: trends.Figure,
    shape: Literal["line", "bar", "area"],
    help: str | None = None,
) -> None:
    # Without a delta the card would lose its colour and its line of the row.
    is_known = delta is not None
    with st.container(border=True, height="stretch", gap="xsmall"):
        st.metric(
            label,
            value,
            delta if is_known else "not comparable",
            colour,
            help=help,
            delta_arrow="auto" if is_known else "off",
            delta_description=words if is_known else None,
        )
        # The sparkline of st.metric draws marks without a name for screen readers, and loads Vega for them.
        drawing = _sparkline(figure.course, shape, colour)
        st.image(drawing, width="stretch", alt=f"{label}: course over the period")


def _sparkline(course: Sequence[float], shape: str, colour: str) -> str:
    ink = charts.COLOURS["grey" if colour == "gray" else colour]
    heights = _heights(thinned(course, 30) if shape == "bar" else course, from_zero=shape != "line")
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


def _growth(figure: trends.Figure) -> str | int | None:
    if not figure.before or figure.value is None:
        return None
    return _signed(100 * (figure.value - figure.before) / figure.before, "{:+.1f}%")


def _change(figure: trends.Figure) -> str | int | None:
    if figure.before is None or figure.value is None:
        return None
    return _signed(figure.value - figure.before, "{:+,.0f}")


def _points(figure: trends.Figure) -> str | int | None:
    if figure.before is None or figure.value is None:
        return None
    return _signed(100 * (figure.value - figure.before), "{:+.1f} pt")


def _signed(change: float, form: str) -> str | int:
    # Streamlit draws an arrow at "+0.0%", none at the number 0.
    text = form.format(change)
    return 0 if not any(digit in text for digit in "123456789") else text


def log_was_read(opened: frame.Opened) -> bool:
    """Return whether the snapshot holds the trigger's log; where not, say why and what to do."""
    source = opened.snapshot.manifest["sources"]["invocations"]
    if source["complete"] or source["count"]:
        return True
    arrow = ":material/arrow_forward:"
    with st.container(border=True):
        st.subheader("The trigger's log was not read", anchor=False)
        st.text(display.safe(source["why_not"] or "No log group is known."))
        st.caption("Situations are shown all the same; causes and failures need the log.")
        st.page_link("pages/wiring.py", label="See what is missing", icon=arrow, query_params=frame.with_environment())
    return False


def facts(values: Mapping[str, str | None]) -> None:
    """Show names and values below each other; what is not known is left out. Values are shown as they are."""
    with st.container(gap="xxsmall"):
        for name, value in values.items():
            if value is None or pd.isna(value):
                continue
            label, text = st.columns([1, 3], gap="small")
            label.caption(name)
            text.text(display.visible(value))
