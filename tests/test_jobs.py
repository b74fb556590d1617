"""Runs that the pages start: what is refused before anything is asked or written, and what is never lost sight of."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from browser_kit import until
from streamlit.testing.v1 import AppTest

from lib.journal import COUNTED
from lib.model import Refused
from lib.ui import jobs, repairs

PATIENCE_S = 30
PLAN: Any = SimpleNamespace(steps=(), undo_of=None)


@dataclass
class Environment:
    """An environment whose runs end when they are told to."""

    name: str = "prod"
    locked: str | None = None
    refused: str | None = None
    applied: int = 0
    may_end: threading.Event = field(default_factory=threading.Event)

    def read_only(self, *, without_login: bool) -> str | None:
        return self.locked if without_login else None

    def journal_mark(self) -> int:
        return 1

    def apply(self, _plan: Any, *, progress: Callable[[str, int, int], None], **_rest: Any) -> Any:
        self.applied += 1
        if self.refused:
            raise Refused(self.refused)
        progress(f"run r{self.applied}", 0, 1)
        assert self.may_end.wait(PATIENCE_S)
        return SimpleNamespace(run_id=f"r{self.applied}")


@pytest.fixture
def environment() -> Iterator[Any]:
    st.cache_resource.clear()
    made = Environment()
    yield made
    made.may_end.set()
    st.cache_resource.clear()


def start(environment: Any) -> jobs.Job:
    return jobs.start(environment, PLAN, why=None, release=None)


def test_an_environment_that_pages_may_not_write_to_is_never_applied_to(environment: Any) -> None:
    environment.locked = "prod is read-only."
    job = start(environment)
    assert (job.error, job.run_id, environment.applied) == ("prod is read-only.", None, 0)
    assert jobs.current(environment) is None


def test_a_job_that_goes_on_is_not_replaced_nor_dismissed(environment: Any) -> None:
    first = start(environment)
    second = start(environment)
    assert "goes on" in str(second.error)
    assert environment.applied == 1
    jobs.dismiss(environment)
    assert jobs.current(environment) is first
    environment.may_end.set()
    until(lambda: first.ended, "the first one ends")
    third = start(environment)
    assert (third.error, jobs.current(environment)) == (None, third)


def test_of_jobs_started_at_once_one_begins(environment: Any) -> None:
    begun: list[jobs.Job] = []
    threads = [threading.Thread(target=lambda: begun.append(start(environment))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert environment.applied == 1
    assert [job for job in begun if job.error is None] == [jobs.current(environment)]


def test_a_refused_plan_leaves_the_last_run_in_sight(environment: Any) -> None:
    environment.may_end.set()
    first = start(environment)
    until(lambda: first.ended, "the first one ends")
    environment.refused = "The pool has changed."
    refused = start(environment)
    assert (refused.error, refused.run_id) == ("The pool has changed.", None)
    assert jobs.current(environment) is first


def said(state: str, message: str | None = None, **counts: int) -> str:
    """What the page says of a run of one step that ended so."""
    plan: Any = SimpleNamespace(steps=[SimpleNamespace(number=1, action="create_row")], undo_of=None)
    record = dict.fromkeys(COUNTED, 0) | counts
    outcomes = [SimpleNamespace(number=1, state=name) for name in counts]
    run: Any = SimpleNamespace(run_id="r1", state=state, message=message, record=record, outcomes=outcomes)
    return repairs.said(plan, run)


def test_only_what_was_written_and_read_back_is_called_confirmed() -> None:
    assert said("done", done=1) == "1 row created. Confirmed by reading back, run `r1`."
    assert said("done", already=1) == "1 already. Run `r1`."
    assert said("partial", failed=1) == "1 failed. Run `r1`."
    assert said("partial", done=1, unknown=1) == "1 row created, 1 unknown. Run `r1`."
    assert said("cancelled") == "Nothing was written. Run `r1`."


def test_a_run_broken_off_is_named_and_never_said_to_have_written_nothing() -> None:
    assert repairs.broken_off(jobs.Job(PLAN, error="Locked.")) == "Nothing was written. Locked."
    assert repairs.broken_off(jobs.Job(PLAN, run_id="r1", error="Gone.")) == "Run r1 was broken off. Gone."


def shown_run(kind: str) -> None:
    """Show the detail of a run of this kind that wrote a row."""
    from types import SimpleNamespace

    from lib.ui import run_detail

    step = {"number": 1, "state": "done", "row_id": "a", "action": "create_row", "message": "", "purged": False}
    run = {"run_id": "r1", "state": "done", "who": "a", "why": None, "started_at": "t", "ended_at": "t", "steps": 1}
    run |= {"done": 1, "already": 0, "steps_detail": [step], "head": "h", "message": None}
    told = run | {"kind": kind, "undo_of": "r0" if kind == "undo" else None}
    journal = SimpleNamespace(history=lambda *_: [told], undone_rows=lambda _: set())
    right = SimpleNamespace(may=True, why=None)
    env = SimpleNamespace(name="e", journal=journal, runs=lambda _: [run], read_only=lambda **_: None)
    env.write_right = lambda: right
    run_detail.detail(env, "r1")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "title", "offered"), [("apply", "Repair", True), ("undo", "Undo", False)])
def test_an_undo_is_called_one_and_offers_none(kind: str, title: str, offered: bool) -> None:
    app = AppTest.from_function(shown_run, kwargs={"kind": kind}, default_timeout=PATIENCE_S).run()
    assert not app.exception
    assert [found.value for found in app.subheader] == [title]
    assert any(button.label == "Undo…" for button in app.button) == offered


def signed_up() -> None:
    """Show what the demo's control says of a sign-up."""
    from lib.demo.sign_up import SignUp
    from lib.ui import signing_up

    signing_up.said(SignUp("u1", "guest1234@mail.test", "in_sync"))


def test_the_one_who_signed_up_is_shown_masked() -> None:
    app = AppTest.from_function(signed_up, default_timeout=PATIENCE_S).run()
    assert [text.value for text in app.text] == ["g•••4@mail.test got an account and a row."]
