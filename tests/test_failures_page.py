"""Failures as a link opens it: a group, a sign-up with its attempts, one run with its raw log; or what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.demo.world import World
from lib.logparse.excerpt import RawLine, RawLog
from lib.model import AwsError, now
from lib.snapshot import Snapshot
from lib.ui import raw_log
from lib.views import failures, retries, trends

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 11, 20, 6, 0, 0, 7000, tzinfo=UTC)


def forget() -> None:
    # Streamlit's caches belong to the process: another test's environment must not be found in them.
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(scope="module")
def read_once(world: World) -> Iterator[Snapshot]:
    """The snapshot of a world of 300 accounts."""
    forget()
    yield connect("demo").refresh()
    forget()


def opened(**parameters: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=120).run()
    app.switch_page("pages/failures.py")
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "text", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def codes(app: AppTest) -> list[str]:
    return [str(code.value) for code in app.get("code")]


def of_kind(snapshot: Snapshot, *kinds: str) -> str:
    found = failures.groups(snapshot, trends.period(snapshot))
    return str(found[found["kind"].isin(kinds)]["fingerprint"].iloc[0])


def test_every_group_opens_by_its_link_and_lists_its_sign_ups_and_its_runs(read_once: Snapshot) -> None:
    over = trends.period(read_once)
    found = failures.groups(read_once, over)
    assert len(found) > 3
    for fingerprint in found["fingerprint"]:
        app = opened(group=fingerprint)
        assert len(app.dataframe[1].value) == len(retries.groups(read_once, over, fingerprint))
        app = opened(group=fingerprint, by="Runs")
        assert len(app.dataframe[1].value) == len(failures.invocations(read_once, over, fingerprint))


def test_without_a_word_in_the_link_the_latest_sign_up_of_the_commonest_failure_is_open(read_once: Snapshot) -> None:
    over = trends.period(read_once)
    first = retries.groups(read_once, over, failures.groups(read_once, over)["fingerprint"].iloc[0])
    assert codes(opened())[0] == first["key"].iloc[0]


def test_a_group_that_no_failure_of_the_period_has_is_said_to_be_none(read_once: Snapshot) -> None:
    app = opened(group="nonsense")
    assert "No failure of the last 30 days has the fingerprint in this link." in words(app)
    assert "No run is open" in words(app)
    assert len(app.dataframe) == 2  # the groups and the durations, but nobody's runs
    app.button(key="failures_back").click().run()
    assert "No failure of the last" not in words(app)
    assert "group" not in app.query_params


def test_a_run_that_is_not_in_the_snapshot_is_said_to_be_none(read_once: Snapshot) -> None:
    app = opened(request="0badc0de-0000-4000-8000-000000000001")
    assert "No run of this snapshot has the id in this link." in words(app)
    assert "0badc0de" not in words(app)
    assert "Show raw log" not in [button.label for button in app.button]


def test_a_link_opens_exactly_its_run_also_one_that_did_not_fail(read_once: Snapshot) -> None:
    runs = read_once.table("invocations").to_pylist()
    lost = set(read_once.findings["request_ids"].explode().dropna())
    healthy = next(
        run["request_id"]
        for run in runs
        if run["outcome"] == "completed" and run["request_id"] not in lost and not run["logged_error"]
    )
    app = opened(request=healthy)
    assert codes(app)[0] == healthy
    assert "The run opened by this link finished" in words(app)


def test_a_run_from_before_the_period_is_opened_and_said_to_be_outside(read_once: Snapshot) -> None:
    early = read_once.sql(
        "select request_id from invocations where outcome = 'timeout' and started_at < $day order by 1 limit 1",
        day=trends.taken_at(read_once) - timedelta(days=2),
    )["request_id"].iloc[0]
    app = opened(request=early)
    next(each for each in app.get("button_group") if each.proto.label == "Period").set_value("24h").run()
    assert codes(app)[0] == early
    assert "is not of the last 24 hours" in words(app)


def test_the_attempts_of_a_sign_up_are_offered_and_lead_to_their_runs(read_once: Snapshot) -> None:
    over = trends.period(read_once)
    groups = retries.groups(read_once, over, of_kind(read_once, "timeout"))
    several = groups[groups["attempts"] > 1].iloc[0]
    app = opened(request=several["key"])
    (picker,) = [each for each in app.get("button_group") if each.proto.label == "Attempts of this sign-up"]
    assert len(picker.proto.options) == several["attempts"]
    assert f"of {several['attempts']}" in words(app)
    other = next(key for key in several["keys"] if key != several["key"])
    assert codes(opened(request=other))[0] == other
    assert "Cognito had given up" in words(app)


def test_the_raw_log_is_read_when_asked_for_and_masked_until_revealed(read_once: Snapshot) -> None:
    fingerprint = of_kind(read_once, "timeout")
    over = trends.period(read_once)
    run = retries.sign_up(read_once, retries.groups(read_once, over, fingerprint)["key"].iloc[0])[0]
    app = opened(request=run["key"])
    assert "START RequestId" not in words(app)
    next(button for button in app.button if button.label == "Show raw log").click().run()
    assert not app.exception
    assert f"START RequestId: {run['request_id']}" in words(app)
    assert run["email"] not in words(app)
    next(each for each in app.toggle if each.label == "Reveal e-mails").set_value(True).run()
    assert run["email"] in words(app)


def test_the_evidence_says_how_far_back_the_log_reaches_and_how_long_it_is_kept(read_once: Snapshot) -> None:
    said = words(opened())
    reach = trends.log_reach(read_once)
    assert reach is not None
    assert f"what the trigger did since {reach:%-d %b %Y, %H:%M} UTC" in said
    oldest = read_once.invocations["started_at"].min()
    assert f"{oldest:%-d %b %Y, %H:%M} UTC" in said


RUN: dict[str, Any] = {"request_id": "r", "log_group": "g", "log_stream": "s", "started_at": AT, "ended_at": AT}


class Log:
    """An environment whose log answers as it is told to."""

    name = "stub"

    def __init__(self, answer: RawLog | AwsError) -> None:
        self.answer = answer

    def raw_log(self, run: dict[str, Any]) -> RawLog:
        if isinstance(self.answer, AwsError):
            raise self.answer
        return self.answer


def asked_for_log() -> None:
    import streamlit as st

    from lib.ui import raw_log

    raw_log.shown(
        st.session_state["tested_env"],
        st.session_state["tested_run"],
        page="test",
        reveal=False,
        retention_days=st.session_state.get("tested_retention"),
    )


def shown(answer: RawLog | AwsError, run: dict[str, Any] = RUN, retention_days: int | None = None) -> str:
    forget()
    app = AppTest.from_function(asked_for_log)
    app.session_state["tested_env"], app.session_state["tested_run"] = Log(answer), run
    app.session_state["tested_retention"] = retention_days
    app.run().button[0].click().run()
    assert not app.exception
    return words(app)


def line(text: str, **more: Any) -> RawLine:
    return RawLine(AT, text, **more)


def test_each_way_in_which_a_log_cannot_be_shown_has_its_own_words() -> None:
    empty = RawLog((), more=False)
    assert "nothing of this run any more" in shown(empty, RUN | {"started_at": now()}, 7)
    assert "keeps its events for 7 days; this run is older" in shown(empty, RUN | {"started_at": AT - timedelta(90)}, 7)
    denied = AwsError("Cannot read: denied. Needs it.", action="logs:FilterLogEvents", code="AccessDeniedException")
    assert "Not permitted" in shown(denied)
    assert "Needs it." in shown(denied)
    broken = AwsError("Cannot read: no answer.", action="logs:FilterLogEvents", code="Timeout")
    assert "The log could not be read" in shown(broken)


def test_a_log_too_long_to_show_says_how_much_is_left_out() -> None:
    said = shown(RawLog(tuple(line(f"line {number}") for number in range(250)), more=True))
    assert "+50 more lines" in said
    assert "more of this stream than was read" in said
    assert "line 199" in said
    assert "line 200" not in said


def test_a_suspicious_line_is_marked() -> None:
    said = shown(RawLog((line("mine"), line("END RequestId: other", suspicious=True)), more=False))
    assert "06:00:00.007  mine" in said
    assert "06:00:00.007 !END RequestId: other" in said
    assert "names another run" in said


def test_a_line_of_a_megabyte_is_cut_and_never_within_an_email() -> None:
    said = raw_log.text(line("x" * 3990 + " anna.berg@mail.test" + " y" * 500_000), reveal=False)
    assert len(said) < 5000
    assert "anna" not in said
    assert "characters" in said
    assert "+" in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\tb", "a  b"),
        ("one\ntwo", f"one\n{' ' * 14}two"),
        ("\x1b[31mred \u202eevil\u2028", "\\x1b[31mred \\u202eevil\\u2028"),
        ("said anna@mail.test", "said a•••a@mail.test"),
        ('{"clientMetadata":{"pin":"s3cret"}}', '{"clientMetadata":{…}}'),
    ],
)
def test_a_line_is_shown_as_harmless_text(text: str, wanted: str) -> None:
    assert raw_log.text(line(text), reveal=False).removeprefix("06:00:00.007  ") == wanted
