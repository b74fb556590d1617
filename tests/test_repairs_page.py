"""The Repairs page on an embedded world: which runs it lists, what it offers for one, and what it settles at start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from browser_kit import until
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.demo.world import World
from lib.environment import Environment
from lib.model import Refused, now
from lib.repair import Run
from lib.ui import jobs

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120


@pytest.fixture(scope="module")
def env(world: World) -> Environment:
    """An environment with a repair of three rows, the undo of one of them, and a run cancelled before it began."""
    opened = connect("demo")
    opened.refresh()
    return opened


@pytest.fixture(scope="module")
def runs(env: Environment) -> dict[str, Run]:
    subs = [step.sub for step in env.plan(situations=["orphaned_account"]).steps]
    repair = env.apply(env.plan(ids=subs[:3]), why="backfill for ana@mail.test")
    undo = env.apply(env.undo_plan(repair.run_id, steps=[2]), why="a test account")
    left = env.apply(env.plan(ids=subs[3:5]), why="never mind", cancelled=lambda: True)
    return {"repair": repair, "undo": undo, "left": left}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    # Streamlit's caches belong to the process: another test's environment must not be found in them.
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


def page(**parameters: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    app.switch_page("pages/repairs.py")
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "text", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def labels(app: AppTest) -> set[str]:
    return {button.label for button in app.button}


def test_the_newest_run_is_opened_and_an_unknown_one_is_said(runs: dict[str, Run]) -> None:
    assert runs["left"].run_id in words(page())
    assert "There is no such run" in words(page(run="nope"))


def test_a_run_tells_who_why_and_what_can_be_taken_back(env: Environment, runs: dict[str, Run]) -> None:
    app = page(run=runs["repair"].run_id)
    said = words(app)
    assert "backfill for a•••a@mail.test" in said
    assert "1 of 3 written rows taken back already." in said
    assert env.journal.head(runs["repair"].run_id) in said
    assert "Undo…" in labels(app)
    assert not any("again" in label for label in labels(app))
    steps = next(frame.value for frame in app.dataframe if "Said" in frame.value)
    assert list(steps["Outcome"]) == ["done", "undone", "done"]


def test_what_did_not_get_done_can_be_tried_again_and_an_undo_offers_no_undo(runs: dict[str, Run]) -> None:
    left = page(run=runs["left"].run_id)
    assert "Try 2 again…" in labels(left)
    assert "Undo…" not in labels(left)
    undo = page(run=runs["undo"].run_id)
    assert "Undo…" not in labels(undo)
    assert f"run={runs['repair'].run_id}" in words(undo)


@pytest.mark.parametrize(
    ("parameters", "listed"),
    [
        ({"kind": "undo"}, ["undo"]),
        ({"state": "cancelled"}, ["left"]),
        ({"action": "delete_row"}, ["undo"]),
        ({"action": "create_row"}, ["left", "repair"]),
        ({"state": "cancelled", "kind": "undo"}, []),
        ({"who": "nobody known"}, []),
    ],
)
def test_filters_in_the_url_list_those_runs_only(
    runs: dict[str, Run], parameters: dict[str, str], listed: list[str]
) -> None:
    app = page(**parameters)
    assert not app.exception
    shown = [frame.value for frame in app.dataframe if "Why" in frame.value]
    whys = [why for frame in shown for why in frame["Why"]]
    expected = {"repair": "backfill for a•••a@mail.test", "undo": "a test account", "left": "never mind"}
    assert whys == [expected[name] for name in listed]
    assert ("No run is like this" in words(app)) is (not listed)


def test_trying_again_plans_exactly_what_is_left(env: Environment, runs: dict[str, Run]) -> None:
    left = env.retry_plan(runs["left"].run_id)
    assert {step.row_id for step in left.steps} == {step["row_id"] for step in runs["left"].record["steps_detail"]}
    assert env.apply(left, why="after all").state == "done"
    assert env.retry_plan(runs["left"].run_id).steps == ()
    with pytest.raises(Refused, match="got everything done"):
        env.retry_plan(runs["repair"].run_id)
    with pytest.raises(Refused, match=r"Step 9 .* wrote nothing"):
        env.undo_plan(runs["repair"].run_id, steps=[9])


def died(env: Environment) -> str:
    """A run whose process died right after its intent: the journal has it, nobody holds the lease."""
    plan = env.plan(situations=["orphaned_account"])
    step = plan.steps[0]
    plan_facts = {"writer": plan.writer, "correlation": plan.correlation, "versioned": plan.versioned}
    run = {"environment": env.name, "pool": plan.pool, "table": plan.table, "kind": "apply", "undo_of": None}
    run |= {"who": "ben", "why": "died", "snapshot": plan.snapshot, "digest": plan.digest, "plan_digest": "p"}
    run_id = env.journal.begin(run | {"plan": plan_facts}, [vars(step)])
    with env.journal.lease(env.name, "ben") as lease:
        env.journal.intent(lease, run_id, step.number, before=None, after=step.wanted(None, now()))
    return run_id


def state(env: Environment, run_id: str) -> str:
    return str(env.runs(run_id)[0]["state"])


def test_what_a_dead_run_left_open_is_settled_when_a_server_first_opens_the_environment(env: Environment) -> None:
    run_id = died(env)
    app = page()
    until(lambda: state(env, run_id) == "done", "the open step is settled")
    until(lambda: jobs.settled(env) not in ("", jobs.SETTLING), "it is said")
    app.run()
    assert "was settled by reading back: 1 done" in words(app)
    again = died(env)
    app.run()
    assert state(env, again) == "running", "once a process, not once a page"
    env.settle()


def test_nothing_is_settled_while_somebody_holds_the_lease_or_where_pages_may_not_write(env: Environment) -> None:
    run_id = died(env)
    with env.journal.lease(env.name, "ben"):
        jobs.settle_once(env)
        assert (state(env, run_id), jobs.settled(env)) == ("running", "")
    st.cache_resource.clear()
    allowed, env.read_only = env.read_only, lambda **_: "read-only"  # type: ignore[method-assign]
    jobs.settle_once(env)
    env.read_only = allowed  # type: ignore[method-assign]
    assert (state(env, run_id), jobs.settled(env)) == ("running", "")
    env.settle()
    assert state(env, run_id) == "done"
