"""The journal's hash chain: it holds whatever is done by the book, and breaks where anything else was changed."""

import json
import sqlite3
from datetime import timedelta
from hashlib import sha256

import pytest
import sqlalchemy as sa
from journal_kit import ITEM, RUN, step

from lib.journal import Journal
from lib.journal.tables import CHAIN, EVENTS, HEAD, RUNS, STEPS
from lib.model import Refused, now
from lib.person import Person


@pytest.fixture
def journal(url):
    opened = Journal(url)
    yield opened
    opened.close()


def lived(journal, name="prod"):
    """A journal with one run of two steps, a waiting one that was released, and a decision."""
    run_id = journal.begin(RUN | {"environment": name}, [step(1), step(2, row_id="ana@mail.test", before=ITEM)])
    with journal.lease(name, "ana") as lease:
        for number in (1, 2):
            journal.intent(lease, run_id, number, before=None, after=ITEM)
        journal.outcome(run_id, 1, "done", after=ITEM, request_id="r1", lease=lease)
        journal.outcome(run_id, 2, "refused", message="ana@mail.test moved", lease=lease)
    journal.finish(run_id, "partial")
    held = journal.begin(RUN | {"environment": name}, [step()], state="waiting", message="over")
    journal.release(held, "ben", "looked")
    journal.record("reveal", environment=name, who="ana", why="ticket", body={"of": "ana@mail.test"})
    return run_id


def change(journal, statement):
    with journal._connected() as connection:
        connection.execute(statement)


def test_the_chain_holds_whatever_is_done_by_the_book(journal):
    assert journal.verify().broken is None
    run_id = lived(journal)
    lived(journal, "staging")
    journal.interrupt_abandoned("prod")
    verdict = journal.verify(journal.runs(run_id=run_id)[0]["head"])
    assert (verdict.broken, verdict.before, verdict.head) == (None, 0, journal.head())
    assert verdict.records == 19
    journal.purge("prod", now() + timedelta(days=1), who="ana")
    journal.forget("staging", Person(["ana@mail.test"], ["ana@mail.test"]), who="ana", digest="d")
    assert journal.verify(verdict.head).broken is None


