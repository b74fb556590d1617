"""What Accounts lists and opens, on small worlds in tables."""

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trends_kit import NOW, account, row, run, snapshot

from lib.model import FINDINGS
from lib.views import lookup
from lib.views.timeline import timeline

LONG_AGO = NOW - timedelta(days=2)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def world():
    """One line of most situations: Ann has no row, Bob is fine, Cy drifted, Dee is a row alone, Eve is deleted."""
    return snapshot(
        [
            account("ann", LONG_AGO, email="Ann.Lee@mail.test"),
            account("bob", LONG_AGO - MINUTE),
            account("cy", LONG_AGO - 2 * MINUTE, email="new@mail.test", email_verified=True),
            account("cyn", LONG_AGO - 2 * MINUTE, email="unsure@mail.test", email_verified=False),
            account("eve", LONG_AGO - 3 * MINUTE),
            account("zed", LONG_AGO - 4 * MINUTE, email="bob@mail.test"),
        ],
        [
            row("bob", LONG_AGO - MINUTE, version=1),
            row("cy", LONG_AGO - 2 * MINUTE, email="old@mail.test", version=1),
            row("cyn", LONG_AGO - 2 * MINUTE, email="sure@mail.test", version=1),
            row("dee", LONG_AGO, version=1),
            row("eve", LONG_AGO - 3 * MINUTE, deleted=True, version=2, last_changed_at=LONG_AGO),
            row("zed", LONG_AGO - 4 * MINUTE, email="bob@mail.test", version=1),
        ],
        [
            run("req-ann-1", "ann", LONG_AGO, "timeout", duration_ms=6000.0),
            run("req-ann-2", "ann", LONG_AGO + 5 * SECOND, error_message="No route", outcome="error"),
            run("req-bob", "bob", LONG_AGO - MINUTE),
        ],
        versioned=True,
    )


def names(found):
    return list(found.lines["id"].dropna())


def test_every_line_is_counted_in_its_situation(world):
    assert lookup.counts(world) == {
        "orphaned_account": 1,
        "in_sync": 2,
        "drift": 2,
        "orphaned_row": 1,
        "tombstone": 1,
        "duplicate": 1,
    }


def test_without_a_situation_the_findings_are_listed_newest_first(world):
    found = lookup.page(world)
    assert found.total == 6
    assert names(found)[:2] == ["sub-ann", "dee"]
    assert set(found.lines["situation"]) == {"orphaned_account", "orphaned_row", "drift", "tombstone", "duplicate"}


def test_pages_hold_every_line_once(world):
    pages = [lookup.page(world, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    keys = [key for found in pages for key in found.lines["key"]]
    assert len(keys) == len(set(keys)) == pages[0].total
    assert pages[3].total == 0


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("aNN.LEE", {"sub-ann"}),
        ("  ann.lee ", {"sub-ann"}),
        ("old@", {"sub-cy"}),
        ("sub-bob", {"sub-bob"}),
        ("ub-bob", set()),
        ("dee", {"dee"}),
        ("ee", {"sub-ann", "dee"}),
        ("req-ann", {"sub-ann"}),
        ("req-bob", {"sub-bob"}),
        ("bob@mail.test", {"sub-bob", "sub-zed"}),
        ("%", set()),
        ("_", set()),
        ("' or 1 = 1 --", set()),
    ],
)
def test_a_search_finds_healthy_accounts_too_and_takes_no_character_for_a_pattern(world, search, expected):
    assert set(names(lookup.page(world, search=search))) == expected


def test_a_search_stays_within_the_chosen_situation_but_counts_tell_where_else_it_finds(world):
    assert lookup.page(world, situation="orphaned_account", search="bob").total == 0
    assert lookup.counts(world, search="bob@mail.test") == {"in_sync": 2, "duplicate": 1}


def test_a_duplicate_is_found_by_the_id_of_who_has_its_email(world):
    found = lookup.page(world, situation="duplicate", search="zed")
    assert found.total == 1
    assert names(found) == []


def test_causes_are_counted_within_a_situation(world):
    assert lookup.causes(world, "orphaned_account") == {"trigger_error": 1}
    assert lookup.causes(world, "drift") == {}
    assert lookup.page(world, situation="orphaned_account", cause="silent_failure").total == 0


