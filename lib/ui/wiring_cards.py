"""The parts of the Wiring page: the chain drawn, what to fix, what answers, and what the evidence rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from lib import charts, display
from lib.aws.discovery import Check
from lib.aws.functions import name_of
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


@dataclass(frozen=True)
class Asked:
    """What one look at the chain gave; ``facts`` tell what is known of each link, by the name of its check."""

    wiring: Wiring
    checks: list[Check]
    facts: dict[str, str]


@st.cache_data(ttl="5m", max_entries=8, show_spinner="Asking every part of the chain …")
def _ask(environment: str, stamp: str, _opened: frame.Opened) -> Asked:
    # The chain itself holds the function's variables: they are kept nowhere.
    chain, checks = _opened.env.links()
    return Asked(chain.wiring, checks, chain.told())


def ask(opened: frame.Opened) -> Asked:
    """Return the chain and its checks, asked once per snapshot and five minutes."""
    return _ask(opened.env.name, str(opened.snapshot.stamp), opened)


def chain(asked: Asked) -> None:
    """Show the chain with the state of each link."""
    words = ", ".join(f"{check.title} ({check.status})" for check in asked.checks)
    st.plotly_chart(
        charts.chain(asked.wiring, asked.checks, ink="#E6E9EF" if st.context.theme.type == "dark" else "#14181F"),
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


def healthy(asked: Asked) -> None:
    """Show the links that answer, a line each."""
    found = [check for check in asked.checks if check.status == "ok"]
    if not found:
        return
    st.subheader(f"{len(found)} healthy", anchor=False)
    with st.container(border=True, gap="xxsmall"):
        for check in found:
            title, name, facts = st.columns([9, 11, 10], gap="small", vertical_alignment="center")
            title.markdown(f":green[:material/check_circle:] {check.title}")
            answered = asked.wiring.identity if check.name == "identity" else check.cause
            if answered and answered.endswith("."):
                facts.caption(_plain(answered))
            elif answered:
                name.markdown(f"`{_plain(answered).replace('`', chr(39))}`")
            if check.name in asked.facts:
                facts.caption(_plain(asked.facts[check.name]))


def rests_on(opened: frame.Opened, wiring: Wiring) -> None:
    """Show who reads what where, what the wiring promises, and how far the log proves anything."""
    who, promise, log = st.columns(3, gap="small")
    with who, st.container(border=True, height="stretch"):
        st.subheader("Read as", anchor=False)
        cards.facts({"Identity": wiring.identity or "not known", "Region": wiring.region, **_endpoints(wiring)})
    with promise, st.container(border=True, height="stretch"):
        st.subheader("Expected", anchor=False)
        cards.facts(_expected(wiring))
    with log, st.container(border=True, height="stretch"):
        st.subheader("Log evidence", anchor=False)
        cards.facts(_log(opened, wiring))


def warnings(wiring: Wiring) -> None:
    """Show what discovery could not find out or tell apart."""
    if not wiring.warnings:
        return
    with st.container(border=True, gap="xsmall"):
        st.subheader("Not found out", anchor=False)
        for warning in wiring.warnings:
            st.text(_plain(warning))


def _expected(wiring: Wiring) -> dict[str, str | None]:
    others = [f"{kind} → {name_of(arn)}" for kind, arn in wiring.triggers.items() if kind != wiring.trigger]
    versioned = "yes: written through AppSync" if wiring.versioned else "no"
    return {
        "Trigger": _PROMISES[wiring.trigger],
        "Besides": ", ".join(others) or None,
        "Row of": f"the account's {wiring.correlation}" if wiring.correlation else "not known",
        "Versioned": versioned,
        "Conflicts": (wiring.conflict_handler or "handler not known") if wiring.versioned else None,
        "Grace": f"{wiring.grace_minutes:g} minutes before anything is called missing",
    }


def _log(opened: frame.Opened, wiring: Wiring) -> dict[str, str | None]:
    reach, source = trends.log_reach(opened.snapshot), opened.snapshot.manifest["sources"]["invocations"]
    created, days = wiring.group_created_at, wiring.retention_days
    return {
        "Reaches to": f"{reach:%-d %b %Y, %H:%M} UTC" if reach else "nowhere: it was not read",
        "Runs": f"{source['count']:,}",
        "Group since": f"{created:%-d %b %Y, %H:%M} UTC" if created else None,
        "Kept for": f"{days} days" if days else "ever",
        "Why not": None if source["complete"] else _plain(source["why_not"] or "not known"),
    }


def _endpoints(wiring: Wiring) -> dict[str, str | None]:
    """Return the URLs that are called, exactly, so that nobody takes one world for the other."""
    services = set(wiring.endpoints.values())
    called = {"All services": services.pop()} if len(services) == 1 else wiring.endpoints
    return {**called, "GraphQL": wiring.graphql_url}


def _plain(text: str) -> str:
    return display.visible(display.mask_emails(text))
