"""The cards of Overview: what was counted, shown; nothing is counted here."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from lib import charts
from lib.display import counted
from lib.model import HEALTHY
from lib.ui import cards, choice, frame, table
from lib.views import overview as counting
from lib.views import trends
from lib.views.overview import Overview

_LISTED = 200
_DAY = timedelta(days=1)
_OVERWRITTEN = "overwritten"  # in the URL


@st.cache_data(max_entries=64, show_spinner=False)
def _overview(environment: str, stamp: str, mark: int, name: str, _opened: frame.Opened) -> Overview:
    return counting.overview(_opened.snapshot, name)


def overview(opened: frame.Opened, name: str) -> Overview:
    """Return what Overview shows of a period, counted once per snapshot and state of the journal."""
    return _overview(opened.env.name, str(opened.snapshot.stamp), opened.mark, name, opened)


def situation_card(shown: Overview) -> None:
    """Show how many pairs are in which situation, each a link to them, and the way to repair."""
    st.subheader("Situations", anchor=False)
    with st.container(gap="xxsmall"):
        for line in shown.situations.to_dict("records"):
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.page_link(
                    "pages/accounts.py",
                    label=cards.badge(line["situation"]),
                    icon=":material/chevron_right:",
                    icon_position="right",
                    query_params=frame.with_environment(situation=line["situation"]),
                )
                st.markdown(f"{line['count']:,}", width="content", text_alignment="right")
    _overwritten(shown)
    found = shown.situations[~shown.situations["situation"].isin(HEALTHY)]
    if found.empty:
        st.caption("Nothing needs attention: every account has its row.")
        return
    repairable = int(found["repairable"].sum())
    st.caption(f"{found['count'].sum():,} findings need attention; for {repairable:,} of them a repair is at hand.")
    if st.button(
        "Review and repair", type="primary", icon=":material/arrow_forward:", icon_position="right", width="stretch"
    ):
        st.switch_page("pages/accounts.py", query_params=frame.with_environment(situation=found["situation"].iloc[0]))


def _overwritten(shown: Overview) -> None:
    count = shown.overwritten.attrs["count"]
    if count:
        st.button(
            f"{counted(count, 'row')} overwritten by a password reset",
            icon=":material/warning:",
            type="tertiary",
            on_click=lambda: choice.go(list=_OVERWRITTEN, bar=None),
            key="overview_overwritten",
        )


def outcome_chart(shown: Overview) -> None:
    """Show the sign-ups by outcome; a click on a bar puts it into the URL as `bar`."""
    st.subheader("Sign-ups by outcome", anchor=False)
    total, lost = shown.figures.sign_ups.value or 0, shown.figures.missing.value or 0
    st.plotly_chart(
        charts.outcome_bars(shown.counted),
        key="overview_bars",
        on_select=_choose_bar,
        selection_mode="points",
        config=cards.PLOT,
        alt=f"Sign-ups by outcome over {trends.RANGES[shown.name][0]}: {total:,}, of which {lost:,} have no row",
    )
    with st.container(gap="xxsmall"):
        _below_the_chart(shown)


def _below_the_chart(shown: Overview) -> None:
    unit = "hours" if shown.over.step < _DAY else "days"
    st.caption(f"Bars are {unit}, UTC. Click one to list its sign-ups below.")
    _stalls(shown)
    if shown.reach is not None and shown.reach > shown.over.start:
        st.caption(f"The log reaches back to {shown.reach:%-d %b %Y}: what was lost before has no known cause.")
    if shown.reach is None:
        st.caption("The trigger's log was not read: causes and rejected sign-ups are not known.")


def _stalls(shown: Overview) -> None:
    worst = shown.stalls.sort_values("lost", ascending=False).head(2)
    for line in worst.to_dict("records"):
        until = "" if pd.isna(line["until"]) else f" to {line['until']:%-d %b %H:%M}"
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(
                f":material/warning: No row {'from' if until else 'since'} {line['since']:%-d %b %H:%M}{until} UTC:"
                f" {line['lost']:,} sign-ups in a row lost theirs.",
                width="content",
            )
            if not pd.isna(line["sub"]):
                st.page_link(
                    "pages/accounts.py",
                    label="First account lost",
                    query_params=frame.with_environment(account=line["sub"]),
                )
    if len(shown.stalls) > len(worst):
        more = len(shown.stalls) - len(worst)
        st.caption(f"{more} smaller gap{'s' if more > 1 else ''} in this period.")


def chosen_bar(shown: Overview) -> trends.Period | None:
    """Return the bar that the URL names, None where it names none of this period."""
    try:
        start = datetime.fromisoformat(st.query_params.get("bar", "")).replace(tzinfo=UTC)
    except ValueError:
        return None
    return shown.over.bar(start) if start in set(shown.counted["at"]) else None


def losses_card(opened: frame.Opened, shown: Overview) -> None:
    """Show the latest sign-ups without a row, or what the URL asks for: a bar's, or those whose row was overwritten."""
    named, bar = st.query_params.get("bar", ""), chosen_bar(shown)
    if st.query_params.get("list") == _OVERWRITTEN:
        _headline("Rows overwritten by a password reset")
        st.caption(
            "The trigger also ran when the password was reset, and wrote the row anew: what the app kept is lost."
        )
        _listed(shown.overwritten, "No row was overwritten.", shown.overwritten.attrs["count"])
    elif bar is not None:
        _headline(f"Sign-ups of {bar.start.strftime('%-d %b, %H:%M UTC' if bar.step < _DAY else '%-d %b')}")
        found = trends.members(opened.snapshot, bar, trends.OUTCOMES, limit=_LISTED, worst_first=True)
        total = int(shown.counted.loc[shown.counted["at"] == bar.start, list(trends.OUTCOMES)].to_numpy().sum())
        _listed(found, "Nobody signed up then.", total)
    else:
        st.subheader("Latest sign-ups without a row", anchor=False)
        if named:
            st.caption("The link names a bar that is not in this period; these are the latest losses instead.")
        _sign_ups_table(shown.losses, "No sign-up of this period lost its row.")


