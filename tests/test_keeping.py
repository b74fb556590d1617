"""What a person decides about findings and about persons: accepted ones are not counted, forgotten ones are gone."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import lib
from lib.cli import main
from lib.journal import Journal
from lib.judging import last_moment
from lib.model import ConfigError, Refused, now
from lib.person import Person
from lib.views import lookup, trends
from lib.views.verdict import verdict


@pytest.fixture(scope="module")
def env(world):
    opened = lib.connect("demo")
    opened.refresh()
    return opened


def finding(env, situation="orphaned_account"):
    lines = env.latest().table("findings").to_pylist()
    return next(line for line in lines if line["situation"] == situation and "accepted" not in line["notes"])


def count(env, situation="orphaned_account"):
    """What each of the pages and the verdict count."""
    snapshot = env.latest()
    listed = trends.situations(snapshot).set_index("situation")["count"].to_dict().get(situation, 0)
    return verdict(snapshot)["counted"], listed, lookup.counts(snapshot).get(situation, 0)


def test_an_accepted_finding_is_listed_and_counted_nowhere(env):
    before, mark, chosen = count(env), env.journal_mark(), finding(env)
    total = env.latest().table("findings").num_rows
    assert env.accept_finding(chosen["sub"], why="a test account") == ["orphaned_account"]
    assert count(env) == tuple(number - 1 for number in before)
    assert env.journal_mark() > mark
    lines = env.latest().table("findings").to_pylist()
    assert len(lines) == total
    assert [line["sub"] for line in lines if "accepted" in line["notes"]] == [chosen["sub"]]
    assert chosen["sub"] not in [step.sub for step in env.plan().steps]
    assert chosen["sub"] in [step.sub for step in env.plan(ids=[chosen["sub"]]).steps]
    assert chosen["account_id"] not in lookup.repairable(env.latest(), ["orphaned_account"])
    env.accept_finding(chosen["sub"], why="no: real", until=now())
    assert count(env) == before


def test_an_acceptance_ends_when_its_time_is_over_and_the_pages_hear_of_it(env, monkeypatch):
    before, chosen = count(env), finding(env)
    env.accept_finding(chosen["account_id"], why="until tomorrow", until=now() + timedelta(days=1))
    assert count(env) != before
    mark = env.journal_mark()
    later = now() + timedelta(days=2)
    monkeypatch.setattr(lib.judging, "now", lambda: later)
    assert env.journal_mark() > mark
    assert count(env) == before


def test_a_finding_whose_situation_changes_is_counted_again(env):
    chosen = finding(env)
    env.accept_finding(chosen["account_id"], why="known")
    [judged] = env.latest()._judged["orphaned_account"] & {lib.judging.subject(chosen)}
    assert judged != lib.judging.subject(chosen | {"situation": "drift"})
    env.accept_finding(chosen["account_id"], why="no", until=now())


def test_what_cannot_be_accepted_is_said(env):
    with pytest.raises(ConfigError, match="no finding about 'nobody'"):
        env.accept_finding("nobody", why="x")
    with pytest.raises(ConfigError, match="Say why"):
        env.accept_finding(finding(env)["sub"], why=" ")
    for day, said in (("2020-01-01", "over already"), ("soon", "no date")):
        with pytest.raises(ConfigError, match=said):
            last_moment(day)
    ends = last_moment(f"{now():%Y-%m-%d}")
    assert now() < ends <= now() + timedelta(days=1)


def run(*words):
    return CliRunner().invoke(main, words)


def test_the_command_accepts_and_check_counts_it_no_more(env):
    chosen = finding(env)
    before = verdict(env.latest())["counted"]
    done = run("accept", "--env", "demo", "--id", chosen["sub"], "--why", "x", "--until", "2999-12-31")
    assert (done.exit_code, "2999-12-31" in done.stdout) == (0, True)
    assert verdict(env.latest())["counted"] == before - 1
    assert run("accept", "--env", "demo", "--id", chosen["sub"], "--why", "x", "--until", "nie").exit_code == 2


def texts(state: Path):
    """All that is stored: the raw bytes of every file, and every cell of every table."""
    for file in state.rglob("*"):
        if file.is_file():
            yield file, file.read_bytes()
        if file.suffix == ".parquet":
            yield file, json.dumps(pq.read_table(file).to_pylist(), default=str).encode()


def found(state: Path, names):
    return {(file.name, name) for file, content in texts(state) for name in names if name.encode() in content}


def test_a_forgotten_person_is_nowhere_in_the_state_folder(env):
    state = Path(env.config.home)
    chosen = finding(env)
    env.accept_finding(chosen["account_id"], why=f"asked by {chosen['email']}")
    made = env.apply(env.plan(ids=[chosen["account_id"]]), why=f"for {chosen['email']}")
    env.refresh()
    names = {chosen["account_id"], chosen["sub"], chosen["email"]}
    assert {name for _, name in found(state, names)} == names
    manifest = env.store.latest().manifest
    others = env.store.latest().table("accounts").num_rows
    done = run("forget", "--env", "demo", "--id", chosen["sub"])
    assert (done.exit_code, "reads it again" in done.stderr) == (0, True)
    assert found(state, names) == set()
    assert env.store.latest().table("accounts").num_rows == others - 1
    assert env.store.latest().manifest == manifest
    assert env.journal.verify().broken is None
    assert chosen["email"] not in "".join(env.journal.audit(reveal=True))
    with pytest.raises(Refused, match="cannot be undone any more"):
        env.undo_plan(made.run_id)
    again = run("forget", "--env", "demo", "--id", chosen["sub"])
    assert again.exit_code == 0
    assert again.stdout.startswith("Nothing kept here speaks of that id")
    assert len(env.journal.events("demo", "forgot")) == 2
    assert names.isdisjoint(str(env.journal.events("demo", "forgot")))


def test_nobody_is_forgotten_while_somebody_repairs(env):
    with env.journal.lease("demo", "ben"), pytest.raises(Refused, match="ben is repairing"):
        env.forget("whoever")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("ana-1", True),
        ("the account ana-1 has it", True),
        ('{"userName": "ana-1"}', True),
        ("xana-1 and ana-12 are others", False),
        ("ANA-1", False),
        ("Ana@Mail.test.", True),
        ("ana@mail.test.uk", False),
        ("joana@mail.test", False),
        ("sub-ana::ana-1", True),
        ("a", True),
        ("a row", False),
        ('["a"]', True),
        (None, False),
    ],
)
def test_a_person_is_recognised_by_whole_names_only(text, spoken):
    person = Person(["ana-1", "a"], ["ana@mail.test"])
    assert person.mentioned(text) is spoken
    if spoken:
        assert not person.mentioned(person.without(text))


def test_images_older_than_the_setting_go_at_the_next_refresh_and_the_run_says_so(env, monkeypatch):
    chosen = finding(env)
    made = env.apply(env.plan(ids=[chosen["account_id"]]))
    monkeypatch.setattr(env, "config", env.config.__class__(**vars(env.config) | {"purge_after_days": 0}))
    env.refresh()
    assert env.journal.steps(made.run_id)[0]["purged"]
    with pytest.raises(Refused, match="purged from the journal"):
        env.undo_plan(made.run_id)
    assert env.journal.verify().broken is None


def test_the_audit_is_exported_and_the_chain_verified_by_command(env, tmp_path):
    file = tmp_path / "audit.jsonl"
    assert run("runs", "--export", str(file)).exit_code == 0
    assert all(json.loads(line)["entry"] for line in file.read_text().splitlines())
    assert file.stat().st_mode & 0o777 == 0o600
    head = Journal(env.config.journal_url).head()
    holds = run("runs", "--verify", "--head", head)
    assert (holds.exit_code, head in holds.stdout) == (0, True)
    broken = run("runs", "--verify", "--head", "0" * 64)
    assert (broken.exit_code, "broken" in broken.stderr) == (1, True)
