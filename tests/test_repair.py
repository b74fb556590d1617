import json
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repair_kit import Fault, Services

from lib import repair
from lib.journal import Journal
from lib.model import ConfigError, JournalError, Refused, iso, now
from lib.repair.plan import Plan
from lib.repair.step import SERVICE_SET

KINDS = [("dynamodb", False), ("dynamodb", True), ("appsync", True), ("appsync", False)]
HOSTILE = ["a'\"; $(x) `y`", "=1+1", "<img onerror=x>", "\u202eabc", "😀" * 20, "x\ty", "{sub}", "null", "a" * 128]


@pytest.fixture(scope="module")
def services():
    running = Services()
    yield running
    running.stop()


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{'versioned' if kind[1] else 'plain'}")
def town(request, services):
    return services.town(writer=request.param[0], versioned=request.param[1])


@pytest.fixture(params=[KINDS[0], KINDS[2]], ids=lambda kind: kind[0])
def either(request, services):
    """The two usual ways, where versions as such make no difference."""
    return services.town(writer=request.param[0], versioned=request.param[1])


@pytest.fixture
def journal(tmp_path):
    opened = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    yield opened
    opened.close()


def apply(town, journal, plan, **options):
    options = {"records": 100} | options
    return repair.apply(plan, town.world, journal, who="ana", settings=town.settings, **options)


def undo(town, journal, run, **options):
    repair.settle(town.world, journal, "test", who="ana", resend=False)
    return apply(town, journal, repair.undo_plan(journal, run.run_id), records=None, **options)


def states(run):
    return [outcome.state for outcome in run.outcomes]


def application(rows):
    return {
        id: {name: value for name, value in row.items() if name not in SERVICE_SET}
        for id, row in rows.items()
        if row.get("_deleted") != {"BOOL": True}
    }


def lost_and_drifted(town):
    town.account("lost")
    town.account("moved", "new@mail.test")
    town.row("moved", extra={"SS": ["a", "b"]})
    town.account("fine")
    town.row("fine")


def test_a_plan_is_carried_out_verified_and_on_record(town, journal):
    lost_and_drifted(town)
    told = []
    run = apply(town, journal, town.plan(), why="backfill", progress=lambda *line: told.append(line))
    assert run.state == "done"
    assert run.exit_code == 0
    assert states(run) == ["done", "done"]
    rows = town.rows()
    assert rows["lost"]["owner"] == {"S": "sub-lost::lost"}
    assert rows["lost"]["email"] == {"S": "lost@mail.test"}
    assert rows["lost"]["createdAt"] == rows["lost"]["updatedAt"]
    assert rows["moved"]["email"] == {"S": "new@mail.test"}
    assert rows["moved"]["extra"] == {"SS": ["a", "b"]}
    if town.versioned:
        assert (rows["lost"]["_version"], rows["moved"]["_version"]) == ({"N": "1"}, {"N": "2"})
    else:
        assert not {"_version", "_lastChangedAt"} & set(rows["lost"])
    assert town.plan().steps == ()
    assert [line for line, _, _ in told] == [
        f"run {run.run_id}",
        "1/2 done create_row lost.",
        "2/2 done update_row moved.",
    ]
    assert told[-1][1:] == (2, 2)
    [record] = journal.runs(run_id=run.run_id)
    assert (record["who"], record["why"], record["done"], record["steps"]) == ("ana", "backfill", 2, 2)
    assert record["steps_detail"][0]["after"] == rows["lost"]
    assert record["steps_detail"][1]["after"] == rows["moved"]
    assert run.to_json() == record
    verified = journal.verified_since("test", town.pool, town.table, now() - timedelta(minutes=5))
    assert {id: after for id, after, _ in verified} == {"lost": rows["lost"], "moved": rows["moved"]}
    assert len(town.gate.done) == 2


def test_the_same_plan_again_changes_nothing(town, journal):
    lost_and_drifted(town)
    plan = town.plan()
    apply(town, journal, plan)
    before = town.rows()
    again = apply(town, journal, plan)
    assert (again.state, again.exit_code, states(again)) == ("done", 0, ["already", "already"])
    assert town.rows() == before
    assert len(town.gate.done) == 2


