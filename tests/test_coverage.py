"""Which ways of making an account the trigger covers, and rows that belong to another pool."""

from datetime import timedelta

import pytest
from trends_kit import NOW, account, row, run, snapshot

from lib.views import coverage
from lib.views.strangers import strangers

LONG_AGO = NOW - timedelta(days=2)
BEFORE_THE_LOG = NOW - timedelta(days=400)


def cells(made):
    return {
        (line["origin"], line["trigger_source"]): (line["with_row"], line["without_row"])
        for line in coverage.matrix(made).to_dict("records")
    }


def test_each_account_stands_once_under_how_it_came_to_be_and_what_was_seen_for_it():
    accounts = [
        account("self", LONG_AGO),
        account("lost", LONG_AGO),
        account("unseen", LONG_AGO),
        account("old", BEFORE_THE_LOG),
        account("admin", LONG_AGO, status="FORCE_CHANGE_PASSWORD"),
        account("admin-since-confirmed", LONG_AGO),
        account("csv", LONG_AGO, status="RESET_REQUIRED"),
        account("reset-by-an-admin", LONG_AGO, status="RESET_REQUIRED"),
        account("Google_1", LONG_AGO, status="EXTERNAL_PROVIDER", provider="Google"),
    ]
    runs = [
        run("1", "self", LONG_AGO),
        run("2", "lost", LONG_AGO),
        run("3", "admin-since-confirmed", LONG_AGO, trigger_source="PreSignUp_AdminCreateUser"),
        run("4", "reset-by-an-admin", LONG_AGO),
        run("5", "google_1", LONG_AGO, trigger_source="PreSignUp_ExternalProvider"),
        run("6", "self", LONG_AGO, trigger_source="PostConfirmation_ConfirmForgotPassword"),
    ]
    rows = [row(name, LONG_AGO) for name in ("self", "old", "admin-since-confirmed", "reset-by-an-admin", "Google_1")]
    assert cells(snapshot(accounts, rows, runs)) == {
        ("self_sign_up", "PreSignUp_SignUp"): (2, 1),
        ("self_sign_up", "none"): (0, 1),
        ("self_sign_up", "unknown"): (1, 0),
        ("federated", "PreSignUp_ExternalProvider"): (1, 0),
        ("admin_created", "none"): (0, 1),
        ("admin_created", "PreSignUp_AdminCreateUser"): (1, 0),
        ("imported", "none"): (0, 1),
    }


def test_a_tombstone_is_no_row_and_a_run_for_an_earlier_holder_of_the_name_was_not_seen():
    accounts = [account("anna", LONG_AGO), account("bob", LONG_AGO)]
    runs = [run("1", "bob", LONG_AGO - timedelta(days=5))]
    made = snapshot(accounts, [row("anna", LONG_AGO, deleted=True), row("bob", LONG_AGO)], runs)
    assert cells(made) == {("self_sign_up", "none"): (1, 1)}


def test_of_two_triggers_the_source_of_the_one_that_promises_the_row_is_shown():
    runs = [run("1", "anna", LONG_AGO), run("2", "anna", LONG_AGO, trigger_source="PostConfirmation_ConfirmSignUp")]
    world = ([account("anna", LONG_AGO)], [], runs)
    assert list(cells(snapshot(*world))) == [("self_sign_up", "PreSignUp_SignUp")]
    confirmed = snapshot(*world, trigger="post_confirmation")
    assert list(cells(confirmed)) == [("self_sign_up", "PostConfirmation_ConfirmSignUp")]


def test_a_cell_names_a_situation_and_a_cause_only_where_all_in_it_share_them():
    accounts = [account(name, LONG_AGO, status="RESET_REQUIRED") for name in ("csv1", "csv2")]
    accounts += [account("gone", LONG_AGO), account("never", LONG_AGO)]
    made = snapshot(accounts, [row("gone", LONG_AGO, deleted=True)])
    lines = {line["origin"]: (line["situation"], line["cause"]) for line in coverage.matrix(made).to_dict("records")}
    assert lines["imported"] == ("orphaned_account", "imported")
    assert all(value is None or value != value for value in lines["self_sign_up"])


def test_the_matrix_of_an_empty_pool_is_empty():
    assert coverage.matrix(snapshot([], [])).empty


@pytest.mark.parametrize("kind", coverage.PROMISES)
def test_what_a_trigger_does_not_cover_is_an_origin(kind):
    assert set(coverage.PROMISES[kind].not_covered) <= set(coverage.ORIGINS)


def test_rows_of_another_pool_are_listed_with_whose_they_are():
    ours = snapshot([account("anna", LONG_AGO)], [row("anna", LONG_AGO), row("bob", LONG_AGO)])
    found = strangers(ours, [snapshot([account("bob", LONG_AGO)], [])])
    assert list(found["row_id"]) == ["bob"]
    assert len(found["key"].iloc[0]) == 32
    assert strangers(ours, []).empty
