"""The parts of the Wiring page: the chain drawn, what to fix, what answers, and what the evidence rests on."""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import streamlit as st

from lib import charts, display
from lib.aws.discovery import Check
from lib.model import Wiring
from lib.ui import cards, frame
from lib.views import trends

_ORDER = ("problem", "warning", "unknown")
_ICONS = {"problem": "error", "warning": "warning", "unknown": "help", "ok": "check_circle"}
_COLOURS: dict[str, Literal["red", "orange", "gray", "green"]] = {
    "problem": "red",
    "warning": "orange",
    "unknown": "gray",
    "ok": "green",
}
_PROMISES = {
    "pre_sign_up": "PreSignUp: every sign-up is promised a row",
    "post_confirmation": "PostConfirmation: every confirmed sign-up is promised a row",
}


@st.cache_data(ttl="5m", max_entries=8, show_spinner="Asking every part of the chain …")
def _ask(environment: str, stamp: str, _opened: frame.Opened) -> tuple[Wiring, list[Check]]:
    wiring, checks = _opened.env.wiring()
    return wiring, checks


def ask(opened: frame.Opened) -> tuple[Wiring, list[Check]]:
    """Return the chain and its checks, asked once per snapshot and five minutes."""
    return _ask(opened.env.name, str(opened.snapshot.stamp), opened)


def chain(wiring: Wiring, checks: Sequence[Check]) -> None:
    """Show the chain with the state of each link."""
    words = ", ".join(f"{check.title} ({check.status})" for check in checks)
    st.plotly_chart(
        charts.chain(wiring, checks, ink="#E6E9EF" if st.context.theme.type == "dark" else "#14181F"),
        key="wiring_chain",
        config={"staticPlot": True},
        alt=f"The chain from the user pool over the trigger to the table. {words}",
    )


def to_fix(checks: Sequence[Check]) -> None:
    """Show what does not answer or soon will not, problems first, each with cause, fix and impact."""
    found = sorted((check for check in checks if check.status != "ok"), key=lambda check: _ORDER.index(check.status))
    if not found:
        return
    st.subheader(f"{len(found)} to fix", anchor=False)
    for check in found:
        with st.container(border=True, gap="xsmall"):
            colour, icon = _COLOURS[check.status], _ICONS[check.status]
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown(f":{colour}[:material/{icon}:] **{check.title}**", width="content")
                if check.impact:
                    st.badge(check.impact.rstrip("."), color=colour)
            # The cause quotes AWS: plain text, on one line, without addresses.
            if check.cause:
                st.text(_plain(check.cause))
            if check.fix:
                st.caption(f"Fix: {check.fix}")


def healthy(wiring: Wiring, checks: Sequence[Check]) -> None:
    """Show the links that answer, a line each."""
    found = [check for check in checks if check.status == "ok"]
    if not found:
        return
    st.subheader(f"{len(found)} healthy", anchor=False)
    with st.container(border=True, gap="xsmall"):
        for check in found:
            title, name = st.columns([1, 3], gap="small", vertical_alignment="center")
            title.markdown(f":green[:material/check_circle:] {check.title}")
            answered = wiring.identity if check.name == "identity" else check.cause
            if answered:
                name.markdown(f"`{_plain(answered).replace('`', chr(39))}`")


def rests_on(opened: frame.Opened, wiring: Wiring) -> None:
    """Show who reads what where, what the wiring promises, and how far the log proves anything."""
    who, promise, log = st.columns(3, gap="small")
    with who, st.container(border=True, height="stretch"):
        st.subheader("Read as", anchor=False)
        cards.facts({"Identity": wiring.identity or "not known", "Region": wiring.region, **_endpoints(wiring)})
    with promise, st.container(border=True, height="stretch"):
        st.subheader("Expected", anchor=False)
        cards.facts(
            {
                "Trigger": _PROMISES[wiring.trigger],
                "Row of": f"the account's {wiring.correlation}" if wiring.correlation else "not known",
                "Versioned": "yes: written through AppSync" if wiring.versioned else "no",
                "Grace": f"{wiring.grace_minutes:g} minutes before anything is called missing",
            }
        )
    with log, st.container(border=True, height="stretch"):
        st.subheader("Log evidence", anchor=False)
        reach, source = trends.log_reach(opened.snapshot), opened.snapshot.manifest["sources"]["invocations"]
        created, days = wiring.group_created_at, wiring.retention_days
        cards.facts(
            {
                "Reaches to": f"{reach:%-d %b %Y, %H:%M} UTC" if reach else "nowhere: it was not read",
                "Runs": f"{source['count']:,}",
                "Group since": f"{created:%-d %b %Y, %H:%M} UTC" if created else None,
                "Kept for": f"{days} days" if days else "ever",
                "Why not": None if source["complete"] else _plain(source["why_not"] or "not known"),
            }
        )


def warnings(wiring: Wiring) -> None:
    """Show what discovery could not find out or tell apart."""
    if not wiring.warnings:
        return
    with st.container(border=True, gap="xsmall"):
        st.subheader("Not found out", anchor=False)
        for warning in wiring.warnings:
            st.text(_plain(warning))


def _endpoints(wiring: Wiring) -> dict[str, str | None]:
    hosts = {service: urlsplit(url).netloc for service, url in wiring.endpoints.items()}
    if len(set(hosts.values())) == 1:
        return {"Endpoint": next(iter(hosts.values()))}
    return dict(hosts)


def _plain(text: str) -> str:
    return display.visible(display.mask_emails(text))
