import random
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trends_kit import NOW, account, row, run, snapshot

from lib.model import CAUSES, iso
from lib.views import failures, overview, trends

HOUR = timedelta(hours=1)


def outcomes(world: Any, over: str = "30d") -> dict[str, int]:
    counted = trends.sign_ups(world, trends.period(world, over))[list(trends.OUTCOMES)].sum()
    return {outcome: int(count) for outcome, count in counted.items() if count}


def at(hours: float) -> Any:
    return NOW - hours * HOUR


LOGGED = {"error_type": "Error", "error_message": "no"}
CASES = {
    "an account with its row": ([account("a", at(2))], [row("a", at(2))], [run("1", "a", at(2))], "row_written"),
    "a run that finished without a row": ([account("a", at(2))], [], [run("1", "a", at(2))], "silent_failure"),
    "a run that failed": ([account("a", at(2))], [], [run("1", "a", at(2), "error", **LOGGED)], "failed"),
    "an error that was caught and logged": (
        [account("a", at(2))],
        [],
        [run("1", "a", at(2), logged_error="Error 503")],
        "failed",
    ),
    "a run that timed out": ([account("a", at(2))], [], [run("1", "a", at(2), "timeout")], "failed"),
    "an account without a run": ([account("a", at(2))], [], [], "not_invoked"),
    "an account made by an admin": ([account("a", at(2), status="FORCE_CHANGE_PASSWORD")], [], [], "not_invoked"),
    "an account younger than the grace period": ([account("a", at(0.1))], [], [], "in_flight"),
    "a soft-deleted row": ([account("a", at(2))], [row("a", at(2), deleted=True)], [], "row_written"),
    "a row whose e-mail drifted": ([account("a", at(2))], [row("a", at(2), email="b@mail.test")], [], "row_written"),
    "a refused sign-up": ([], [], [run("1", "ghost", at(2), "error", **LOGGED)], "rejected"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_way_a_sign_up_can_end_is_counted_once_as_its_outcome(case: str) -> None:
    accounts, rows, runs, outcome = CASES[case]
    assert outcomes(snapshot(accounts, rows, runs)) == {outcome: 1}


def test_without_the_log_a_missing_row_is_unknown_and_never_a_silent_failure() -> None:
    world = snapshot([account("a", at(2))], logs_read=False)
    assert outcomes(world) == {"unknown": 1}
    shown = overview.overview(world)
    assert shown.reach is None
    assert shown.figures.silent.value is None
    assert shown.figures.missing.value == 1


def test_a_row_that_was_deleted_later_does_not_make_the_sign_up_a_loss() -> None:
    seen = [{"kind": "row", "id": "a", "first_seen": at(2), "last_seen": at(1), "source": "snapshot"}]
    assert outcomes(snapshot([account("a", at(3))], [], [], seen)) == {"row_written": 1}


def test_an_unconfirmed_account_under_post_confirmation_is_still_on_its_way() -> None:
    world = snapshot([account("a", at(2), status="UNCONFIRMED")], trigger="post_confirmation")
    assert outcomes(world) == {"in_flight": 1}


@pytest.mark.parametrize(
    ("starts", "groups"),
    [((0, 5, 10), 1), ((0, 5, 10, 15), 2), ((0, 10), 2), ((0, 9, 18), 1), ((0,), 1)],
)
def test_the_attempts_of_one_refused_sign_up_count_once(starts: tuple[int, ...], groups: int) -> None:
    runs = [run(f"r{second}", "ghost", at(2) + timedelta(seconds=second), "error") for second in starts]
    assert outcomes(snapshot(runs=runs)) == {"rejected": groups}


def test_a_refused_sign_up_is_none_when_the_last_attempt_succeeded_or_the_account_is_known() -> None:
    second_time = [run("1", "ghost", at(2), "timeout"), run("2", "ghost", at(2) + timedelta(seconds=5))]
    assert outcomes(snapshot(runs=second_time)) == {}
    gone = [{"kind": "account", "id": "ghost", "first_seen": at(2), "last_seen": at(1), "source": "snapshot"}]
    assert outcomes(snapshot(runs=[run("1", "ghost", at(2), "error")], seen=gone)) == {}
    reset = run("1", "ghost", at(2), "error", trigger_source="PostConfirmation_ConfirmForgotPassword")
    assert outcomes(snapshot(runs=[reset])) == {}


def test_a_duplicate_and_an_orphaned_row_add_no_sign_up() -> None:
    world = snapshot(
        [account("a", at(2), email="x@mail.test"), account("b", at(2), email="x@mail.test")],
        [row("a", at(2), email="x@mail.test"), row("b", at(2), email="x@mail.test"), row("c", at(2))],
    )
    assert outcomes(world) == {"row_written": 2}


def test_a_bar_holds_what_began_within_its_utc_day_and_the_last_one_is_today() -> None:
    midnight = NOW.replace(hour=0, minute=0)
    accounts = [account("a", midnight), account("b", midnight - timedelta(milliseconds=1))]
    world = snapshot(accounts, [row("a", midnight), row("b", midnight)])
    bars = trends.sign_ups(world, trends.period(world, "7d")).set_index("at")["row_written"]
    assert len(bars) == 7
    assert bars[midnight] == 1
    assert bars[midnight - timedelta(days=1)] == 1


@pytest.mark.parametrize("name", trends.RANGES)
def test_a_period_has_its_bars_ends_with_the_snapshot_and_compares_with_one_as_long(name: str) -> None:
    over = trends.period(snapshot(), name)
    before = over.before()
    assert over.end == NOW
    assert over.start + over.step * over.steps >= over.end > over.start + over.step * (over.steps - 1)
    assert over.end - over.start == before.end - before.start
    assert before.start + over.step * over.steps == over.start


@settings(deadline=None, max_examples=12)
@given(st.lists(st.tuples(st.integers(0, 40 * 24), st.booleans(), st.booleans()), max_size=20), st.randoms())
def test_every_sign_up_of_the_period_is_in_exactly_one_bar_whatever_the_order(
    signed_up: list[tuple[int, bool, bool]], shuffled: random.Random
) -> None:
    lines = [(f"u{number}", at(hours), has_row, ran) for number, (hours, has_row, ran) in enumerate(signed_up)]
    shuffled.shuffle(lines)
    world = snapshot(
        [account(name, created) for name, created, _, _ in lines],
        [row(name, created) for name, created, has_row, _ in lines if has_row],
        [run(f"r-{name}", name, created) for name, created, _, ran in lines if ran],
    )
    over = trends.period(world)
    counted = trends.sign_ups(world, over)
    expected = sum(over.start <= created < over.end for _, created, _, _ in lines)
    assert counted[list(trends.OUTCOMES)].to_numpy().sum() == expected
    found = trends.members(world, over, trends.OUTCOMES, limit=100)
    assert len(found) == expected
    assert list(found["signed_up_at"]) == sorted(found["signed_up_at"], reverse=True)


def test_figures_stand_beside_those_of_the_period_before() -> None:
    days = [1, 2, 3, 31, 32]
    accounts = [account(f"u{day}", at(24 * day)) for day in days]
    rows = [row(f"u{day}", at(24 * day)) for day in days if day not in (1, 31)]
    runs = [run(f"r{day}", f"u{day}", at(24 * day)) for day in days]
    found = overview.overview(snapshot(accounts, rows, runs)).figures
    assert (found.sign_ups.value, found.sign_ups.before) == (3, 2)
    assert (found.missing.value, found.missing.before) == (1, 1)
    assert (found.silent.value, found.silent.before) == (1, 1)
    assert found.in_sync.value == pytest.approx(2 / 3)
    assert found.in_sync.before == pytest.approx(1 / 2)
    assert sum(found.sign_ups.course) == 3


def test_silent_failures_of_a_period_before_the_log_began_are_not_compared() -> None:
    world = snapshot([account("a", at(2))], runs=[run("1", "a", at(2))], log_from=iso(at(24 * 40)))
    found = overview.overview(world).figures.silent
    assert (found.value, found.before) == (1, None)


@pytest.mark.parametrize(
    ("wiring", "reach"),
    [
        ({"log_from": iso(at(100))}, at(100)),
        ({"log_from": iso(at(100)), "retention_days": 1}, at(24)),
        ({"log_from": iso(at(100)), "retention_days": 30, "group_created_at": iso(at(50))}, at(50)),
        ({"log_from": None}, None),
    ],
)
def test_the_log_reaches_back_to_the_latest_of_its_limits(wiring: dict[str, Any], reach: Any) -> None:
    assert trends.log_reach(snapshot(**wiring)) == reach


def lost_run(hours: list[float], **more: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    names = [f"lost{hour:g}" for hour in hours]
    return (
        [account(name, at(hour), **more) for name, hour in zip(names, hours, strict=True)],
        [run(f"r-{name}", name, at(hour)) for name, hour in zip(names, hours, strict=True)],
    )


def test_rows_stopped_being_written_with_the_first_of_three_losses_in_a_row() -> None:
    accounts, runs = lost_run([5, 4, 3])
    kept = [account("before", at(8)), account("after", at(2))]
    rows = [row("before", at(8)), row("after", at(2))]
    (stall,) = _stalls(snapshot([*accounts, *kept], rows, runs))
    assert (stall["since"], stall["until"], stall["lost"], stall["account_id"]) == (at(5), at(2), 3, "lost5")


def test_two_losses_in_a_row_or_three_with_a_row_between_are_no_stall() -> None:
    accounts, runs = lost_run([5, 4, 2])
    between, written = account("between", at(3)), row("between", at(3))
    assert _stalls(snapshot([*accounts, between], [written], runs)) == []


def test_a_night_without_sign_ups_and_an_import_are_no_stall() -> None:
    assert _stalls(snapshot([account("a", at(24 * 9))], [row("a", at(24 * 9))])) == []
    imported, _ = lost_run([5, 4, 3, 2], status="RESET_REQUIRED")
    assert _stalls(snapshot(imported)) == []
    assert _stalls(snapshot(imported, logs_read=False)) == []


def test_a_stall_that_lasts_is_told_first_and_from_its_true_start() -> None:
    accounts, runs = lost_run([30, 4, 3])
    world = snapshot([*accounts, account("ok", at(40))], [row("ok", at(40))], runs)
    shown = overview.overview(world, "24h")
    assert list(shown.stalls["until"].isna()) == [True]
    assert overview.summary(shown, now=NOW).startswith("No row was written since 21 Nov 12:30 UTC: the last 3 sign-ups")


def test_a_row_that_a_repair_wrote_does_not_end_a_stall() -> None:
    accounts, runs = lost_run([6, 5, 4])
    repaired, written = account("repaired", at(3)), row("repaired", at(1))
    known = {"kind": "row", "id": "repaired", "first_seen": at(1), "last_seen": at(1), "source": "journal"}
    world = snapshot([*accounts, repaired], [written], runs, [known])
    assert pd.isna(_stalls(world)[0]["until"])


def _stalls(world: Any) -> list[dict[str, Any]]:
    return trends.stalls(world, trends.period(world)).to_dict("records")


def _key(hours: float) -> dict[str, Any]:
    return {"keys": [{"digest": "k", "expires_at": iso(at(-hours)), "seen_at": iso(NOW)}]}


@pytest.mark.parametrize(
    ("accounts", "rows", "runs", "wiring", "sentence"),
    [
        ([], [], [], {}, "No sign-ups in the last 30 days."),
        (["a"], ["a"], [], {}, "The only sign-up of the last 30 days has its row or is on the way."),
        (["a"], [], [run("1", "a", at(2))], {}, "1 of 1 sign-ups has no row; 1 was lost in silence."),
        (
            ["a"],
            [],
            [run("1", "ghost", at(2), "error")],
            _key(49),
            "1 of 2 sign-ups has no row; 1 was rejected; the API key expires in 2 days.",
        ),
        (
            ["a"],
            ["a"],
            [],
            _key(-3),
            "The API key expired 3 hours ago; the only sign-up of the last 30 days has its row or is on the way.",
        ),
        ([], [], [], _key(24 * 30), "No sign-ups in the last 30 days."),
    ],
)
def test_the_summary_says_the_worst_first(
    accounts: list[str], rows: list[str], runs: list[dict[str, Any]], wiring: dict[str, Any], sentence: str
) -> None:
    made = [account(name, at(2)) for name in accounts]
    world = snapshot(made, [row(name, at(2)) for name in rows], runs, **wiring)
    assert overview.summary(overview.overview(world), now=NOW) == sentence


def test_only_the_keys_seen_last_say_when_the_trigger_loses_its_key() -> None:
    keys = [
        {"digest": "old", "expires_at": iso(at(50)), "seen_at": iso(at(60))},
        {"digest": "new", "expires_at": iso(at(-90)), "seen_at": iso(NOW)},
    ]
    assert trends.key_expiry(snapshot(keys=keys).wiring) == at(-90)


def test_the_funnel_narrows_from_sign_up_to_trigger_to_row_to_confirmation() -> None:
    accounts = [
        account("confirmed", at(2)),
        account("unconfirmed", at(2), status="UNCONFIRMED"),
        account("silent", at(2)),
        account("never", at(2)),
    ]
    rows = [row("confirmed", at(2)), row("unconfirmed", at(2))]
    world = snapshot(accounts, rows, [run("1", "silent", at(2)), run("2", "ghost", at(2), "error")])
    stages = trends.funnel(world, trends.period(world))
    assert list(stages["count"]) == [5, 4, 2, 1]


def test_situations_come_worst_first_with_what_can_be_repaired() -> None:
    accounts = [account("ok", at(2)), account("lost", at(2)), account("drift", at(2))]
    world = snapshot(accounts, [row("ok", at(2)), row("drift", at(2), email="z@mail.test"), row("alone", at(2))])
    found = trends.situations(world)
    assert found.to_dict("list") == {
        "situation": ["orphaned_account", "drift", "orphaned_row", "in_sync"],
        "count": [1, 1, 1, 1],
        "repairable": [1, 1, 0, 0],
    }


def test_latest_losses_say_why_in_words_newest_first() -> None:
    accounts = [account("older", at(5)), account("newer", at(2))]
    runs = [run("1", "older", at(5)), run("2", "newer", at(2), "timeout")]
    found = trends.members(snapshot(accounts, runs=runs), trends.period(snapshot()))
    assert list(found["account_id"]) == ["newer", "older"]
    assert list(found["why"]) == [CAUSES["trigger_timeout"], CAUSES["silent_failure"]]


def test_the_members_of_a_bar_are_those_it_counts() -> None:
    accounts = [account("today", at(2)), account("yesterday", at(24))]
    world = snapshot(accounts, runs=[run("1", "today", at(2)), run("2", "yesterday", at(24))])
    over = trends.period(world)
    bar = over.bar(NOW.replace(hour=0, minute=0))
    assert list(trends.members(world, bar, ["silent_failure"])["account_id"]) == ["today"]
    assert trends.members(world, bar, ["failed"]).empty


def test_the_sign_ups_of_a_bar_come_losses_first_if_wanted() -> None:
    world = snapshot([account("lost", at(5)), account("kept", at(2))], [row("kept", at(2))], [run("1", "lost", at(5))])
    over = trends.period(world)
    assert list(trends.members(world, over, trends.OUTCOMES)["account_id"]) == ["kept", "lost"]
    assert list(trends.members(world, over, trends.OUTCOMES, worst_first=True)["account_id"]) == ["lost", "kept"]


def test_history_gives_every_situation_that_ever_occurred_for_each_snapshot_oldest_first() -> None:
    earlier = snapshot([account("a", at(50))], at=at(24))
    later = snapshot([account("a", at(50))], [row("a", at(50)), row("b", at(50))])
    found = trends.history([later, earlier])
    assert found.to_dict("list") == {
        "at": [at(24), at(24), NOW, NOW],
        "situation": ["orphaned_account", "orphaned_row"] * 2,
        "count": [1, 0, 0, 1],
    }


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(hours=5, minutes=59), "5 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=45), "45 days"),
    ],
)
def test_a_length_of_time_is_said_in_its_largest_unit(length: timedelta, words: str) -> None:
    assert trends.span(length) == words


def test_failures_are_grouped_by_kind_and_message_without_their_variable_parts() -> None:
    said = "Id 6f9619ff-8b86-d011-b42d-00cf4fc964ff <a.b@mail.test> at 2026-11-22T10:00:00Z after 812 ms, 3.5 s"
    other = "Id 11111111-8b86-d011-b42d-00cf4fc964ff <c@mail.test> at 2026-11-21T10:00:00.5Z after 93 ms, 12.25 s"
    runs = [
        run("1", "a", at(2), "error", error_type="Error", error_message=said),
        run("2", "b", at(3), "error", error_type="Error", error_message=other),
        run("3", "c", at(4), "error", error_type="Error", error_message="Request failed with status code 401"),
        run("4", "c", at(4), "error", error_type="Error", error_message="Request failed with status code 403"),
    ]
    world = snapshot(runs=runs)
    found = failures.groups(world, trends.period(world))
    assert list(found["events"]) == [2, 1, 1]
    assert found["message"][0] == "Error: Id … <…> at … after # ms, # s"
    assert (found["first_seen"][0], found["last_seen"][0], found["accounts"][0]) == (at(3), at(2), 2)
    assert set(found["message"][1:]) == {f"Error: Request failed with status code {code}" for code in (401, 403)}


def test_runs_that_finished_without_a_row_are_failures_and_those_with_one_are_none() -> None:
    accounts = [account("lost", at(2)), account("kept", at(2))]
    runs = [run("1", "lost", at(2)), run("2", "kept", at(2)), run("3", "kept", at(1), logged_error="Error: 503")]
    world = snapshot(accounts, [row("kept", at(2))], runs)
    found = failures.groups(world, trends.period(world)).set_index("kind")
    assert found["message"].to_dict() == {
        "silent": "Finished without an error, no row written",
        "caught": "Error: 503",
    }
    (line,) = failures.invocations(world, trends.period(world), found["fingerprint"]["silent"]).to_dict("records")
    assert (line["request_id"], line["sub"]) == ("1", "sub-lost")


@pytest.mark.parametrize(
    ("hours", "log_days", "state"),
    [([2.0], 365, "new"), ([2.0, 24 * 40], 365, "ongoing"), ([2.0, 24 * 70], 365, "regressed"), ([2.0], 10, None)],
)
def test_a_group_is_new_ongoing_or_regressed_against_the_period_before(
    hours: list[float], log_days: int, state: str | None
) -> None:
    runs = [run(f"r{hour}", "a", at(hour), "error", error_message="no") for hour in hours]
    world = snapshot(runs=runs, log_from=iso(at(24 * log_days)))
    found = failures.groups(world, trends.period(world))
    assert list(found["state"]) == [state]
    assert sum(found["course"][0]) == 1


def test_durations_keep_cold_starts_apart_and_count_what_ran_over_five_seconds() -> None:
    warm = [run(f"w{ms}", "a", at(2), duration_ms=float(ms)) for ms in (100, 200, 300, 6000)]
    world = snapshot(runs=[*warm, run("c", "a", at(2), duration_ms=900.0, cold_start=True, init_ms=400.0)])
    facts = failures.duration_facts(world, trends.period(world))
    assert facts["cold"] == failures.Durations(1, 900.0, 900.0, 900.0, 0)
    assert (facts["warm"].runs, facts["warm"].p50, facts["warm"].longest, facts["warm"].over_limit) == (4, 250, 6000, 1)
    (line,) = failures.durations(world, trends.period(world)).to_dict("records")
    assert (line["p50"], line["longest"], line["cold"]) == (250, 6000, 900)
