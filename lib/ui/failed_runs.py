"""The sign-ups and runs of one group of failures, and the run that is opened: attempts, facts, raw log."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from lib.ui import cards, choice, frame, raw_log, table
from lib.views import failures, retries, trends
from lib.views.lookup import Record
from lib.views.timeline import is_late

_MOST = 100
_BY = ("Sign-ups", "Runs")
_STARTED = st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss", timezone="UTC", width=118)
_COLUMNS = {
    "Started (UTC)": _STARTED,
    "Attempts": st.column_config.NumberColumn(width=70),
    "Became": st.column_config.TextColumn(width=165),
    "Took": st.column_config.TextColumn(width=62, help="From the first start to the last end"),
    "Streams": st.column_config.NumberColumn(width=64, help="Log streams: each is one instance of the function"),
    "Late": st.column_config.TextColumn(width=50, help="Ran, or wrote the row, after the 5 s that Cognito waits"),
    "E-mail": st.column_config.TextColumn(width=132),
    "Duration": st.column_config.NumberColumn(format="%,.0f ms"),
    "Account": st.column_config.LinkColumn(display_text="Timeline", alignment="left", width=72),
}


_NO_RUN = ("No such run", "No run of this snapshot has the id in this link. It may be newer than the last refresh.")
_NO_CHOICE = ("No run is open", "Choose a line: what the run said, its facts and its raw log appear here.")


@dataclass(frozen=True)
class Opened:
    """What the URL opens: a group of failures, a run with the attempts it belongs to; None or empty where nothing.

    ``named`` is what the URL says, also where nothing of this snapshot or period answers to it.
    """

    fingerprint: str | None
    attempts: tuple[Record, ...]
    key: str | None
    named_group: str
    named_run: str

    @property
    def run(self) -> Record | None:
        """The opened run."""
        return next((attempt for attempt in self.attempts if attempt["key"] == self.key), None)


def opened(page: frame.Opened, found: pd.DataFrame) -> Opened:
    """Return what the URL opens; without a word of it the first group."""
    group, named = st.query_params.get("group", ""), st.query_params.get("request", "")
    attempts = _sign_up(page, named)
    run = next((attempt for attempt in attempts if attempt["key"] == named), None)
    groups = list(found["fingerprint"])
    wanted = group or (run["fingerprint"] if run else None if named else next(iter(groups), None))
    return Opened(wanted if wanted in groups else None, attempts, named or None, group, named)


def listed(page: frame.Opened, name: str, now_open: Opened, *, reveal: bool) -> Opened:
    """Show the sign-ups or the runs of the opened group, and return what is open then: by default the latest one."""
    if now_open.fingerprint is None:
        _no_group(now_open, trends.RANGES[name][0])
        return now_open
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        by = st.segmented_control(
            "List", _BY, default=_BY[0], required=True, key="by", bind="query-params", label_visibility="collapsed"
        )
        st.caption("Attempts of one sign-up are one line" if by == _BY[0] else "Each run by itself", width="content")
    found = _list(page.env.name, page.snapshot.stamp, page.mark, name, now_open.fingerprint, by, page)
    first = (_sign_ups if by == _BY[0] else _runs)(found, now_open, reveal=reveal)
    if len(found) == _MOST:
        st.caption(f"The latest {_MOST}.")
    if now_open.key is not None:
        return now_open
    return Opened(now_open.fingerprint, _sign_up(page, first), first, now_open.named_group, "")


def opened_run(page: frame.Opened, now_open: Opened, *, reveal: bool) -> None:
    """Show the opened run: which attempt it is, what it said, its facts, its account, and its raw log on demand."""
    run = now_open.run
    if run is None:
        _nothing(*(_NO_RUN if now_open.named_run else _NO_CHOICE))
        return
    if len(now_open.attempts) > 1:
        _attempts(now_open)
    st.code(run["request_id"] or "no request id", language=None, wrap_lines=True)
    said = "\n".join(cards.told(line, reveal=reveal) for line in (run["said"] or "").split("\n"))
    st.code(said.strip() or unsaid(run["kind"]), language=None, wrap_lines=True)
    cards.facts(_facts(now_open, run))
    if run["sub"]:
        st.page_link(
            "pages/accounts.py",
            label="Timeline of the account",
            icon=":material/person:",
            query_params=frame.with_environment(account=run["sub"]),
        )
    else:
        st.caption("No account has the username of this run." if run["username"] else "The run names no account.")
    retention_days = page.snapshot.wiring.retention_days
    raw_log.shown(page.env, run, page="failures", reveal=reveal, retention_days=retention_days)


def unsaid(kind: str | None) -> str:
    """Return what stands in the place of an error where the run said none."""
    if kind == "incomplete":
        return "The log ends before the run does"
    return failures.KINDS[kind] if kind else "Finished without an error"


def ended(kind: str) -> str:
    """Return how a run ended, in words."""
    return failures.KINDS.get(kind, "Finished")


@st.cache_data(max_entries=64, show_spinner=False)
def _attempts_of(environment: str, stamp: str, mark: int, key: str, _opened: frame.Opened) -> tuple[Record, ...]:
    return tuple(retries.sign_up(_opened.snapshot, key))


@st.cache_data(max_entries=64, show_spinner=False)
def _list(
    environment: str, stamp: str, mark: int, name: str, fingerprint: str, by: str, _opened: frame.Opened
) -> pd.DataFrame:
    kept = retries.groups if by == _BY[0] else failures.invocations
    return kept(_opened.snapshot, trends.period(_opened.snapshot, name), fingerprint, _MOST)


def _sign_up(page: frame.Opened, key: str) -> tuple[Record, ...]:
    return _attempts_of(page.env.name, page.snapshot.stamp, page.mark, key, page) if key else ()


def _sign_ups(found: pd.DataFrame, now_open: Opened, *, reveal: bool) -> str:
    keys = [str(key) for key in found["key"]]
    holding = (key for key, each in zip(keys, found["keys"], strict=True) if now_open.key in each)
    choice.table(
        pd.DataFrame(
            {
                "Started (UTC)": found["started_at"],
                "Attempts": found["attempts"],
                "Became": [_became(line) for line in found.to_dict("records")],
                "Took": [f"{span / 1000:,.1f} s" for span in found["span_ms"]],
                "Late": ["late" if is_late else "" for is_late in found["is_late"]],
                "Streams": found["streams"],
                "E-mail": [table.email(email, reveal=reveal) for email in found["email"]],
                "Account": [cards.account_link(sub) for sub in found["sub"]],
            }
        ),
        _COLUMNS,
        keys,
        next(holding, None) if now_open.key else keys[0],
        name="request",
        alt="Sign-ups with a run of the chosen group, latest first; select one for its attempts",
        most=11,
    )
    return keys[0]


def _runs(found: pd.DataFrame, now_open: Opened, *, reveal: bool) -> str:
    keys = [str(key) for key in found["key"]]
    choice.table(
        pd.DataFrame(
            {
                "Started (UTC)": found["started_at"],
                "Request": [table.cell(request, reveal=False)[:8] for request in found["request_id"]],
                "Duration": found["duration_ms"],
                "Returned": ["Event returned" if kind == "completed" else ended(kind) for kind in found["outcome"]],
                "E-mail": [table.email(email, reveal=reveal) for email in found["email"]],
                "Account": [cards.account_link(sub) for sub in found["sub"]],
            }
        ),
        _COLUMNS,
        keys,
        now_open.key or keys[0],
        name="request",
        alt="Runs of the chosen group, latest first; select one for its facts",
        most=11,
    )
    return keys[0]


def _became(line: dict[Any, Any]) -> str:
    first, last = ended(line["first_end"]), ended(line["last_end"])
    return first if line["attempts"] == 1 else f"{first} → {last}"


def _attempts(now_open: Opened) -> None:
    words = {each["key"]: f"{each['attempt']} · {ended(each['kind'])}" for each in now_open.attempts}
    picker = f"failures_attempt_{table.digest(list(words))}"
    # The URL is the truth: a line of the table, a link and the picker lead to the same run.
    st.session_state[picker] = now_open.key
    st.segmented_control(
        "Attempts of this sign-up",
        list(words),
        format_func=lambda key: words[key],
        required=True,
        key=picker,
        on_change=lambda: choice.go(request=st.session_state[picker]),
    )


def _facts(now_open: Opened, run: Record) -> dict[str, str | None]:
    attempts = len(now_open.attempts)
    return {
        "Started": f"{run['started_at']:%-d %b %Y, %H:%M:%S} UTC, {frame.ago(run['started_at'])}",
        "Ended": _late(run),
        "Attempt": f"{run['attempt']} of {attempts}" if attempts > 1 else None,
        "Duration": _duration(run),
        "Memory": _memory(run),
        "Called for": run["trigger_source"],
        "Function": run["function"],
        "Log stream": run["log_stream"],
        "Suspicious": f"{run['suspicious']:,} of its lines name another run" if run["suspicious"] else None,
    }


def _late(run: Record) -> str | None:
    if not is_late(run):
        return None
    seconds = (
        run["duration_ms"] / 1000 if run["ended_at"] is None else (run["ended_at"] - run["started_at"]).total_seconds()
    )
    return f"{seconds:,.1f} s later: Cognito had given up"


def _duration(run: Record) -> str | None:
    if run["duration_ms"] is None:
        return None
    cold = "" if run["init_ms"] is None else f", after a cold start of {run['init_ms']:,.0f} ms"
    return f"{run['duration_ms']:,.0f} ms{cold}"


def _memory(run: Record) -> str | None:
    if run["max_memory_mb"] is None or run["memory_mb"] is None:
        return None
    return f"{run['max_memory_mb']:,} of {run['memory_mb']:,} MB"


def _no_group(now_open: Opened, words: str) -> None:
    run = now_open.run
    if now_open.named_group:
        _nothing("No such group", f"No failure of the last {words} has the fingerprint in this link.")
    elif run is not None and run["kind"] is None:
        _nothing("Not a failure", "The run opened by this link finished, and what it was called for has its row.")
    elif run is not None:
        _nothing("Outside the period", f"The run opened by this link is not of the last {words}.")
    else:
        _nothing("No group is open", "Choose a group of failures above.")
    if now_open.named_group or now_open.named_run:
        back = {"group": None, "request": None}
        st.button("Show the most frequent group", on_click=lambda: choice.go(**back), key="failures_back")


def _nothing(title: str, text: str) -> None:
    st.markdown(f"**{title}**")
    st.caption(text)
