"""The raw log of one invocation: which lines are its own, how they are read, and what is said when there are none."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import logparse_kit
import pytest
from aws_kit import ScriptedAws, error, page, scripted_aws, settings
from hypothesis import given
from hypothesis import strategies as st
from logparse_kit import CORPORA, ID, OTHER, REPORTED, event

from lib import connect
from lib.aws import logs
from lib.aws.errors import is_denied
from lib.aws.session import Aws
from lib.demo.world import World
from lib.logparse import invocations
from lib.logparse.excerpt import RawLine, excerpt, without_secrets
from lib.model import AwsError

AT = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
START, END = f"START RequestId: {ID} Version: $LATEST\n", f"END RequestId: {ID}\n"
REPORT = f"REPORT RequestId: {ID}\t{REPORTED}\n"
AFTER = f"START RequestId: {OTHER} Version: $LATEST\n"


def texts(events: list[dict[str, Any]], request_id: str | None = ID) -> list[str]:
    return [line.text for line in excerpt(events, request_id)]


def stream(*messages: str | tuple[str, int]) -> list[dict[str, Any]]:
    told = [(each, 0) if isinstance(each, str) else each for each in messages]
    return [event(message, 10 * place + late) for place, (message, late) in enumerate(told)]


def test_a_run_has_its_own_lines_and_what_stands_without_an_id_between_its_start_and_its_end() -> None:
    printed = "printed by a library"
    events = stream(f"END RequestId: {OTHER}\n", START, printed, END, REPORT, ("of the next run", 500), AFTER)
    assert texts(events) == [START.strip(), printed, END.strip(), REPORT.rstrip("\n")]


def test_what_was_said_of_starting_the_function_belongs_to_the_run_that_it_was_started_for() -> None:
    init = "INIT_START Runtime Version: nodejs:22.v42\tRuntime Version ARN: arn:aws:lambda:x\n"
    events = stream(f"REPORT RequestId: {OTHER}\t{REPORTED}\n", (init, 60_000), (START, 60_000), (END, 60_000))
    assert texts(events) == [init.strip(), START.strip(), END.strip()]


def test_the_last_words_of_the_run_before_are_not_the_first_of_this_one() -> None:
    events = stream(f"END RequestId: {OTHER}\n", ("[ERROR] late", -8), START, END)
    assert texts(events) == [START.strip(), END.strip()]


def test_last_words_just_after_the_end_are_still_its_own() -> None:
    assert texts(stream(START, END, ("[ERROR] ValueError: no", -8), ("much later", 500))) == [
        START.strip(),
        END.strip(),
        "[ERROR] ValueError: no",
    ]


def test_a_line_of_another_run_inside_this_one_is_shown_as_suspicious() -> None:
    forged = f"REPORT RequestId: {OTHER}\t{REPORTED}\n"
    lines = excerpt(stream(START, forged, END), ID)
    assert [(line.text, line.suspicious) for line in lines] == [
        (START.strip(), False),
        (forged.rstrip("\n"), True),
        (END.strip(), False),
    ]


def test_a_run_that_never_started_is_what_stands_before_the_first_line_of_another() -> None:
    events = stream("INIT_REPORT Init Duration: 12.00 ms\tPhase: init\tStatus: error\n", "cannot load", AFTER, "later")
    assert texts(events, None) == ["INIT_REPORT Init Duration: 12.00 ms\tPhase: init\tStatus: error", "cannot load"]


def test_a_run_that_is_not_in_the_log_has_no_lines() -> None:
    assert texts(stream(AFTER, "x"), ID) == []
    assert texts([], None) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in CORPORA.glob("*.jsonl")))
def test_the_lines_of_a_run_alone_tell_of_it_what_the_whole_log_tells(name: str) -> None:
    events = logparse_kit.read(name)
    told = ("outcome", "username", "error_type", "error_message", "duration_ms", "logged_error")
    for run in logparse_kit.records(invocations(events))[:40]:
        found = excerpt([each for each in events if each["logStreamName"] == run["log_stream"]], run["request_id"])
        since = found[0].at
        alone = invocations([event(line.text + "\n", (line.at - since) // timedelta(milliseconds=1)) for line in found])
        again = next(each for each in logparse_kit.records(alone) if each["request_id"] == run["request_id"])
        assert {field: again[field] for field in told} == {field: run[field] for field in told}


@given(st.randoms(use_true_random=False), st.data())
def test_neither_order_nor_repetition_of_events_changes_an_excerpt(
    shuffled: random.Random, data: st.DataObject
) -> None:
    events = stream("INIT_START Runtime Version: x\n", START, "one", f"END RequestId: {OTHER}\n", "two", END, REPORT)
    expected = excerpt(events, ID)
    again = events + data.draw(st.lists(st.sampled_from(events)))
    shuffled.shuffle(again)
    assert excerpt(again, ID) == expected


@pytest.mark.parametrize(
    "line",
    [
        '{"userName":"a","request":{"clientMetadata":{"pin":"s3c}ret"},"validationData":null}}',
        '{"request": {"validationData": {"a": "x", "b": "s3cret"}, "x": 1}}',
        "  request: { clientMetadata: { pin: 's3cret', b: 'x\\'}s3cret' } }",
        '{"request":{"clientMetadata":{"pin":"s3cr',
        '{"message": "{\\"clientMetadata\\": {\\"pin\\": \\"s3cret\\"}}"}',
    ],
)
def test_what_a_client_sent_along_is_left_out(line: str) -> None:
    assert "s3cr" not in without_secrets(line)
    assert "{…}" in without_secrets(line)


def test_a_line_without_secrets_stays_as_it_is() -> None:
    assert without_secrets('{"clientMetadata":null,"validationData":"x"} {a}') == (
        '{"clientMetadata":null,"validationData":"x"} {a}'
    )


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with scripted_aws() as scripted:
        yield scripted


def read(fake: ScriptedAws, **more: Any) -> tuple[list[dict[str, Any]], bool]:
    return logs.stream_events(Aws(settings(fake.url)), "/aws/lambda/f", "s[1]", AT, AT + SECOND, **more)


def test_only_the_runs_stream_and_time_are_asked_for(fake: ScriptedAws) -> None:
    fake.script("FilterLogEvents", page(events=[{"eventId": "1"}], nextToken="t"), page(events=[{"eventId": "2"}]))
    assert read(fake) == ([{"eventId": "1"}, {"eventId": "2"}], False)
    first, second = fake.asked("FilterLogEvents")
    assert (first["logStreamNames"], first["endTime"] - first["startTime"]) == (["s[1]"], 1000)
    assert second["nextToken"] == "t"


def test_a_log_that_goes_on_and_on_is_cut_and_says_so(fake: ScriptedAws) -> None:
    fake.script("FilterLogEvents", page(events=[{"eventId": "1"}], nextToken="t"))
    events, more = read(fake, most_pages=3)
    assert (len(events), more) == (3, True)


def test_a_stream_that_is_gone_has_no_events_and_one_that_may_not_be_read_is_an_error(fake: ScriptedAws) -> None:
    fake.script("FilterLogEvents", error("ResourceNotFoundException", "The specified log stream does not exist."))
    assert read(fake) == ([], False)
    fake.script("FilterLogEvents", error("AccessDeniedException", "no"))
    with pytest.raises(AwsError, match=r"logs:FilterLogEvents") as refused:
        read(fake)
    assert is_denied(refused.value)


def test_an_answer_of_another_shape_is_no_empty_log(fake: ScriptedAws) -> None:
    for shape in (page(), page(events=None)):
        fake.script("FilterLogEvents", shape)
        with pytest.raises(AwsError):
            read(fake)


def test_an_environment_reads_the_lines_of_each_of_its_runs_and_stores_none(world: World) -> None:
    environment = connect("demo")
    runs = environment.refresh().table("invocations").to_pylist()
    before = sorted(environment.config.home.rglob("*"))
    failed = [run for run in runs if run["outcome"] != "completed"]
    assert failed
    for run in [*failed[:5], *runs[-5:]]:
        found = environment.raw_log(run)
        assert not found.more
        assert run["request_id"] is None or all(run["request_id"] in line.text for line in found.lines[-1:])
        assert found.lines
        assert all(isinstance(line, RawLine) for line in found.lines)
        assert all(abs(line.at - run["started_at"]) < timedelta(minutes=20) for line in found.lines)
    assert sorted(environment.config.home.rglob("*")) == before
    gone = runs[0] | {"log_stream": "2020/01/01/[$LATEST]gone"}
    assert environment.raw_log(gone).lines == ()
