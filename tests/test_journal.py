import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from journal_kit import ITEM, RUN, step

from lib import journal as journalling
from lib.journal import Journal
from lib.model import ConfigError, JournalError, Refused, iso, now


@pytest.fixture
def journal(url):
    opened = Journal(url)
    yield opened
    opened.close()


@pytest.fixture
def in_file(file_url):
    """A journal of which only SQLite's own ways are of interest."""
    opened = Journal(file_url)
    yield opened
    opened.close()


def test_the_file_and_its_companions_are_for_their_owner_only(in_file, tmp_path):
    in_file.begin(RUN, [step()])
    files = list((tmp_path / "state").iterdir())
    assert {file.name for file in files} == {"journal.db", "journal.db-wal", "journal.db-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_every_commit_reaches_the_disk(in_file):
    with in_file._connected() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_a_run_is_shown_with_exactly_the_fields_of_the_contract(journal):
    run_id = journal.begin(RUN, [step(1), step(2), step(3)])
    with journal.lease("prod", "ana") as lease:
        journal.intent(lease, run_id, 1, before=None, after=ITEM)
        journal.outcome(run_id, 1, "done", after=ITEM, request_id="r-1")
        journal.outcome(run_id, 2, "refused", message="account is gone")
    journal.finish(run_id, "partial")
    [run] = journal.runs()
    times = (run.pop("started_at"), run.pop("ended_at"))
    assert run == {
        "run_id": run_id,
        "environment": "prod",
        "state": "partial",
        "who": "ana",
        "why": "backfill",
        "steps": 3,
        "done": 1,
        "already": 0,
        "refused": 1,
        "failed": 0,
        "unknown": 0,
    }
    assert times[0] <= times[1] <= iso(now())
    [detailed] = journal.runs(run_id=run_id)
    assert [entry["state"] for entry in detailed["steps_detail"]] == ["done", "refused", "planned"]
    assert detailed["steps_detail"][0]["aws_request_id"] == "r-1"
    assert detailed["steps_detail"][0]["after"] == ITEM


def test_runs_are_listed_newest_first_and_by_environment(journal):
    ids = [journal.begin(RUN | {"environment": name}, [], state="done") for name in ("prod", "staging", "prod")]
    assert [run["run_id"] for run in journal.runs()] == ids[::-1]
    assert [run["run_id"] for run in journal.runs("prod")] == [ids[2], ids[0]]
    assert journal.runs()[0]["steps"] == 0


def test_a_run_that_is_not_there_is_named(journal):
    with pytest.raises(ConfigError, match="no run 'nope'"):
        journal.runs(run_id="nope")


def test_steps_are_open_from_their_intent_to_their_outcome(journal):
    run_id = journal.begin(RUN, [step(1), step(2)])
    with journal.lease("prod", "ana") as lease:
        for number in (2, 1):
            journal.intent(lease, run_id, number, before=None, after=ITEM)
        assert [entry["number"] for entry in journal.open_steps("prod", "eu-west-1_a", "User")] == [2, 1]
        assert journal.open_steps("prod", "eu-west-1_a", "User")[0]["plan"] == {"writer": "appsync"}
        assert journal.open_steps("prod", "another pool", "User") == []
        journal.outcome(run_id, 2, "unknown")
        assert [entry["number"] for entry in journal.open_steps("prod", "eu-west-1_a", "User")] == [1, 2]
        journal.outcome(run_id, 2, "failed")
        journal.outcome(run_id, 1, "already")
        assert journal.open_steps("prod", "eu-west-1_a", "User") == []


def test_the_steps_on_a_row_are_found_by_its_id(journal):
    first = journal.begin(RUN, [step(1), step(2)])
    journal.begin(RUN | {"environment": "staging"}, [step(1)])
    second = journal.begin(RUN | {"kind": "undo", "undo_of": first, "who": "ben"}, [step(1)])
    found = journal.steps_on("prod", ["user1", "nobody"])
    assert [(entry["run_id"], entry["number"], entry["who"], entry["kind"]) for entry in found] == [
        (second, 1, "ben", "undo"),
        (first, 1, "ana", "apply"),
    ]
    assert found[0]["after"] == ITEM


def test_the_steps_on_a_row_are_found_by_an_index(in_file):
    with in_file._connected() as connection:
        query = "EXPLAIN QUERY PLAN SELECT * FROM steps WHERE row_id IN ('a')"
        assert "ix_steps_row_id" in str(connection.exec_driver_sql(query).all())


def test_what_was_verified_comes_in_the_order_of_the_journal_whatever_the_clock_says(journal, monkeypatch):
    run_id = journal.begin(RUN, [step(1), step(2, row_id="b")])
    began = now()
    with journal.lease("prod", "ana") as lease:
        for number in (2, 1):
            journal.intent(lease, run_id, number, before=None, after=ITEM)
        journal.outcome(run_id, 2, "done", before=ITEM, after=None)
        monkeypatch.setattr(journalling, "now", lambda: began + timedelta(milliseconds=1))
        journal.outcome(run_id, 1, "done", after=ITEM)
        monkeypatch.undo()
    assert [(row, after) for row, after, _ in journal.verified_since("prod", "eu-west-1_a", "User", began)] == [
        ("b", None),
        ("user1", ITEM),
    ]
    assert journal.verified_since("prod", "eu-west-1_a", "User", began + timedelta(hours=1)) == []
    assert journal.verified_since("prod", "eu-west-1_a", "Other", began) == []


def test_the_loser_of_the_lease_is_told_who_holds_it(journal, url):
    other = Journal(url)
    with journal.lease("prod", "ana"), pytest.raises(Refused, match="ana is repairing prod"):
        other._acquired("prod", "ben", 10)
    with other.lease("prod", "ben"), journal.lease("staging", "ana"):
        pass
    other.close()


def test_of_many_who_race_for_the_lease_exactly_one_gets_it(url):
    journals = [Journal(url) for _ in range(8)]
    together = threading.Barrier(8)
    outcomes = []

    def race(journal):
        together.wait()
        try:
            outcomes.append(journal._acquired("prod", "one", 60).fence)
        except Refused:
            outcomes.append(None)

    threads = [threading.Thread(target=race, args=(journal,)) for journal in journals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for journal in journals:
        journal.close()
    assert sorted(outcomes, key=str) == [1] + [None] * 7


RACER = """
import os, sys, time
from lib.journal import Journal
from lib.model import Refused

url, inside = sys.argv[1:]
journal, held = Journal(url), []
until = time.monotonic() + 20
while len(held) < 15 and time.monotonic() < until:
    try:
        with journal.lease("prod", str(os.getpid())) as lease:
            # Fails where the other one is inside too.
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            journal.intent(lease, "none", 1, before=None, after=None)
            time.sleep(0.002)
            os.unlink(inside)
            held.append(lease.fence)
    except Refused:
        time.sleep(0.001)
journal.close()
print(*held)
"""


def test_two_processes_that_race_are_never_both_inside_and_no_fence_comes_twice(url, tmp_path, journal):
    words = [sys.executable, "-c", RACER, url, str(tmp_path / "inside")]
    racers = [subprocess.Popen(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) for _ in range(2)]
    fences = [list(map(int, racer.communicate()[0].split())) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert [len(held) for held in fences] == [15, 15]
    assert sorted(fences[0] + fences[1]) == list(range(1, 31))
    assert journal.verify().broken is None


def test_an_outcome_is_not_recorded_once_somebody_else_has_the_lease(journal):
    old = journal._acquired("prod", "ana", seconds=60)
    run_id = journal.begin(RUN, [step()])
    journal.intent(old, run_id, 1, before=None, after=ITEM)
    with journal._connected() as connection:
        connection.exec_driver_sql("UPDATE lease SET expires_at = '1970'")
    with journal.lease("prod", "ben") as lease:
        journal.outcome(run_id, 1, "done", after=ITEM, lease=lease)
        with pytest.raises(JournalError, match="Another run took over"):
            journal.outcome(run_id, 1, "failed", lease=old)
    assert journal.steps(run_id)[0]["state"] == "done"


def test_an_expired_lease_passes_on_and_its_old_holder_writes_no_more(journal):
    old = journal._acquired("prod", "ana", seconds=-1)
    run_id = journal.begin(RUN, [step()])
    with journal.lease("prod", "ben") as lease:
        assert lease.fence == old.fence + 1
        with pytest.raises(JournalError, match="Another run took over prod"):
            journal.intent(old, run_id, 1, before=None, after=ITEM)
        assert journal.steps(run_id)[0]["state"] == "planned"
        journal.intent(lease, run_id, 1, before=None, after=ITEM)
    assert journal.steps(run_id)[0]["state"] == "intent"


def test_each_intent_renews_the_lease(journal):
    lease = journal._acquired("prod", "ana", seconds=0.05)
    run_id = journal.begin(RUN, [step()])
    journal.intent(lease, run_id, 1, before=None, after=ITEM)
    with pytest.raises(Refused):
        journal._acquired("prod", "ben", 1)


def test_the_lease_of_a_killed_process_is_free_at_once(journal, url):
    dying = f"import os; from lib.journal import Journal; Journal({url!r})._acquired('prod', 'ana', 600); os._exit(9)"
    subprocess.run([sys.executable, "-c", dying], check=False, cwd=Path(__file__).parents[1])
    with journal.lease("prod", "ben") as lease:
        assert lease.fence == 2


def test_only_the_runs_of_this_environment_are_given_up(journal):
    mine, other = journal.begin(RUN, []), journal.begin(RUN | {"environment": "staging"}, [])
    current = journal.begin(RUN, [])
    journal.interrupt_abandoned("prod", but=current)
    assert {run["run_id"]: run["state"] for run in journal.runs()} == {
        mine: "interrupted",
        other: "running",
        current: "running",
    }


def test_a_waiting_run_is_found_by_its_plan_and_released(journal):
    run_id = journal.begin(RUN, [step()], state="waiting", message="over the threshold")
    assert journal.waiting("prod", "p1") == run_id
    assert journal.waiting("prod", "p2") is None
    journal.release(run_id, "ben", "checked")
    [run] = journal.runs()
    assert (run["state"], run["who"], run["why"], run["ended_at"]) == ("running", "ben", "checked", None)


def test_decisions_of_people_are_kept(journal):
    journal.record("accept_suspicious", environment="prod", who="ana", why="new pool", body={"digest": "d1"})
    journal.record("reveal", environment="prod", who="ben")
    assert [(event["kind"], event["who"], event["body"]) for event in journal.events("prod")] == [
        ("reveal", "ben", {}),
        ("accept_suspicious", "ana", {"digest": "d1"}),
    ]
    assert len(journal.events(kind="reveal")) == 1
    assert journal.events("staging") == []


def test_a_locked_journal_is_a_clear_error(tmp_path, in_file):
    blocker = sqlite3.connect(tmp_path / "state" / "journal.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with in_file._connected() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with pytest.raises(JournalError, match=r"Cannot use the journal .*database is locked"):
        in_file.begin(RUN, [step()])
    blocker.close()


def test_a_full_disk_is_a_clear_error_that_quotes_nobody(in_file):
    with in_file._connected() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
    with pytest.raises(JournalError, match="database or disk is full") as caught:
        in_file.begin(RUN, [step(number, reason="secret@mail.test" * 500) for number in range(1, 40)])
    assert "secret" not in str(caught.value)
    assert in_file.runs() == []


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 50])
def test_a_file_that_is_no_journal_is_a_clear_error(tmp_path, content):
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(JournalError, match="file is not a database"):
        Journal(f"sqlite:///{tmp_path / 'journal.db'}")


def test_a_folder_in_the_way_is_a_clear_error(tmp_path):
    with pytest.raises(JournalError, match="Is a directory"):
        Journal(f"sqlite:///{tmp_path}")


def test_a_url_that_is_none_or_whose_driver_is_missing_is_a_configuration_error():
    with pytest.raises(ConfigError, match="no database URL"):
        Journal("nonsense")
    with pytest.raises(ConfigError, match="driver is not installed"):
        Journal("nosuchdb://u:secret@host/x")


def test_a_journal_of_a_newer_version_is_left_alone(journal, url):
    with journal._connected() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    with pytest.raises(JournalError, match="newer Pooltable"):
        Journal(url)


def test_opening_a_journal_again_writes_nothing(in_file, file_url, tmp_path):
    in_file.close()
    file = tmp_path / "state" / "journal.db"
    content = file.read_bytes()
    again = Journal(file_url)
    again.runs()
    again.close()
    assert file.read_bytes() == content


def test_the_mark_rises_with_every_intent_and_outcome(journal):
    marks = [journal.mark()]
    run_id = journal.begin(RUN, [step(1), step(2)])
    with journal.lease("prod", "ana") as lease:
        for number in (1, 2):
            journal.intent(lease, run_id, number, before=None, after=ITEM)
            marks.append(journal.mark())
            journal.outcome(run_id, number, "already")
            marks.append(journal.mark())
    assert marks == sorted(set(marks))