def test_undo_restores_every_application_attribute(town, journal):
    lost_and_drifted(town)
    before = town.rows()
    run = apply(town, journal, town.plan())
    undone = undo(town, journal, run, why="not meant")
    assert (undone.state, undone.exit_code) == ("done", 0)
    assert application(town.rows()) == application(before)
    assert ("lost" in town.rows()) == (town.settings.writer == "appsync" and town.versioned)
    [record] = journal.history(run_id=undone.run_id)
    assert (record["kind"], record["undo_of"]) == ("undo", run.run_id)
    assert states(undo(town, journal, run)) == ["already", "already"]


def test_the_preview_of_an_undo_says_what_it_leaves(either, journal):
    town = either
    lost_and_drifted(town)
    run = apply(town, journal, town.plan())
    preview = repair.undo_plan(journal, run.run_id)
    assert [step.action for step in preview.steps] == ["update_row", "delete_row"]
    assert preview.cost == {"admin_get_user": 0, "writes": 2}
    leaves = town.settings.writer == "appsync" and town.versioned
    assert any("tombstone" in note for note in preview.notes) is leaves
    assert any("row_deleted" in note for note in preview.notes) is not leaves


def test_a_row_that_was_touched_since_is_not_undone(either, journal):
    town = either
    lost_and_drifted(town)
    run = apply(town, journal, town.plan())
    town.change("lost", "nickname", {"S": "mine"})
    town.change("moved", "nickname", {"S": "mine"})
    before = town.rows()
    undone = undo(town, journal, run)
    assert (undone.state, states(undone)) == ("partial", ["refused", "refused"])
    assert "nickname" in undone.outcomes[0].message
    assert town.rows() == before


def test_an_undo_cannot_be_undone_and_an_unknown_run_is_named(either, journal):
    town = either
    lost_and_drifted(town)
    undone = undo(town, journal, apply(town, journal, town.plan()))
    with pytest.raises(Refused, match="itself an undo"):
        undo(town, journal, undone)
    with pytest.raises(ConfigError, match="no run 'nope'"):
        repair.undo_plan(journal, "nope")


def test_after_an_undo_a_tombstone_is_not_written_over(services, journal):
    town = services.town(writer="appsync", versioned=True)
    town.account("lost")
    plan = town.plan()
    undo(town, journal, apply(town, journal, plan))
    again = apply(town, journal, plan)
    assert states(again) == ["refused"]
    assert "soft-deleted" in again.outcomes[0].message
    assert town.rows()["lost"]["_deleted"] == {"BOOL": True}


def test_exactly_the_steps_whose_world_moved_are_refused(town, journal):
    for name in ("gone", "renamed", "reborn", "made", "calm"):
        town.account(name)
    for name in ("drift1", "drift2", "drift3", "drift4"):
        town.account(name, f"new.{name}@mail.test")
        town.row(name)
    plan = town.plan()
    town.forget("gone")
    town.change_email("renamed", "other@mail.test")
    town.forget("reborn")
    town.account("reborn", sub="another")
    town.row("made", by={"S": "the app"})
    town.change("drift1", "nickname", {"S": "x"})
    town.remove("drift2")
    town.change("drift3", "email", {"S": "New.drift3@mail.test "})
    before = town.rows()
    run = apply(town, journal, plan)
    by_id = {step.row_id: outcome for step, outcome in zip(plan.steps, run.outcomes, strict=True)}
    assert {id: outcome.state for id, outcome in by_id.items()} == {
        "calm": "done",
        "made": "already",
        "gone": "refused",
        "renamed": "refused",
        "reborn": "refused",
        "drift1": "refused",
        "drift2": "refused",
        "drift3": "already",
        "drift4": "done",
    }
    assert by_id["gone"].message == "The account is gone."
    assert by_id["renamed"].message == "The account was changed meanwhile: email."
    assert "another one" in by_id["reborn"].message
    assert by_id["drift1"].message == "The row was changed meanwhile: nickname."
    assert by_id["drift2"].message == "The row was deleted meanwhile."
    assert (run.state, run.exit_code) == ("partial", 1)
    after = town.rows()
    assert {id: row for id, row in after.items() if id not in ("calm", "drift4")} == {
        id: row for id, row in before.items() if id != "drift4"
    }


