"""How rows are matched to accounts: learnt from both sides, presumed where nothing can be learnt, never guessed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from reconcile_kit import STARTED_AT, account, row, tables

from lib import matching
from lib.config import Settings
from lib.model import CORRELATIONS, Read, Source, Wiring
from lib.reconcile import correlation
from lib.snapshot import Store

WIRING = Wiring(pool="eu-west-1_Pool1", region="eu-west-1", table="User-x")


def scores(accounts, rows):
    world = tables(accounts, rows)
    return correlation.scores(world["accounts"], world["rows"])


def people(count, **facts):
    return [account(f"u{number}", **facts) for number in range(count)]


def strange(row_id, **facts):
    """A row whose id and e-mail are nobody's."""
    return row(row_id, **{"email": f"{row_id}@elsewhere.test"} | facts)


ROWS_BY = {
    "username": lambda person: row(person["username"], email=None),
    "sub": lambda person: row(person["sub"], email=None),
    "owner_sub_username": lambda person: row(
        f"row-{person['username']}", email=None, owner=f"{person['sub']}::{person['username']}"
    ),
    "owner_username": lambda person: row(f"row-{person['username']}", email=None, owner=person["username"]),
    "email": lambda person: row(f"row-{person['username']}", email=person["email"].upper()),
}


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("username", "username"),
        ("sub", "sub"),
        ("owner_sub_username", "owner"),
        ("owner_username", "owner"),
        ("email", "email"),
    ],
)
def test_each_way_of_matching_is_told_from_all_others(way, expected):
    accounts = people(10)
    shares = scores(accounts, [ROWS_BY[way](person) for person in accounts])
    assert shares == dict.fromkeys(correlation.WAYS, 0.0) | {way: 1.0, expected: 1.0}
    assert correlation.learnt(shares) == expected


def test_both_forms_of_owner_together_are_one_correlation():
    accounts = people(10)
    forms = ["owner_sub_username"] * 6 + ["owner_username"] * 4
    shares = scores(accounts, [ROWS_BY[form](person) for form, person in zip(forms, accounts, strict=True)])
    assert (shares["owner"], shares["owner_sub_username"], shares["owner_username"]) == (1.0, 0.6, 0.4)
    assert correlation.learnt(shares) == "owner"


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        (("username", "sub"), None),
        (("username", "owner_username"), None),
        (("sub", "email"), None),
    ],
)
def test_a_table_whose_halves_are_matched_in_two_ways_has_no_correlation(ways, expected):
    accounts = people(20)
    rows = [ROWS_BY[ways[number % 2]](person) for number, person in enumerate(accounts)]
    assert correlation.learnt(scores(accounts, rows)) is expected


def test_in_a_pool_whose_usernames_are_the_subs_it_is_the_username():
    accounts = [account(f"u{number}", sub=f"u{number}") for number in range(10)]
    shares = scores(accounts, [row(person["username"]) for person in accounts])
    assert (shares["username"], shares["sub"], shares["email"]) == (1.0, 1.0, 1.0)
    assert correlation.learnt(shares) == "username"


def test_the_share_is_of_the_smaller_side_without_soft_deleted_rows():
    accounts = people(40)
    rows = [row(person["username"]) for person in accounts[:9]] + [strange("x")]
    rows += [row(f"u{number}", deleted=True) for number in range(10, 40)]
    assert scores(accounts, rows)["username"] == 0.9
    assert scores(people(9), rows)["username"] == 1.0


def test_rows_that_repeat_a_key_count_once():
    accounts = people(10)
    rows = [row(f"row-{number}", email="u0@mail.test") for number in range(10)]
    assert scores(accounts, rows)["email"] == 0.1


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"username": 0.9}, "username"),
        ({"username": 0.89}, None),
        ({"email": 0.95, "username": 0.75}, "email"),  # 20 points ahead
        ({"email": 0.95, "username": 0.76}, None),  # too near to be clear, and the first of the two is too low
        ({"username": 0.95, "email": 0.94}, "username"),
        ({"username": 0.95, "email": 1.0}, "username"),  # a tie goes to the first
        ({"sub": 0.95, "owner": 1.0, "email": 1.0}, "sub"),
        ({"owner": 0.95, "email": 1.0}, "owner"),
        ({}, None),
    ],
)
def test_it_takes_nine_tenths_and_the_first_of_those_that_are_not_20_points_behind(shares, expected):
    assert correlation.learnt(dict.fromkeys(correlation.WAYS, 0.0) | shares) == expected


@given(shares=some.fixed_dictionaries({way: some.floats(0, 1) for way in correlation.WAYS}))
def test_what_is_learnt_matches_enough_and_nothing_leads_it_clearly(shares):
    learnt = correlation.learnt(shares)
    if learnt is not None:
        assert shares[learnt] >= correlation.ENOUGH - 1e-6
        assert max(shares[way] for way in CORRELATIONS) - shares[learnt] < correlation.AHEAD


@pytest.mark.parametrize(("accounts", "rows"), [([], []), (people(3), []), ([], [row("a")])])
def test_of_an_empty_side_there_are_no_scores(accounts, rows):
    assert scores(accounts, rows) == {}
    assert correlation.learnt({}) is None


# What a refresh makes of it


def read(table, complete=True):
    return Read(table, Source(complete, None if complete else "cut", 1, table.num_rows, STARTED_AT, STARTED_AT))