TAMPERED = {
    "a record's body": (sa.update(CHAIN).where(CHAIN.c.number == 3).values(body="{}"), "Record 3 "),
    "a record's time": (sa.update(CHAIN).where(CHAIN.c.number == 3).values(at="2020"), "Record 3 "),
    "a record taken out": (sa.delete(CHAIN).where(CHAIN.c.number == 3), "Record 3 is missing"),
    "the last record taken out": (sa.delete(CHAIN).where(CHAIN.c.number == 9), "9 to 9 at its end are missing"),
    "an outcome": (sa.update(STEPS).where(STEPS.c.number == 2).values(state="done"), "Step 2 of run .* state"),
    "an image": (sa.update(STEPS).where(STEPS.c.number == 1).values(after="{}"), "Step 1 of run .* after"),
    "what was planned": (sa.update(STEPS).where(STEPS.c.number == 1).values(row_id="x"), "Step 1 .* not the one"),
    "a step taken out": (sa.delete(STEPS).where(STEPS.c.number == 2), "has 1 steps of 2"),
    "who did it": (sa.update(RUNS).where(RUNS.c.number == 1).values(who="eve"), "Run .* changed: who"),
    "a run taken out": (sa.delete(RUNS).where(RUNS.c.number == 1), "Run .* is missing"),
    "a decision": (sa.update(EVENTS).values(why="other"), "Decision 1 .* not as it was recorded"),
    "a decision taken out": (sa.delete(EVENTS), "Decision 1 is missing"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_the_chain_says_where_it_breaks(journal, what):
    lived(journal)
    statement, said = TAMPERED[what]
    change(journal, statement)
    broken = journal.verify().broken
    assert broken is not None
    assert pytest.raises(AssertionError, match=said).matches(AssertionError(broken))


def test_a_run_put_in_besides_is_seen(journal):
    run_id = lived(journal)
    with journal._connected() as connection:
        run = dict(connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().one())
        connection.execute(sa.insert(RUNS).values(run | {"run_id": "forged", "number": 99}))
    assert journal.verify().broken == "Run forged is not in the chain."


def test_a_journal_written_anew_does_not_have_the_head_that_was_printed(journal):
    lived(journal)
    assert "written anew" in journal.verify(head="0" * 64).broken


def test_the_export_alone_shows_that_the_chain_holds_and_tells_no_email(journal):
    lived(journal)
    lines = [json.loads(line) for line in journal.audit()]
    assert {line["entry"] for line in lines} == {"run", "step", "decision", "link"}
    assert "ana@mail.test" not in json.dumps(lines)
    assert "ana@mail.test" in "".join(journal.audit(reveal=True))
    head = ""
    for link in (line for line in lines if line.pop("entry") == "link"):
        printed = link.pop("head")
        head = sha256(f"{head}\n{json.dumps(link, sort_keys=True)}".encode()).hexdigest()
        assert head == printed
    assert head == journal.head()


def test_purged_images_are_digests_and_younger_runs_keep_theirs(journal):
    run_id = lived(journal)
    assert journal.purge("prod", now() - timedelta(days=1), who="ana") == 0
    assert not any(entry["purged"] for entry in journal.steps(run_id))
    other = lived(journal, "staging")
    assert journal.purge("prod", now() + timedelta(days=1), who="ana") == 2
    assert journal.purge("prod", now() + timedelta(days=1), who="ana") == 0
    first, second = journal.steps(run_id)
    assert (first["before"], first["after"], first["purged"], first["row_id"]) == (None, None, True, "user1")
    assert (second["account"], second["state"]) == (None, "refused")
    assert journal.steps(other)[0]["after"] == ITEM
    assert journal.verified_since("prod", "eu-west-1_a", "User", now() - timedelta(days=1)) == []
    assert len(journal.events("prod", "purged")) == 1


def test_an_open_step_is_neither_purged_nor_forgotten(journal):
    run_id = journal.begin(RUN, [step()])
    with journal.lease("prod", "ana") as lease:
        journal.intent(lease, run_id, 1, before=None, after=ITEM)
    journal.finish(run_id, "interrupted")
    assert journal.purge("prod", now() + timedelta(days=1), who="ana") == 0
    with pytest.raises(Refused, match="not settled yet"):
        journal.forget("prod", Person(["user1"]), who="ana", digest="d")
    assert journal.steps(run_id)[0]["after"] == ITEM


OLD = """
CREATE TABLE schema_version (version INTEGER NOT NULL PRIMARY KEY);
CREATE TABLE runs (number INTEGER NOT NULL PRIMARY KEY, run_id VARCHAR(40) NOT NULL UNIQUE, environment TEXT NOT NULL,
  pool TEXT NOT NULL, "table" TEXT NOT NULL, kind VARCHAR(10) NOT NULL, undo_of VARCHAR(40), state VARCHAR(12) NOT NULL,
  who TEXT NOT NULL, why TEXT, message TEXT, snapshot TEXT, digest TEXT, plan TEXT NOT NULL,
  plan_digest VARCHAR(64) NOT NULL, started_at VARCHAR(30) NOT NULL, ended_at VARCHAR(30));
CREATE TABLE steps (run_id VARCHAR(40) NOT NULL, number INTEGER NOT NULL, action VARCHAR(20) NOT NULL,
  situation VARCHAR(20) NOT NULL, account_id TEXT, sub TEXT, row_id TEXT NOT NULL, state VARCHAR(12) NOT NULL,
  account TEXT, before TEXT, after TEXT, condition TEXT, reason TEXT, message TEXT, aws_request_id TEXT,
  intent_at VARCHAR(30), settled_at VARCHAR(30), seq INTEGER, PRIMARY KEY (run_id, number));
CREATE TABLE events (number INTEGER NOT NULL PRIMARY KEY, at VARCHAR(30) NOT NULL, kind VARCHAR(30) NOT NULL,
  environment TEXT NOT NULL, who TEXT NOT NULL, why TEXT, body TEXT);
INSERT INTO schema_version VALUES (1);
INSERT INTO runs VALUES (1, 'old', 'prod', 'eu-west-1_a', 'User', 'apply', NULL, 'running', 'ana', NULL, NULL, 's', 'd',
  '{}', 'p', '2026-01-01T00:00:00.000Z', NULL);
INSERT INTO steps VALUES ('old', 1, 'create_row', 'orphaned_account', 'user1', 'sub1', 'user1', 'intent', '{}', NULL,
  '{"id": {"S": "user1"}}', 'c', 'r', NULL, NULL, '2026-01-01T00:00:00.000Z', NULL, 41);
INSERT INTO events VALUES (1, '2026-01-01T00:00:00.000Z', 'reveal', 'prod', 'ana', NULL, '{}');
"""


def test_a_file_of_the_first_version_is_upgraded_and_goes_on(tmp_path):
    with sqlite3.connect(tmp_path / "journal.db") as old:
        old.executescript(OLD)
    old.close()
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    assert [entry["row_id"] for entry in journal.open_steps("prod", "eu-west-1_a", "User")] == ["user1"]
    with journal.lease("prod", "ben") as lease:
        journal.interrupt_abandoned("prod")
        journal.outcome("old", 1, "done", after=ITEM, lease=lease)
    assert journal.steps("old")[0]["seq"] > 41
    lived(journal)
    verdict = journal.verify()
    assert (verdict.broken, verdict.before) == (None, 2)
    journal.close()
    again = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    assert again.verify() == verdict
    change(again, sa.update(STEPS).where(STEPS.c.run_id == "old").values(state="failed"))
    assert "Step 1 of run old was changed: state" in again.verify().broken
    with again._connected() as connection:
        assert connection.execute(sa.select(HEAD.c.start)).scalar() == 41
    again.close()