@pytest.mark.parametrize("counted", [True, False])
def test_a_row_that_moves_between_reading_and_writing_is_not_overwritten(town, journal, counted):
    town.account("moved", "new@mail.test")
    town.row("moved")
    plan = town.plan()

    def app_writes():
        town.gate.before_write = None
        town.change("moved", "email", {"S": "app@mail.test"})
        if town.versioned and counted:
            town.change("moved", "_version", {"N": "7"})

    town.gate.before_write = app_writes
    run = apply(town, journal, plan)
    assert states(run) == ["refused"]
    assert town.rows()["moved"]["email"] == {"S": "app@mail.test"}


def test_a_row_that_appears_between_reading_and_writing_is_already_there(either, journal):
    town = either
    town.account("lost")
    plan = town.plan()

    def trigger_writes():
        town.gate.before_write = None
        at = {"S": iso(now() + timedelta(milliseconds=1))}
        town.row("lost", createdAt=at, updatedAt=at)

    town.gate.before_write = trigger_writes
    run = apply(town, journal, plan)
    assert states(run) == ["already"]
    assert undo(town, journal, run).record["steps"] == 0
    assert "lost" in town.rows()


@pytest.mark.parametrize("handler", ["AUTOMERGE", "OPTIMISTIC_CONCURRENCY"])
def test_a_stale_version_is_refused_although_the_api_answers_200(services, journal, handler):
    town = services.town(writer="appsync", versioned=True, handler=handler)
    town.account("moved", "new@mail.test")
    town.row("moved")
    plan = town.plan()

    def app_writes():
        town.gate.before_write = None
        town.change("moved", "_version", {"N": "7"})
        town.change("moved", "nickname", {"S": "mine"})

    town.gate.before_write = app_writes
    run = apply(town, journal, plan)
    assert states(run) == ["refused"]
    assert town.rows()["moved"]["nickname"] == {"S": "mine"}


LOST = [Fault(503, after=True), Fault("reset", after=True), Fault(503), Fault("reset")]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: f"{fault.how}-{'after' if fault.after else 'before'}")
def test_a_write_whose_answer_is_lost_is_done_once(either, journal, fault):
    town = either
    lost_and_drifted(town)
    plan = town.plan()
    town.gate.faults = [fault, None, fault]
    run = apply(town, journal, plan)
    assert states(run) == ["done", "done"]
    assert len(town.gate.done) == 2
    assert town.plan().steps == ()
    undone = undo(town, journal, run)
    assert undone.state == "done"


def test_a_write_that_keeps_failing_does_not_stop_the_next(either, journal):
    town = either
    for name in ("a", "b"):
        town.account(name)
    plan = town.plan()
    tries = 6 if town.settings.writer == "dynamodb" else 2
    town.gate.faults = [Fault(500)] * tries
    run = apply(town, journal, plan)
    assert states(run) == ["failed", "done"]
    assert run.outcomes[0].message
    assert set(town.rows()) == {"b"}
    assert states(apply(town, journal, plan)) == ["done", "already"]


def test_an_outcome_that_cannot_be_read_back_is_unknown_until_the_next_run_settles_it(either, journal):
    town = either
    town.account("lost")
    plan = town.plan()
    # The account, the row and then the answers that would confirm the write.
    town.gate.read_faults = [None, None, Fault(400, code="ExpiredTokenException")]
    run = apply(town, journal, plan)
    assert (run.state, states(run)) == ("interrupted", ["unknown"])
    assert "lost" in town.rows()
    again = apply(town, journal, plan)
    assert states(again) == ["already"]
    [first] = journal.runs(run_id=run.run_id)
    assert (first["state"], first["done"], first["unknown"]) == ("done", 1, 0)
    assert undo(town, journal, run).state == "done"
    assert application(town.rows()) == {}


