"""Nothing lost, nothing done twice, nothing newer overwritten, a true journal: by a witness in front of the table."""

import random

import pytest
from proof_kit import HOW, POINTS, Figures, campaign, play
from proof_stage import KINDS, stage


@pytest.fixture(scope="module", params=KINDS[:2], ids=lambda kind: kind[0])
def place(request):
    with stage(*request.param) as made:
        yield made


@pytest.mark.parametrize("how", HOW)
def test_an_apply_killed_at_any_step_of_the_protocol_loses_and_repeats_nothing(place, how):
    figures, chance = Figures(), random.Random(how)
    kills = [(point, how, 1) for point in POINTS]
    play(place, figures, chance, apply_kills=kills, undo_kills=None, faults=0)
    assert figures.details == []
    assert (figures.kills.total(), figures.missed) == (len(kills), 0)


def test_an_undo_killed_at_any_step_of_the_protocol_loses_and_repeats_nothing(place):
    figures, chance = Figures(), random.Random(1)
    kills = [(point, how, 1) for how in HOW for point in POINTS[1:]]
    play(place, figures, chance, apply_kills=[], undo_kills=kills, creates=6, updates=3)
    assert figures.details == []
    assert (figures.kills.total(), figures.missed) == (len(kills), 0)


def test_random_kills_and_faults_break_no_law(place):
    figures = Figures()
    campaign(place, figures, kills=2, seed=100)
    assert figures.holds, figures.text() + "\n".join(figures.details)
