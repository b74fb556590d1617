"""One account's timeline: each moment with its source and id, in time order, and no more said than is known."""

from datetime import timedelta

import pytest
from trends_kit import NOW, account, row, run, snapshot

from lib.views import lookup, trends
from lib.views.timeline import drift_seen, timeline

DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
AT = NOW - 3 * DAY


def moments(world, name="ann", **more):
    return timeline(world, lookup.one(world, name), **more)


def told(world, name="ann", **more):
    return [(each.at, each.what, each.source, each.id) for each in moments(world, name, **more)]


def test_every_moment_has_its_source_and_its_id_and_they_are_in_time_order():
    runs = [run("r1", "ann", AT, "timeout", duration_ms=6000.0), run("r2", "ann", AT + 5 * SECOND)]
    created = AT + 6 * SECOND
    kept = row("ann", created, version=3, last_changed_at=created + DAY, email="old@mail.test")
    world = snapshot([account("ann", AT + SECOND, modified_at=created + MINUTE)], [kept], runs, versioned=True)
    drift = drift_seen([world], lookup.one(world, "ann"))
    step = {
        "run_id": "run-1",
        "action": "update_row",
        "state": "failed",
        "message": None,
        "settled_at": "2026-11-22T10:00:00.000Z",
        "intent_at": None,
        "who": None,
        "why": None,
        "kind": "repair",
    }
    found = told(world, steps=[step], drift=drift)
    assert [each[1:] for each in found] == [
        ("Trigger PreSignUp_SignUp", "log", "r1"),
        ("Account created", "pool", "ann"),
        ("Trigger PreSignUp_SignUp, attempt 2", "log", "r2"),
        ("Row created", "table", "ann"),
        ("Confirmed by then", "pool", "ann"),
        ("Row changed", "table", "ann"),
        ("Row updated by a repair: failed", "journal", "run-1"),
        ("E-mail drift seen", "snapshot", world.stamp),
    ]
    assert [each[0] for each in found] == sorted(each[0] for each in found)


@pytest.mark.parametrize(
    ("status", "changed", "said"),
    [
        ("CONFIRMED", DAY, ["Account created", "Confirmed by then"]),
        ("CONFIRMED", timedelta(0), ["Account created"]),
        ("UNCONFIRMED", DAY, ["Account created", "Account changed"]),
    ],
)
def test_of_the_confirmation_no_more_is_said_than_the_pool_tells(status, changed, said):
    ann = account("ann", AT, status=status, modified_at=AT + changed)
    world = snapshot([ann], [row("ann", AT)])
    assert [each.what for each in moments(world) if each.source == "pool"] == said
    at_once = moments(world)[0].said == "confirmed at once"
    assert at_once == (status == "CONFIRMED" and not changed)


def test_a_trigger_that_ran_for_the_confirmation_proves_its_time():
    confirmed = run("r", "ann", AT + MINUTE, trigger_source="PostConfirmation_ConfirmSignUp")
    world = snapshot([account("ann", AT, modified_at=AT + DAY)], [row("ann", AT + MINUTE)], [confirmed])
    found = told(world)
    assert (AT + MINUTE, "Confirmed", "log", "r") in found
    assert (AT + DAY, "Account changed", "pool", "ann") in found


def drifted(at, *, is_drift=True, **manifest):
    found = snapshot(
        [account("ann", AT, email="new@mail.test")],
        [row("ann", AT, email="old@mail.test" if is_drift else "new@mail.test")],
        at=at,
    )
    found.manifest |= manifest
    return found


def test_drift_is_dated_by_the_first_snapshot_in_a_row_that_shows_it():
    newest, middle, before = (NOW - number * DAY for number in range(3))
    history = [drifted(newest), drifted(middle), drifted(before, is_drift=False), drifted(before - DAY)]
    detail = lookup.one(history[0], "ann")
    seen = drift_seen(history, detail)
    assert (seen.at, seen.stamp, seen.oldest) == (middle, history[1].stamp, False)
    [moment] = [each for each in moments(history[0], drift=seen) if each.source == "snapshot"]
    assert moment.said == "The snapshot before had them alike"


def test_drift_that_the_oldest_snapshot_shows_may_be_older_and_is_said_so():
    history = [drifted(NOW), drifted(NOW - DAY)]
    seen = drift_seen(history, lookup.one(history[0], "ann"))
    assert (seen.at, seen.oldest) == (NOW - DAY, True)
    [moment] = [each for each in moments(history[0], drift=seen) if each.source == "snapshot"]
    assert moment.said == "Already in the oldest snapshot that is kept"


def test_a_snapshot_that_was_not_read_to_its_end_does_not_end_a_drift():
    history = [drifted(NOW), drifted(NOW - DAY, is_drift=False, complete=False), drifted(NOW - 2 * DAY)]
    assert drift_seen(history, lookup.one(history[0], "ann")).at == NOW - 2 * DAY


def test_without_drift_none_was_seen():
    world = drifted(NOW, is_drift=False)
    assert drift_seen([world], lookup.one(world, "ann")) is None


def overwritten():
    signed_up = run("r1", "ann", AT)
    reset = run("r2", "ann", AT + DAY, trigger_source="PostConfirmation_ConfirmForgotPassword")
    return snapshot([account("ann", AT)], [row("ann", AT + DAY + SECOND)], [signed_up, reset])


def test_a_row_that_a_password_reset_wrote_anew_is_told_with_its_run():
    [came] = [each for each in moments(overwritten()) if each.source == "table"]
    assert (came.what, came.state) == ("Row overwritten by a password reset", "warning")
    assert came.said.startswith("in the run r2 of PostConfirmation_ConfirmForgotPassword")


def test_no_run_before_a_password_reset_is_said_to_have_written_no_row():
    runs = [each for each in moments(overwritten()) if each.source == "log"]
    assert runs
    assert [each for each in runs if "no row was written" in each.said or each.state == "warning"] == []


def test_overwritten_rows_are_counted_and_listed_with_their_account():
    found = trends.overwritten(overwritten())
    assert found.attrs["count"] == 1
    [line] = found.to_dict("records")
    assert (line["account_id"], line["sub"], line["signed_up_at"]) == ("ann", "sub-ann", AT)
    assert line["why"] == f"Row overwritten at the password reset of {AT + DAY + SECOND:%-d %b %Y, %H:%M} UTC"
    assert list(found.columns) == list(trends.members(overwritten(), trends.period(overwritten())).columns)
    nobody = trends.overwritten(snapshot([account("ann", AT)], [row("ann", AT)]))
    assert (len(nobody), nobody.attrs["count"]) == (0, 0)
