"""The proof can fail: spoilt protocols are caught. `python tests/proof_mutants.py` makes all of them."""

import pytest
from proof_mutants import MUTANTS, ROOT, is_caught


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_still_one_change_of_the_code(name):
    mutant = MUTANTS[name]
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1


def test_a_protocol_that_forgets_its_intents_is_caught():
    caught, said = is_caught(MUTANTS["forgets intents"])
    assert caught, said