def test_ids_are_those_of_the_lines_that_match_and_never_a_duplicate(world):
    assert lookup.ids(world) == names(lookup.page(world))
    assert lookup.ids(world, "duplicate") == []


def test_drift_to_an_unverified_email_is_not_repaired_with_all_others(world):
    assert lookup.repairable(world, ["orphaned_account", "drift"]) == ["sub-ann", "sub-cy"]
    assert lookup.repairable(world, ["orphaned_account"], situation="drift") == []


def test_a_row_that_somebody_deleted_is_not_repaired_with_all_others():
    known = {"kind": "row", "id": "ann", "first_seen": LONG_AGO, "last_seen": LONG_AGO + MINUTE, "source": "snapshot"}
    world = snapshot([account("ann", LONG_AGO)], [row("bob", LONG_AGO)], [], [known])
    assert lookup.causes(world, "orphaned_account") == {"row_deleted": 1}
    assert lookup.repairable(world, ["orphaned_account"]) == []


def test_a_chosen_line_that_no_longer_matches_is_not_chosen_any_more(world):
    keys = ["sub-ann", "sub-bob", "nobody"]
    assert list(lookup.chosen(world, keys, situation="orphaned_account")["key"]) == ["sub-ann"]
    assert list(lookup.chosen(world, keys)["situation"]) == ["orphaned_account"]
    assert lookup.chosen(world, []).empty


def test_an_export_holds_what_matches_in_the_columns_of_the_contract(world):
    exported = lookup.matching(world, situation="drift")
    assert exported.schema == FINDINGS
    assert set(exported["sub"].to_pylist()) == {"sub-cy", "sub-cyn"}


def test_no_key_holds_an_email_even_where_the_username_is_one():
    world = snapshot([account("eve@mail.test", LONG_AGO, sub=None)], [row("row@mail.test", LONG_AGO)])
    keys = list(lookup.page(world).lines["key"])
    assert len(keys) == 2
    assert not any("@" in key for key in keys)
    assert {lookup.one(world, key).line["situation"] for key in keys} == {"orphaned_account", "orphaned_row"}


@pytest.mark.parametrize("key", ["sub-cy", "cy"])
def test_an_account_is_opened_by_sub_or_username_with_both_records(world, key):
    detail = lookup.one(world, key)
    assert (detail.key, detail.account["username"], detail.row["id"]) == ("sub-cy", "cy", "cy")
    assert detail.email == "new@mail.test"


def test_a_row_without_account_is_opened_by_its_id_or_the_digest_of_it(world):
    detail = lookup.one(world, "dee")
    assert detail.account is None
    assert lookup.one(world, detail.key).row["id"] == "dee"
    assert "dee" not in detail.key


def test_what_nothing_is_called_opens_nothing(world):
    assert lookup.one(world, "nobody") is None
    assert lookup.one(world, "") is None


def test_a_duplicate_opens_those_who_have_its_email(world):
    [key] = lookup.page(world, situation="duplicate").lines["key"]
    detail = lookup.one(world, key)
    assert [other["sub"] for other in detail.duplicates] == ["sub-zed", "sub-bob"]
    assert (detail.account, detail.row, timeline(world, detail)) == (None, None, [])


def test_runs_are_in_the_order_of_their_start(world):
    assert [each["request_id"] for each in lookup.one(world, "ann").invocations] == ["req-ann-1", "req-ann-2"]


def test_emails_differ_by_their_key_and_attributes_of_one_side_never_differ():
    shouted = account(
        "ann", LONG_AGO, email="ANN@mail.test", attributes=json.dumps({"name": "Ann", "phone_number": "1"})
    )
    kept = row("ann", LONG_AGO, item=json.dumps({"id": "ann", "email": "ann@mail.test", "name": "Anna", "_version": 3}))
    detail = lookup.one(snapshot([shouted], [kept]), "ann")
    lines = {line.name: line for line in lookup.compared(detail)}
    assert [name for name, line in lines.items() if line.differs] == ["name"]
    assert (lines["E-mail"].account, lines["E-mail"].row) == ("ANN@mail.test", "ann@mail.test")
    assert (lines["_version"].account, lines["_version"].row) == (None, "3")