def settled(accounts, rows, wiring=WIRING, complete=True):
    world = tables(accounts, rows)
    return matching.settled(wiring, read(world["accounts"]), read(world["rows"], complete))


def configured(correlation_set=None):
    return Settings("test", WIRING.pool, WIRING.region, correlation=correlation_set)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path), "test", 30)


def stored(store, accounts, rows, wiring):
    world = tables(accounts, rows)
    return store.write(
        *(read(world[name]) for name in ("accounts", "rows", "invocations")),
        wiring=wiring,
        settings=configured(),
        started_at=STARTED_AT - timedelta(hours=1),
    )


def test_what_is_learnt_is_kept_with_its_scores(store):
    accounts = people(5)
    wiring = settled(accounts, [row(person["sub"]) for person in accounts])
    assert (wiring.correlation, wiring.correlation_source, wiring.warnings) == ("sub", "learnt", ())
    kept = stored(store, accounts, [], wiring).wiring
    assert (kept.correlation, kept.correlation_source, kept.correlation_scores["sub"]) == ("sub", "learnt", 1.0)


def test_what_is_configured_stays_and_its_scores_are_shown_all_the_same():
    accounts = people(5)
    wiring = matching.presumed(WIRING, configured("email"), None)
    wiring = settled(accounts, [row(person["sub"], email=None) for person in accounts], wiring)
    assert (wiring.correlation, wiring.correlation_source) == ("email", "configured")
    assert (wiring.correlation_scores["sub"], wiring.correlation_scores["email"]) == (1.0, 0.0)


def test_a_correlation_that_is_not_clear_is_none_and_the_warning_says_what_was_found():
    accounts = people(4)
    wiring = settled(accounts, [row("u0"), row("u1"), strange("x"), strange("y")])
    assert (wiring.correlation, wiring.correlation_source) == (None, "unknown")
    [warning] = wiring.warnings
    assert "id = username 50%" in warning
    assert warning.endswith('If it is by id = username, set correlation = "username" in pooltable.toml.')
    [warning] = settled(accounts, [strange("x"), strange("y")]).warnings
    assert "nothing matches" in warning
    assert warning.endswith("Set correlation in pooltable.toml.")


@pytest.mark.parametrize("sub", ["u0", "another"])
def test_an_empty_table_is_taken_to_be_matched_by_username_and_says_so(sub):
    wiring = settled([account("u0", sub=sub)], [])
    assert (wiring.correlation, wiring.correlation_source) == ("username", "presumed")
    [warning] = wiring.warnings
    assert "no living row" in warning
    assert ("is also the sub" in warning) == (sub == "u0")


def test_from_an_unfinished_read_nothing_is_learnt(store):
    accounts = people(5)
    wiring = settled(accounts, [row(person["sub"]) for person in accounts], complete=False)
    assert (wiring.correlation, wiring.correlation_source) == ("username", "presumed")
    assert (wiring.correlation_scores, wiring.warnings) == ({}, ())


def test_what_was_learnt_before_outlives_an_empty_table_and_another_pool_does_not_inherit_it(store):
    accounts = people(5)
    stored(store, accounts, [], settled(accounts, [row(person["sub"]) for person in accounts]))
    again = settled(accounts, [], matching.presumed(WIRING, configured(), store))
    assert (again.correlation, again.correlation_source, again.warnings) == ("sub", "learnt", ())
    other = Wiring(pool="eu-west-1_Other", region="eu-west-1", table="User-x")
    assert matching.presumed(other, configured(), store).correlation == "username"


def test_between_refreshes_the_newest_snapshot_tells_the_correlation_even_that_there_is_none(store):
    accounts = people(4)
    stored(store, accounts, [], settled(accounts, [row(person["sub"]) for person in accounts]))
    stored(store, accounts, [], settled(accounts, [row("u0"), strange("x"), strange("y"), strange("z")]))
    now_known = matching.remembered(WIRING, configured(), store)
    assert (now_known.correlation, now_known.correlation_scores["username"]) == (None, 0.25)
    assert matching.remembered(WIRING, configured("sub"), store).correlation == "sub"


# Rows of another pool


def foreign(accounts, rows, strangers):
    world = tables(accounts, rows)
    return correlation.foreign_rows(world["accounts"], world["rows"], tables(strangers)["accounts"])


def test_rows_with_the_username_or_sub_of_another_pools_account_are_foreign():
    ours, theirs = [account("anna")], [account("bob"), account("carl")]
    rows = [row("anna"), row("sub-bob"), row("carl"), row("dora"), row("gone", deleted=True)]
    assert foreign(ours, rows, [*theirs, account("gone")]) == ["carl", "sub-bob"]


def test_an_id_that_both_pools_know_is_not_foreign():
    assert foreign([account("google_1")], [row("google_1")], [account("google_1")]) == []


def test_foreign_rows_are_a_warning_that_names_the_environment_and_no_id(store):
    theirs = stored(store, [account("bob@mail.test")], [], Wiring(pool="eu-west-1_Other", region="eu-west-1"))
    world = tables([account("anna")], [row("anna"), row("bob@mail.test")])
    wiring = matching.without_strangers(WIRING, world["accounts"], world["rows"], [theirs])
    [warning] = wiring.warnings
    assert "own 1 of the rows of table User-x: those of test (pool eu-west-1_Other)" in warning
    assert "bob" not in str(wiring.manifest())