def test_two_open_steps_on_one_row_are_settled_as_one_write(either, journal):
    town = either
    town.account("lost")
    plan = town.plan()
    wanted = plan.steps[0].wanted(None, now())
    runs = []
    for who in ("ana", "bo"):
        runs.append(repair._Entry(plan, who, None).started(journal))
        with journal.lease("test", who) as lease:
            journal.intent(lease, runs[-1], 1, before=None, after=wanted)
    town.world.create(wanted)
    settled = repair.settle(town.world, journal, "test", who="ana")
    assert sorted(outcome.state for outcome in settled) == ["already", "done"]
    assert sorted(run["done"] for run_id in runs for run in journal.runs(run_id=run_id)) == [0, 1]


@pytest.mark.parametrize("reads", [0, 2])
def test_expired_credentials_stop_a_run_which_then_goes_on_where_it_stopped(either, journal, reads):
    town = either
    for name in ("a", "b", "c"):
        town.account(name)
    plan = town.plan()
    expired = Fault(400, code="ExpiredTokenException")
    # Three reads for the first step; then the second meets it, at its first read or at its third.
    town.gate.read_faults = [None, None, None, *[None] * reads, expired]
    run = apply(town, journal, plan)
    assert run.state == "interrupted"
    assert states(run) == (["done", "planned"] if reads == 0 else ["done", "unknown"])
    assert "expired" in run.message
    assert run.exit_code == 1
    again = apply(town, journal, plan)
    assert (again.state, states(again)) == ("done", ["already", *(["done"] if reads == 0 else ["already"]), "done"])
    assert len(town.gate.done) == 3


def test_a_row_that_is_back_right_after_its_undo_is_not_passed_over_in_silence(services, journal):
    town = services.town(writer="dynamodb", versioned=False)
    town.account("lost")
    run = apply(town, journal, town.plan())
    delete = town.world.delete

    def app_writes(before):
        answer = delete(before)
        town.row("lost")
        return answer

    town.world.delete = app_writes
    [outcome] = undo(town, journal, run).outcomes
    assert (outcome.state, outcome.after) == ("done", None)
    assert "changed again by somebody else right after" in outcome.message


def test_expired_credentials_at_the_write_itself_leave_the_step_planned(services, journal):
    town = services.town(writer="dynamodb", versioned=False)
    town.account("lost")
    town.gate.faults = [Fault(400, code="ExpiredTokenException")]
    run = apply(town, journal, town.plan())
    assert (run.state, states(run)) == ("interrupted", ["planned"])
    assert journal.open_steps("test", town.pool, town.table) == []


@pytest.mark.parametrize("refusal", ["expired key", "role"])
def test_an_api_that_refuses_the_caller_stops_the_run_with_the_ways_out(services, journal, refusal):
    town = services.town(writer="appsync", versioned=True)
    for name in ("a", "b"):
        town.account(name)
    plan = town.plan()
    if refusal == "role":
        town.api.iam_refused = True
        town = replace_key(town, None)
    else:
        town.api.keys.clear()
    run = apply(town, journal, plan)
    assert (run.state, states(run)) == ("interrupted", ["planned"])
    for way in ("_API_KEY", "custom-roles.json", 'writer = "dynamodb"'):
        assert way in run.message
    assert town.rows() == {}


def replace_key(town, key):
    town.settings = replace(town.settings, api_key=key)
    town.world = type(town.world)(type(town.aws)(town.settings), town.wiring)
    return town


def test_an_attribute_that_the_api_does_not_take_is_named(services, journal):
    town = services.town(writer="appsync", versioned=True)
    town.account("lost")
    town.settings = replace(town.settings, row={"plan": "gold"})
    run = apply(town, journal, town.plan())
    assert states(run) == ["failed"]
    assert "does not know 'plan'" in run.outcomes[0].message
    assert town.gate.tried == 1
    assert town.rows() == {}