def test_drifted_emails_are_marked_as_different(world):
    lines = {line.name: line.differs for line in lookup.compared(lookup.one(world, "cy"))}
    assert lines["E-mail"]
    assert not lines["Id"]


def test_a_timeline_tells_each_attempt_marks_the_late_one_and_ends_with_the_missing_row(world):
    moments = timeline(world, lookup.one(world, "ann"))
    told = [(each.what, each.state, each.source, each.id) for each in moments]
    assert told == [
        ("Account created", "ok", "pool", "ann"),
        ("Trigger PreSignUp_SignUp", "problem", "log", "req-ann-1"),
        ("Trigger PreSignUp_SignUp, attempt 2", "problem", "log", "req-ann-2"),
        ("No row", "problem", "table", None),
    ]
    assert "longer than the 5 s" in moments[1].said
    assert "longer than the 5 s" not in moments[2].said


def test_a_run_that_finished_although_no_row_came_is_a_warning():
    world = snapshot([account("ann", LONG_AGO)], [], [run("r", "ann", LONG_AGO - SECOND)])
    [silent] = [each for each in timeline(world, lookup.one(world, "ann")) if each.source == "log"]
    assert (silent.state, "no row was written" in silent.said) == ("warning", True)


@pytest.mark.parametrize(("after", "state"), [(SECOND, "ok"), (5 * MINUTE, "warning")])
def test_a_row_that_came_long_after_a_run_is_not_the_work_of_that_run(after, state):
    world = snapshot([account("ann", LONG_AGO)], [row("ann", LONG_AGO + after)], [run("r", "ann", LONG_AGO - SECOND)])
    [ran] = [each for each in timeline(world, lookup.one(world, "ann")) if each.source == "log"]
    assert ran.state == state


def test_a_soft_deletion_is_told_with_its_version(world):
    last = timeline(world, lookup.one(world, "eve"))[-1]
    assert (last.what, last.at, last.said) == ("Row soft-deleted", LONG_AGO, "version 2")


def test_an_account_that_an_earlier_snapshot_had_is_told_with_the_time_it_was_last_seen():
    known = {
        "kind": "account",
        "id": "dee",
        "first_seen": LONG_AGO,
        "last_seen": LONG_AGO + MINUTE,
        "source": "snapshot",
    }
    world = snapshot([account("bob", LONG_AGO)], [row("bob", LONG_AGO), row("dee", LONG_AGO)], [], [known])
    moments = timeline(world, lookup.one(world, "dee"))
    assert [(each.what, each.at) for each in moments][-1] == ("Account last seen", LONG_AGO + MINUTE)


def test_moments_are_in_order_and_those_without_a_time_come_last():
    world = snapshot([account("ann", LONG_AGO)], [row("ann", None)])
    moments = timeline(world, lookup.one(world, "ann"))
    assert [each.what for each in moments] == ["Account created", "Row created"]
    assert moments[-1].at is None


def step(**facts):
    return {
        "run_id": "run-1",
        "action": "create_row",
        "state": "done",
        "message": None,
        "settled_at": "2026-11-22T10:00:00.000Z",
        "intent_at": None,
        "who": "ops@host",
        "why": "key expired",
        "kind": "repair",
    } | facts


def test_repairs_are_told_by_who_and_why_and_what_is_only_planned_is_not(world):
    steps = [step(), step(state="planned"), step(state="refused", kind="undo", action="delete_row", message="moved")]
    told = [each for each in timeline(world, lookup.one(world, "bob"), steps) if each.source == "journal"]
    assert [(each.what, each.state, each.id) for each in told] == [
        ("Row created by a repair", "ok", "run-1"),
        ("Row deleted by an undo: refused", "warning", "run-1"),
    ]
    assert told[0].said == "by ops@host · key expired"


@settings(deadline=None, max_examples=40)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_whatever_is_searched_for_is_taken_as_it_is_written(text):
    world = snapshot([account("ann", LONG_AGO, email=f"x{text}y@mail.test", email_key="x"), account("bob", LONG_AGO)])
    found = lookup.page(world, search=text)
    assert text.isspace() or "sub-ann" in names(found)
    assert lookup.counts(world, search=text).get("orphaned_account", 0) in (1, 2)
