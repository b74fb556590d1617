"""Steps side by side: never two on one row, none after a stop, fewer when throttled, and the journal still true."""

import threading
import time
from types import SimpleNamespace

import pytest
from repair_kit import Fault, Services

from lib import repair
from lib.journal import Journal
from lib.model import JournalError
from lib.repair.abreast import Pace, abreast
from lib.repair.carry_out import Outcome


def steps(count, rows=None):
    return [SimpleNamespace(number=number, row_id=f"row{number % (rows or count)}") for number in range(count)]


class Work:
    """What is under way, and what was seen of it."""

    def __init__(self, outcome=lambda step, tried: {}):
        self.lock, self.now, self.most, self.rows = threading.Lock(), set(), 0, []
        self.outcome, self.tried, self.clashed = outcome, {}, False

    def __call__(self, step):
        with self.lock:
            self.clashed |= step.row_id in self.now
            self.now.add(step.row_id)
            self.most = max(self.most, len(self.now))
            self.rows.append(step.number)
            tried = self.tried[step.number] = self.tried.get(step.number, 0) + 1
        time.sleep(0.01)
        with self.lock:
            self.now.discard(step.row_id)
        return Outcome(step.number, **{"state": "done"} | self.outcome(step, tried))


def carried_out(work, listed, most=4, cancelled=lambda: False):
    return [outcome for _, outcome in abreast(listed, work, most, cancelled)]


def test_so_many_go_on_at_once_and_each_is_done_once():
    work = Work()
    outcomes = carried_out(work, steps(30))
    assert sorted(outcome.number for outcome in outcomes) == list(range(30))
    assert (work.most, sorted(work.rows)) == (4, list(range(30)))


def test_one_at_once_keeps_the_order():
    work = Work()
    assert [outcome.number for outcome in carried_out(work, steps(6), most=1)] == list(range(6))
    assert work.most == 1


def test_steps_on_one_row_follow_each_other():
    work = Work()
    outcomes = carried_out(work, steps(30, rows=3))
    assert len(outcomes) == 30
    assert not work.clashed
    for row in range(3):
        own = [number for number in work.rows if number % 3 == row]
        assert own == sorted(own)


def test_a_failed_step_stops_no_other_and_one_that_stops_stops_all():
    failing = Work(lambda step, _: {"state": "failed"} if step.number == 3 else {})
    assert len(carried_out(failing, steps(20))) == 20
    stopping = Work(lambda step, _: {"state": "planned", "stops": True} if step.number == 3 else {})
    outcomes = carried_out(stopping, steps(200))
    # Those under way beside it end, on a busy machine some more; then none begins.
    assert 4 <= len(outcomes) < 100


def test_nothing_begins_after_it_was_cancelled_and_what_began_ends():
    answers = iter([False] * 5 + [True])
    work = Work()
    assert len(carried_out(work, steps(20), cancelled=lambda: next(answers))) == 5
    assert not work.now


def test_what_raises_ends_after_the_others_have():
    def broken(step, _):
        if step.number == 1:
            raise JournalError("locked")
        return {}

    work = Work(broken)
    with pytest.raises(JournalError, match="locked"):
        carried_out(work, steps(200))
    assert not work.now
    assert len(work.rows) < 100


def test_a_throttled_step_is_tried_again_and_its_last_word_is_told(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    throttled = {"state": "failed", "throttled": True}
    work = Work(lambda step, tried: throttled if step.number == 2 and tried < 3 else {})
    assert {outcome.state for outcome in carried_out(work, steps(8))} == {"done"}
    assert work.tried[2] == 3
    never = Work(lambda step, _: throttled if step.number == 2 else {})
    outcomes = carried_out(never, steps(8))
    assert sorted(outcome.state for outcome in outcomes) == ["done"] * 7 + ["failed"]
    assert never.tried[2] == 4


def test_the_pace_halves_when_throttled_and_grows_back_to_its_most():
    pace = Pace(8)
    for expected in (4, 2, 1, 1):
        pace.heard(Outcome(1, "failed", throttled=True))
        assert pace.limit == expected
    assert pace.pause_s == 4
    pace.heard(Outcome(1, "done"))
    assert (pace.limit, pace.pause_s) == (2, 0)
    for _ in range(100):
        pace.heard(Outcome(1, "done"))
    assert pace.limit == 8


@pytest.fixture(scope="module")
def services():
    running = Services()
    yield running
    running.stop()


@pytest.fixture
def journal(url):
    opened = Journal(url)
    yield opened
    opened.close()


@pytest.mark.parametrize("writer", ["dynamodb", "appsync"])
def test_a_run_side_by_side_writes_each_row_once_and_its_journal_is_true(services, journal, writer):
    town = services.town(writer=writer, versioned=writer == "appsync")
    for number in range(12):
        town.account(f"lost{number}")
    plan = town.plan()
    # One only: the second of two could meet the same step again, which would then have failed for good.
    town.gate.faults = [None, Fault(503, after=True)]
    run = repair.apply(plan, town.world, journal, who="ana", settings=town.settings, records=100, at_once=4)
    assert (run.state, len(run.outcomes)) == ("done", 12)
    assert [outcome.number for outcome in run.outcomes] == list(range(1, 13))
    assert len(town.gate.done) == 12
    rows = town.rows()
    entries = journal.steps(run.run_id)
    assert all(entry["after"] == rows[entry["row_id"]] for entry in entries)
    assert len({entry["seq"] for entry in entries}) == 12
    assert journal.verify().broken is None
    repair.settle(town.world, journal, "test", who="ana", resend=False)
    undone = repair.apply(
        repair.undo_plan(journal, run.run_id, steps=[2, 5]),
        town.world, journal, who="ana", settings=town.settings, records=None, at_once=4,
    )  # fmt: skip
    assert (undone.state, undone.record["done"]) == ("done", 2)
    assert len(town.plan().steps) == (2 if writer == "dynamodb" else 0)
    assert journal.undone_rows(run.run_id) == {plan.steps[1].row_id, plan.steps[4].row_id}