def test_hostile_values_are_written_as_they_are(either, journal):
    town = either
    for number, value in enumerate(HOSTILE):
        town.account(f"user{number}", f"{value}@mail.test")
    town.account("mail'\" \\ 😀")
    run = apply(town, journal, town.plan())
    assert set(states(run)) == {"done"}
    rows = town.rows()
    assert [rows[f"user{number}"]["email"]["S"] for number in range(len(HOSTILE))] == [
        f"{value}@mail.test" for value in HOSTILE
    ]
    assert "mail'\" \\ 😀" in rows


def test_a_large_row_is_compared_and_undone_whole(either, journal):
    town = either
    town.account("moved", "new@mail.test")
    before = town.row("moved", big={"S": "x" * 20_000}, raw={"B": b"\x00\xff"}, set={"NS": ["1", "2"]})
    run = apply(town, journal, town.plan())
    assert states(run) == ["done"]
    assert undo(town, journal, run).state == "done"
    assert application(town.rows())["moved"] == application({"moved": before})["moved"]


def refused(town, journal, plan, match, **options):
    with pytest.raises(Refused, match=match) as caught:
        apply(town, journal, plan, **options)
    run = journal.runs()[0]
    assert run["run_id"] in str(caught.value)
    assert town.rows() == {}
    return run


@pytest.fixture
def small(services):
    town = services.town(writer="dynamodb", versioned=False)
    town.account("lost")
    return town


def test_a_plan_is_refused_when_it_is_too_old_or_for_another_place_and_that_is_on_record(small, journal):
    plan = small.plan()
    old = replace(plan, at=plan.at - timedelta(minutes=61))
    for made, match in [
        (old, "plan_max_age_minutes = 60"),
        (replace(plan, pool="eu-west-1_other"), "for pool eu-west-1_other"),
        (replace(plan, table="Other"), "for table Other"),
        (replace(plan, writer="appsync"), "for writer appsync"),
        (replace(plan, api="https://x"), "for api https://x"),
        (replace(plan, environment="prod"), "for prod"),
    ]:
        run = refused(small, journal, made, match)
        assert (run["state"], run["steps"], run["done"]) == ("refused", 1, 0)
    assert refused(small, journal, plan, "read-only", read_only=True)["state"] == "refused"


def test_one_over_a_threshold_waits_for_the_exact_count_and_then_goes_on_as_the_same_run(small, journal):
    small.account("lost2")
    small.settings = replace(small.settings, max_repairs=1)
    plan = small.plan()
    assert plan.over_threshold
    waiting = refused(small, journal, plan, "over the threshold")
    assert waiting["state"] == "waiting"
    assert refused(small, journal, plan, "1 is not that number", release=1)["run_id"] == waiting["run_id"]
    unmarked = replace(plan, over_threshold=False)
    refused(small, journal, unmarked, "over the threshold")
    run = apply(small, journal, plan, release=2)
    assert (run.run_id, run.state) == (waiting["run_id"], "done")
    assert set(small.rows()) == {"lost", "lost2"}
    assert undo(small, journal, run).state == "done"


def test_a_threshold_is_reckoned_at_apply_whatever_the_plan_says(small, journal):
    for number in range(11):
        small.account(f"more{number}")
    small.settings = replace(small.settings, max_repair_percent=50)
    plan = replace(small.plan(), over_threshold=False)
    refused(small, journal, plan, "12 steps are over the threshold", records=23)
    assert apply(small, journal, plan, records=24).state == "done"


def test_a_plan_whose_snapshot_is_gone_is_refused(small, journal):
    assert refused(small, journal, small.plan(), "snapshot .* is gone", records=None)["state"] == "refused"


def test_a_released_plan_again_does_not_wait_again_unless_it_was_undone(small, journal):
    small.settings = replace(small.settings, max_repairs=0)
    plan = small.plan()
    run = apply(small, journal, plan, release=1)
    again = apply(small, journal, plan)
    assert (again.state, again.exit_code, states(again)) == ("done", 0, ["already"])
    assert [entry["state"] for entry in journal.runs()] == ["done", "done"]
    undo(small, journal, run)
    undo(small, journal, again)
    refused(small, journal, plan, "over the threshold")


