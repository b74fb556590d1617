"""The commands beside a page: pasted into a shell, they say what the page does and nothing else."""

import shlex

from lib.ui import twins

NASTY = "x; rm -rf ~ $(id) 'q"


def test_every_word_reaches_the_command_as_it_is() -> None:
    planned, applied = twins.repair("my env", [NASTY, "5f2b"]).splitlines()
    words = ["python", "-m", "lib", "plan", "--env", "my env", "--id", NASTY, "--id", "5f2b", "-o", "plan.json"]
    assert shlex.split(planned) == words
    assert applied == "python -m lib apply plan.json"
    assert shlex.split(twins.undo(NASTY))[-1] == NASTY


def test_an_id_that_is_an_email_is_masked_and_each_id_is_named_once() -> None:
    said = twins.repair("demo", ["anna@mail.test", "5f2b", "5f2b"])
    assert "anna@" not in said
    assert said.count("5f2b") == 1


def test_ids_that_are_left_out_are_counted() -> None:
    said = twins.repair("demo", [f"id{number}" for number in range(8)])
    assert said.splitlines()[-1] == "# and 3 more ids"


def test_a_replay_has_a_command_of_its_own() -> None:
    assert "--action replay --id 5f2b" in twins.repair("demo", ["5f2b"], replays=True)
    assert "replay" not in twins.repair("demo", ["5f2b"])
