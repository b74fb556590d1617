import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trends_kit import NOW, account, run, snapshot

from lib.demo import history
from lib.views.forecast import DAYS, forecast, sign_ups_a_day

DAY = timedelta(days=1)
SEEDS = range(12)


def drawn(seed: int, until: datetime, accounts: int = 2820) -> list[datetime]:
    """What the generator itself draws of ordinary sign-ups up to a moment."""
    return history.sign_up_times(random.Random(seed), until, accounts)


def counts(moments: list[datetime], until: datetime) -> list[int]:
    ages = [(until - moment) // DAY for moment in moments]
    return [ages.count(day) for day in range(DAYS)]


def test_the_known_rate_of_the_generator_lies_in_the_interval_whatever_the_seed() -> None:
    rate = sum(sum(counts(drawn(seed, NOW), NOW)) for seed in range(100, 160)) / 60 / DAYS
    for seed in SEEDS:
        found = forecast(counts(drawn(seed, NOW), NOW))
        assert found.low <= rate <= found.high
        assert found.expected == pytest.approx(rate, rel=0.2)


def test_the_interval_holds_most_days_that_come_and_is_no_wider_than_it_must_be() -> None:
    held, widths = 0, []
    for seed in range(60):
        # The day that comes is the last of a longer history.
        later = NOW + DAY
        moments = drawn(seed, later, 2870)
        found = forecast(counts([moment for moment in moments if moment < NOW], NOW))
        held += found.low <= sum(moment >= NOW for moment in moments) <= found.high
        widths.append(found.high - found.low)
    assert held >= 51  # 95 % of 60 are 57; fewer than 51 come about in less than 1 % of cases
    assert sum(widths) / len(widths) < 70


def test_a_real_history_is_forecast_from_its_snapshot() -> None:
    for seed in (1, 2, 3):
        told = history.make(seed, 1000, NOW)
        accounts = [
            account(each.username, each.created_at, status=each.status, email=each.attributes.get("email"))
            for each in told.accounts()
        ]
        found = sign_ups_a_day(snapshot(accounts, at=NOW))
        assert found is not None
        # Its rate over the 60 days is 1000 / 60; the last two weeks are a little busier.
        assert found.low <= 1000 / 60 * 1.15 <= found.high


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=30))
def test_the_expected_day_lies_in_the_interval_and_no_count_is_negative(days: list[int]) -> None:
    found = forecast(days)
    assert 0 <= found.low <= found.high
    assert found.low <= found.expected + 1
    assert found.expected <= found.high + 1


def test_a_quiet_app_may_lose_nobody_and_may_still_lose_some() -> None:
    found = forecast([0] * 14)
    assert (found.expected, found.low) == (0, 0)
    assert found.high <= 1
    assert forecast([1, 0] * 7).high >= 2


def test_days_that_vary_more_than_chance_give_a_wider_interval() -> None:
    calm, wild = forecast([50] * 14), forecast([10, 90] * 7)
    assert calm.expected == wild.expected
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_an_import_is_no_sign_up_unless_the_trigger_ran_for_it() -> None:
    imported = [account(f"i{n}", NOW - 2 * DAY, status="RESET_REQUIRED") for n in range(500)]
    daily = [account(f"a{n}", NOW - n * DAY / 4) for n in range(4, 60)]
    alone = sign_ups_a_day(snapshot([*imported, *daily]))
    assert alone is not None
    assert alone.expected == pytest.approx(4, abs=0.5)
    runs = [run(f"r{n}", f"i{n}", NOW - 2 * DAY) for n in range(500)]
    covered = sign_ups_a_day(snapshot([*imported, *daily], runs=runs))
    assert covered is not None
    assert covered.expected > 30


def test_under_post_confirmation_nobody_is_lost_before_they_confirm() -> None:
    accounts = [account(f"a{n}", NOW - n * DAY / 4, status="UNCONFIRMED" if n % 2 else "CONFIRMED") for n in range(60)]
    promised = sign_ups_a_day(snapshot(accounts))
    confirmed = sign_ups_a_day(snapshot(accounts, trigger="post_confirmation"))
    assert promised is not None
    assert confirmed is not None
    assert confirmed.expected == pytest.approx(promised.expected / 2, abs=0.5)


@pytest.mark.parametrize("hours", [None, 5, 30])
def test_an_app_of_less_than_two_days_has_no_forecast(hours: int | None) -> None:
    accounts = [account("a", NOW - timedelta(hours=hours))] if hours else []
    assert sign_ups_a_day(snapshot(accounts)) is None