def test_fifty_times_the_threshold_applies_nothing(small, journal):
    for number in range(50):
        small.account(f"more{number}")
    plan = replace(small.plan(), over_threshold=True)
    refused(small, journal, plan, "51 steps")


def test_nothing_to_do_is_recorded_too(small, journal):
    plan = small.plan()
    apply(small, journal, plan)
    empty = small.plan()
    run = apply(small, journal, empty)
    assert (run.state, run.exit_code, run.record["steps"]) == ("done", 0, 0)
    assert len(journal.runs()) == 2


def test_a_run_can_be_cancelled_between_steps(small, journal):
    for name in ("a", "b", "c"):
        small.account(name)
    answers = iter([False, False, True])
    run = apply(small, journal, small.plan(), cancelled=lambda: next(answers))
    assert (run.state, len(run.outcomes), run.exit_code) == ("cancelled", 2, 1)
    assert len(small.rows()) == 2


def test_the_loser_of_two_operators_is_told_who_is_at_it(small, journal):
    plan = small.plan()
    with journal.lease("test", "ben"):
        run = refused(small, journal, plan, "ben is repairing test")
    assert run["state"] == "refused"


def test_two_operators_at_once_write_everything_once(small, tmp_path):
    for number in range(5):
        small.account(f"more{number}")
    plan = small.plan()
    outcomes = []

    def operate():
        journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
        try:
            outcomes.append(apply(small, journal, plan).state)
        except Refused:
            outcomes.append("refused")
        finally:
            journal.close()

    threads = [threading.Thread(target=operate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in outcomes
    assert small.gate.done == ["PutItem"] * 6


def test_a_journal_that_cannot_be_written_lets_nothing_be_applied(small, journal, tmp_path):
    plan = small.plan()
    with journal._connected() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    blocker = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        apply(small, journal, plan)
    assert small.gate.tried == 0
    blocker.close()


def test_a_journal_that_fails_in_mid_run_stops_it_and_the_open_step_is_settled_later(small, journal, tmp_path):
    for name in ("a", "b"):
        small.account(name)
    plan = small.plan()
    blocker = sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False)
    with journal._connected() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    small.gate.before_write = lambda: blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError):
        apply(small, journal, plan)
    small.gate.before_write = None
    blocker.close()
    assert len(small.gate.done) == 1
    fresh = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    with fresh._connected() as connection:
        # The lease could not be given back either; this very process still lives.
        connection.exec_driver_sql("UPDATE lease SET expires_at = '1970'")
    run = apply(small, fresh, plan)
    assert sorted(states(run)) == ["already", "done", "done"]
    assert len(small.gate.done) == 3
    assert [entry["state"] for entry in fresh.runs()] == ["done", "interrupted"]
    assert fresh.runs()[1]["done"] == 1
    fresh.close()


KILLED = """
import json, os, signal, sys
from pathlib import Path
from lib import repair
from lib.aws import writers
from lib.aws.session import Aws
from lib.config import Settings
from lib.journal import Journal
from lib.model import Wiring
from lib.repair.plan import Plan

order = json.loads(sys.argv[1])
aws = Aws(Settings(**order["settings"]))
world = writers.world(aws, Wiring(**order["wiring"]), order["settings"]["writer"])
verb, when = order["die"].split()
act = getattr(world, verb)

def dying(*images):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    act(*images)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(world, verb, dying)
plan = Plan.load(Path(order["plan"]))
repair.apply(plan, world, Journal(order["journal"]), who="doomed", settings=aws.settings, records=2)
"""


