"""Nothing lost, nothing done twice, nothing newer overwritten, a true journal: by a witness in front of the table."""

import os
import random
import threading

import pytest
from proof_kit import HOW, POINTS, Figures, Play, Script, play
from proof_proxy import Fate
from proof_stage import KINDS, Operator, stage

from lib.model import Refused
from lib.repair.plan import Plan

WRITES = [("write", how, 1) for how in HOW]


@pytest.fixture(scope="module", params=KINDS[:2], ids=lambda kind: kind[0])
def place(request):
    with stage(*request.param) as made:
        yield made


def test_an_apply_killed_at_any_step_of_the_protocol_loses_and_repeats_nothing(place):
    figures = Figures()
    # A read that is lost, late or unheard is all the same to the protocol: nothing was written.
    kills = [*WRITES, ("account read", "lost", 1), ("row read", "heard", 1), ("read back", "heard", 1)]
    play(place, figures, random.Random(1), apply_kills=kills, undo_kills=None, creates=18, updates=9, faults=0)
    assert figures.details == []
    assert (figures.kills.total(), figures.missed) == (len(kills), 0)


def test_an_undo_killed_at_any_step_of_the_protocol_loses_and_repeats_nothing(place):
    figures = Figures()
    kills = [*WRITES, ("read back", "lost", 1)]
    # Four steps are under way when a process is killed: enough rows that each finds a step to be killed at.
    play(place, figures, random.Random(2), apply_kills=[], undo_kills=kills, creates=18, updates=9, faults=0)
    assert figures.details == []
    assert (figures.kills.total(), figures.missed) == (len(kills), 0)


def test_broken_calls_and_random_kills_break_no_law(place):
    figures, chance = Figures(), random.Random(3)
    kills = [(chance.choice(POINTS[1:]), chance.choice(HOW), 1) for _ in range(2)]
    play(place, figures, chance, apply_kills=kills, undo_kills=kills[:1], faults=0.2)
    assert figures.holds, figures.text() + "\n".join(figures.details)


def test_what_the_app_writes_between_our_read_and_our_write_stays(place):
    figures = Figures()
    piece = Play(place, figures, random.Random(5), creates=1, updates=1)
    piece.plan()
    # DynamoDB holds what the row has; the API its schema's fields, and by the version whatever else there is.
    field = "owner" if place.writer == "dynamodb" else "nickname"
    between = {name: piece.app_on(name, field) for name in piece.ids}
    piece.applied(piece.run("apply", Script(random.Random(5), between=between)))
    assert (figures.app, figures.effective, figures.details) == (2, 0, [])
    piece.end()


def raced(place, plan, apply):
    """Let two operators apply the plan, and the one that holds the lease wait until the other has ended."""
    loser_ended = threading.Event()
    place.proxy.fates = lambda call: Fate(app=None if call.point == "other" else lambda: loser_ended.wait(20) and None)
    said = {}

    def run(who):
        said[who] = apply(who, plan)
        loser_ended.set()

    threads = [threading.Thread(target=run, args=(who,)) for who in ("ana", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@pytest.fixture
def planned(place):
    figures = Figures()
    piece = Play(place, figures, random.Random(4), creates=2, updates=1)
    piece.plan()
    yield piece
    piece.end()


def check_race(piece, said):
    [loser] = [who for who, line in said.items() if "Refused" in line]
    [winner] = {"ana", "ben"} - {loser}
    assert f"{winner} is repairing" in said[loser]
    assert "done" in said[winner]
    assert len([write for write in piece.stage.witness.writes if write.effective]) == len(piece.ids)


def test_of_two_processes_one_repairs_and_the_other_is_told_who_does(place, planned):
    second = Operator(place.config_file)
    operators = {"ana": place.operator, "ben": second}
    for who, operator in operators.items():
        operator.fork(do="apply", plan=str(place.plan_file), who=who)

    def apply(who, _plan):
        operators[who].go()
        return operators[who].ended().told[-1]

    check_race(planned, raced(place, None, apply))
    second.stop()


def test_of_two_threads_one_repairs_and_the_other_is_told_who_does(place, planned):
    def apply(who, plan):
        try:
            return f"{place.environment.apply(plan, who=who)}"
        except Refused as refused:
            return f"Refused: {refused}"

    check_race(planned, raced(place, Plan.load(place.plan_file), apply))


def test_on_dynamodb_local_the_same_laws_hold():
    url = os.environ.get("DYNAMODB_LOCAL")
    if not url:
        pytest.skip("DYNAMODB_LOCAL names no running DynamoDB Local, which needs Java (see bench/README.md)")
    figures = Figures()
    kills = [*WRITES, ("read back", "heard", 1)]
    with stage("dynamodb", False, url) as place:
        play(place, figures, random.Random(6), apply_kills=kills, undo_kills=kills, faults=0.2)
    assert figures.holds, figures.text() + "\n".join(figures.details)