def _headline(title: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(title, anchor=False, width="content")
        back = {"bar": None, "list": None}
        st.button("Latest losses", icon=":material/close:", type="tertiary", on_click=lambda: choice.go(**back))


def _listed(found: pd.DataFrame, nothing: str, total: int) -> None:
    _sign_ups_table(found, nothing)
    if total > len(found):
        st.caption(f"The first {len(found):,} of {total:,}.")


def funnel_card(shown: Overview) -> None:
    """Show how far the sign-ups of the period got."""
    st.subheader("How far sign-ups got", anchor=False)
    stages = ", ".join(f"{line['stage'].lower()} {line['count']:,}" for line in shown.funnel.to_dict("records"))
    st.plotly_chart(
        charts.stage_bars(shown.funnel), key="overview_funnel", config=cards.PLOT, alt=f"Sign-ups: {stages}"
    )
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
            config=cards.PLOT,
            alt=f"Findings by situation in the last {counted['at'].nunique()} snapshots",
        )
        st.caption("As each snapshot judged them; a refresh adds one.")


@st.cache_data(max_entries=8, show_spinner=False)
def _history(environment: str, stamp: str, _opened: frame.Opened) -> pd.DataFrame:
    return trends.history(_opened.env.history())


def _sign_ups_table(found: pd.DataFrame, nothing: str) -> None:
    if found.empty:
        st.caption(nothing)
        return
    st.dataframe(
        pd.DataFrame(
            {
                "When": found["signed_up_at"],
                "Signed up": found["signed_up_at"],
                "E-mail": [table.email(email, reveal=False) for email in found["email"]],
                "Sub": [table.cell(sub, reveal=True)[:8] for sub in found["sub"]],
                "Why": [table.cell(why, reveal=False) for why in found["why"]],
                "Open": [cards.account_link(sub) for sub in found["sub"]],
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
    choice.go(bar=points[0]["x"].replace(" ", "T") if points else None, list=None)