@pytest.mark.parametrize("die", ["create before", "create after", "update before", "update after"])
def test_a_killed_run_loses_nothing_and_writes_nothing_twice(either, tmp_path, die):
    town = either
    lost_and_drifted(town)
    before = town.rows()
    plan = town.plan()
    plan.save(tmp_path / "plan.json")
    order = {
        "settings": {name: value for name, value in vars(town.settings).items() if name != "row"},
        "wiring": {"pool": town.pool, "region": "eu-west-1", "table": town.table, "versioned": town.versioned}
        | {"graphql_url": town.settings.graphql_url},
        "die": die,
        "plan": str(tmp_path / "plan.json"),
        "journal": f"sqlite:///{tmp_path / 'journal.db'}",
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(order)], cwd=Path(__file__).parents[1], check=False, env=os.environ
    )
    assert killed.returncode == -9
    journal = Journal(order["journal"])
    [died] = journal.runs()
    assert died["state"] == "running"
    assert len(journal.open_steps("test", town.pool, town.table)) == 1
    settled = repair.settle(town.world, journal, "test", who="ana")
    assert [outcome.state for outcome in settled] == ["done"]
    assert journal.runs()[0]["state"] == ("interrupted" if "create" in die else "done")
    run = apply(town, journal, plan)
    assert (run.state, "done" in states(run)) == ("done", "create" in die)
    assert len(town.gate.done) == 2
    assert town.plan().steps == ()
    for record in journal.runs():
        assert apply(town, journal, repair.undo_plan(journal, record["run_id"])).state == "done"
    assert application(town.rows()) == application(before)
    journal.close()


def test_what_nothing_was_written_of_is_given_back_as_planned_where_it_must_not_be_sent_again(small, journal):
    plan = small.plan()
    run_id = repair._Entry(plan, "ana", None).started(journal)
    with journal.lease("test", "ana") as lease:
        journal.intent(lease, run_id, 1, before=None, after=plan.steps[0].wanted(None, now()))
    [outcome] = repair.settle(small.world, journal, "test", who="ana", resend=False)
    assert outcome.state == "planned"
    assert small.rows() == {}
    assert journal.runs()[0]["state"] == "interrupted"


def test_a_row_that_somebody_else_had_made_before_is_not_taken_for_the_work_of_a_killed_run(either, journal):
    town = either
    town.account("lost")
    plan = town.plan()
    run_id = repair._Entry(plan, "ana", None).started(journal)
    with journal.lease("test", "ana") as lease:
        journal.intent(lease, run_id, 1, before=None, after=plan.steps[0].wanted(None, now()))
    town.row("lost")
    [outcome] = repair.settle(town.world, journal, "test", who="ana")
    assert outcome.state == "already"
    assert repair.undo_plan(journal, run_id).steps == ()


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
EXTRAS = st.dictionaries(st.sampled_from(["nick", "age"]), st.sampled_from([{"S": "x"}, {"N": "7"}, {"NULL": True}]))


@given(orphans=st.sets(NAMES), drifted=st.sets(NAMES), extras=EXTRAS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_plan_leaves_nothing_of_what_it_planned_and_its_undo_restores_everything(
    services, tmp_path_factory, orphans, drifted, extras
):
    town = services.town(writer="dynamodb", versioned=False)
    for name in orphans:
        town.account(name)
    for name in drifted - orphans:
        town.account(name, f"new.{name}@mail.test")
        town.row(name, **extras)
    before = town.rows()
    journal = Journal(f"sqlite:///{tmp_path_factory.mktemp('journal') / 'journal.db'}")
    run = apply(town, journal, town.plan())
    assert run.state == "done"
    assert len(town.gate.done) == len(orphans | drifted)
    assert town.plan().steps == ()
    assert undo(town, journal, run).state == "done"
    assert application(town.rows()) == application(before)
    journal.close()


def test_an_undo_does_not_come_from_a_file(small, tmp_path):
    replace(small.plan(), undo_of="20260101T000000-aaaaaaaa").save(tmp_path / "plan.json")
    with pytest.raises(Refused, match="from the journal"):
        Plan.load(tmp_path / "plan.json")


def test_a_plan_from_a_file_is_the_plan_that_is_applied(small, journal, tmp_path):
    small.plan().save(tmp_path / "plan.json")
    assert apply(small, journal, Plan.load(tmp_path / "plan.json")).state == "done"
