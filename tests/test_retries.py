"""Attempts of one sign-up taken together: one line each, late ones marked; and how far the log's evidence reaches."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trends_kit import NOW, account, row, run, snapshot

from lib.model import iso
from lib.views import failures, retries, trends

SECOND = timedelta(seconds=1)
AT = NOW - timedelta(hours=2)


def tries(*starts: float, outcome: str = "timeout", name: str | None = "ann", **more: Any) -> list[dict[str, Any]]:
    return [
        run(f"{name}-{start:g}", name, AT + start * SECOND, outcome, log_stream=f"s{start:g}", **more)
        for start in starts
    ]


def groups(world: Any, kind: str = "timeout", over: str = "30d") -> list[dict[str, Any]]:
    period = trends.period(world, over)
    found = failures.groups(world, period).set_index("kind")["fingerprint"]
    return retries.groups(world, period, found[kind]).to_dict("records")


@pytest.mark.parametrize(
    ("starts", "attempts"),
    [
        ((0,), [1]),
        ((0, 5, 10), [3]),
        ((0, 9, 18), [3]),
        ((0, 5, 10, 15), [1, 3]),
        ((0, 9.001), [1, 1]),
        ((0, 5, 3600), [1, 2]),
    ],
)
def test_attempts_at_most_nine_seconds_apart_and_at_most_three_are_one_line(
    starts: tuple[float, ...], attempts: list[int]
) -> None:
    assert [line["attempts"] for line in groups(snapshot(runs=tries(*starts)))] == attempts


def test_a_group_tells_how_its_first_and_its_last_attempt_ended_its_span_and_its_streams() -> None:
    runs = [*tries(0, 5), *tries(10, outcome="error", error_message="no", duration_ms=700.0)]
    (line,) = groups(snapshot([account("ann", AT)], runs=runs))
    assert (line["first_end"], line["last_end"], line["streams"]) == ("timeout", "error", 3)
    assert (line["span_ms"], line["started_at"], line["sub"]) == (10_700, AT, "sub-ann")
    assert list(line["keys"]) == ["ann-0", "ann-5", "ann-10"]
    assert line["key"] == "ann-5"  # the last with this fingerprint


def test_a_last_attempt_that_succeeded_is_not_a_failure_of_the_sign_up() -> None:
    runs = [*tries(0), *tries(5, outcome="completed")]
    (line,) = groups(snapshot([account("ann", AT)], [row("ann", AT + 5 * SECOND)], runs))
    assert (line["attempts"], line["last_end"]) == (2, "completed")


def test_attempts_of_another_trigger_or_another_user_are_another_sign_up() -> None:
    runs = [*tries(0), *tries(1, name="bob"), *tries(2, trigger_source="PostConfirmation_ConfirmSignUp")]
    assert [line["attempts"] for line in groups(snapshot(runs=runs))] == [1, 1, 1]


def test_runs_of_nobody_known_are_each_a_line_and_open_by_a_name_of_their_own() -> None:
    runs = [
        run("", None, AT + number * SECOND, "init_error", log_stream="s") | {"request_id": None} for number in (0, 1)
    ]
    world = snapshot(runs=runs)
    lines = groups(world, "init_error")
    assert [line["attempts"] for line in lines] == [1, 1]
    assert len({line["key"] for line in lines}) == 2
    (alone,) = retries.sign_up(world, lines[0]["key"])
    assert (alone["started_at"], alone["attempt"], alone["request_id"]) == (lines[0]["started_at"], 1, None)


@pytest.mark.parametrize(
    ("duration_ms", "row_after", "ran_late", "is_late"),
    [
        (5000.0, None, False, False),
        (5001.0, None, True, True),
        (400.0, 0.4, False, False),
        (8000.0, 7.0, True, True),
        (400.0, 600.0, False, False),  # a repair made that row
    ],
)
def test_a_late_attempt_and_a_row_written_after_cognito_gave_up_are_marked(
    duration_ms: float, row_after: float | None, ran_late: bool, is_late: bool
) -> None:
    rows = [] if row_after is None else [row("ann", AT + row_after * SECOND)]
    (line,) = groups(snapshot([account("ann", AT)], rows, tries(0, duration_ms=duration_ms)))
    assert (line["ran_late"], line["is_late"]) == (ran_late, is_late)


def test_a_row_written_late_by_a_run_whose_end_was_seen_as_short_is_marked_all_the_same() -> None:
    # The run's own end tells of 5 s sharp, the row came a moment after that.
    (line,) = groups(snapshot([account("ann", AT)], [row("ann", AT + 5.5 * SECOND)], tries(0, duration_ms=5000.0)))
    assert (line["ran_late"], line["is_late"]) == (False, True)


def test_a_run_opens_with_all_attempts_of_its_sign_up_and_an_unknown_one_with_nothing() -> None:
    world = snapshot([account("ann", AT)], runs=[*tries(0, 5, 10), *tries(3600)])
    found = retries.sign_up(world, "ann-5")
    assert [(each["key"], each["attempt"]) for each in found] == [("ann-0", 1), ("ann-5", 2), ("ann-10", 3)]
    assert {each["sub"] for each in found} == {"sub-ann"}
    assert retries.sign_up(world, "nonsense") == []


def test_a_healthy_run_opens_too_and_is_no_failure() -> None:
    world = snapshot([account("ann", AT)], [row("ann", AT)], tries(0, outcome="completed"))
    (alone,) = retries.sign_up(world, "ann-0")
    assert (alone["kind"], alone["fingerprint"]) == (None, None)


def test_only_groups_with_a_run_in_the_period_are_listed() -> None:
    world = snapshot(runs=[*tries(0), *tries(-40 * 86_400.0)])
    assert len(groups(world)) == 1
    assert len(groups(world, over="90d")) == 2


@settings(max_examples=6)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_every_attempt_is_in_exactly_one_group_whatever_the_order(starts: list[int], shuffled: Any) -> None:
    runs = tries(*starts)
    shuffled.shuffle(runs)
    lines = groups(snapshot(runs=runs))
    assert sorted(key for line in lines for key in line["keys"]) == sorted(each["request_id"] for each in runs)
    assert all(len(line["keys"]) == line["attempts"] <= 3 for line in lines)


def test_evidence_counts_suspicious_lines_and_tells_the_oldest_event_and_the_retention() -> None:
    runs = [*tries(0, suspicious=2), *tries(60), *tries(120, suspicious=5)]
    found = failures.evidence(snapshot(runs=runs, retention_days=30))
    assert (found.runs, found.oldest, found.retention_days) == (3, AT, 30)
    assert (found.suspicious, found.suspicious_runs) == (7, 2)
    assert found.examples == [("ann-120", 5), ("ann-0", 2)]
    assert found.proven_from == NOW - timedelta(days=30)


def test_evidence_of_a_log_that_was_not_read_proves_nothing() -> None:
    found = failures.evidence(snapshot(logs_read=False, log_from=iso(AT)))
    assert (found.runs, found.oldest, found.proven_from, found.examples) == (0, None, None, [])
