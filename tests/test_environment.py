"""An opened environment: who may write, what a person accepted, and what the journal adds to the latest snapshot."""

from dataclasses import replace
from pathlib import Path

import pytest
from aws_kit import scripted_aws, settings
from test_refresh import Place, account, row

from lib import charts, connect
from lib.config import Config
from lib.environment import Environment
from lib.model import ConfigError, Refused


@pytest.fixture(scope="module")
def server():
    with scripted_aws() as fake:
        yield fake


@pytest.fixture
def place(server, tmp_path):
    made = Place(server, tmp_path)
    yield made
    made.journal.close()


def opened(folder: Path, url: str, **changed) -> Environment:
    chosen = settings(url, table="User", log_groups=("/aws/lambda/f",), **changed)
    config = Config({"test": chosen}, folder, f"sqlite:///{folder}/journal.db", str(folder / "snapshots"))
    return Environment(config, chosen)


def test_a_suspicious_read_gives_no_plan_until_a_person_accepts_it_and_that_is_on_record(place, tmp_path):
    place.accounts = [account("anna")]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    with pytest.raises(Refused, match="suspicious"):
        env.plan()
    assert [step.account_id for step in env.plan(accept_suspicious=True, why="the trigger never worked").steps] == [
        "anna"
    ]
    assert env.plan().steps
    [event] = env.journal.events("test")
    assert event["why"] == "the trigger never worked"


def test_accepting_one_read_does_not_accept_the_next(place, tmp_path):
    place.accounts = [account("anna")]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    env.plan(accept_suspicious=True)
    env.refresh()
    with pytest.raises(Refused, match="suspicious"):
        env.plan()


def shrunken(place, tmp_path):
    """An environment whose table lost half of its rows since its last good snapshot, and was read again."""
    names = [f"person-{number}" for number in range(40)]
    place.accounts, place.rows = [account(name) for name in names], [row(name) for name in names]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    place.rows = place.rows[:20]
    env.refresh()
    return env


def test_a_shrunken_read_that_nobody_accepted_does_not_vouch_for_the_next(place, tmp_path):
    env = shrunken(place, tmp_path)
    assert env.refresh().manifest["suspicious"] is True


def test_a_shrunken_read_that_was_accepted_is_what_the_next_is_held_against(place, tmp_path):
    env = shrunken(place, tmp_path)
    env.accept(env.latest(), "the old test accounts were cleaned up")
    assert env.refresh().manifest["suspicious"] is False


def test_snapshots_of_another_pool_are_not_this_ones_past(place, tmp_path):
    place.accounts, place.rows = [account("anna")], [row("anna")]
    opened(tmp_path, place.fake.url).refresh()
    other = opened(tmp_path, place.fake.url, user_pool_id="eu-west-1_Another01")
    place.accounts, place.rows = [account("bob")], [row("bob")]
    assert other.refresh().manifest["reasons"] == []
    assert other.latest().accounts["username"].tolist() == ["bob"]
    assert len(other.history()) == 1


@pytest.mark.parametrize(
    ("read_only", "url", "without_login", "refused"),
    [
        (None, "http://127.0.0.1:9", True, False),
        (None, "https://dynamodb.example.com", True, True),
        (None, "https://dynamodb.example.com", False, False),
        (False, "https://dynamodb.example.com", True, False),
        (True, "http://127.0.0.1:9", False, True),
    ],
)
def test_a_dashboard_without_login_writes_to_real_aws_only_when_told(tmp_path, read_only, url, without_login, refused):
    env = opened(tmp_path, url, read_only=read_only)
    assert bool(env.read_only(without_login=without_login)) is refused


def test_a_mix_of_this_machine_and_aws_is_refused_before_anything_is_written(place, tmp_path):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna")]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    plan = env.plan()
    mixed = opened(tmp_path, place.fake.url, endpoint_urls={"dynamodb": "https://dynamodb.example.com"})
    with pytest.raises(ConfigError, match="mixes this machine"):
        mixed.apply(plan)


@pytest.mark.parametrize(
    "wrong", [{"situations": ["orphan_account"]}, {"causes": ["silent"]}, {"situations": "drift"}, {"ids": "anna"}]
)
def test_a_misspelt_choice_is_not_taken_for_nothing_to_do(place, tmp_path, wrong):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna")]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    with pytest.raises(ConfigError):
        env.plan(**wrong)


def test_opening_an_environment_contacts_nothing(place, tmp_path):
    opened(tmp_path, place.fake.url)
    assert place.fake.requests == []


def test_a_plan_whose_snapshot_was_replaced_is_refused(place, tmp_path):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna")]
    env = opened(tmp_path, place.fake.url)
    env.refresh()
    plan = env.plan()
    for other in (replace(plan, digest="another"), replace(plan, snapshot="20200101T000000Z")):
        with pytest.raises(Refused, match="snapshot that the plan was made on is gone"):
            env.apply(other)
    assert place.fake.asked("PutItem") == []


def test_an_edited_threshold_is_reckoned_from_the_stored_snapshot(place, tmp_path):
    names = [f"person-{number}" for number in range(40)]
    place.accounts, place.rows = [account(name) for name in names], [row(name) for name in names[:20]]
    env = opened(tmp_path, place.fake.url, max_repair_percent=10)
    env.refresh()
    plan = env.plan()
    assert plan.over_threshold
    with pytest.raises(Refused, match="20 steps are over the threshold"):
        env.apply(replace(plan, over_threshold=False))
    assert place.fake.asked("PutItem") == []


def test_the_lines_of_a_notebook_find_a_lost_sign_up_repair_it_and_take_it_back(world):
    env = connect("demo")
    snap = env.refresh()
    lost = snap.findings.query("situation == 'orphaned_account' and cause != 'row_deleted'")
    counted = snap.sql("select situation, count(*) as n from findings group by 1")
    assert counted["n"].sum() == len(snap.findings)
    plan = env.plan(snap, situations=["orphaned_account"])
    assert len(plan.steps) == len(lost) > 0
    assert f"{len(plan.steps)} steps" in repr(plan)
    run = env.apply(plan, why="backfill after the key expired", release=len(plan.steps))
    assert (run.state, run.record["done"]) == ("done", len(plan.steps))
    assert env.plan(situations=["orphaned_account"]).steps == ()
    undone = env.undo(run)
    assert (undone.state, undone.record["done"]) == ("done", len(plan.steps))
    assert len(env.refresh().findings) == len(snap.findings)
    assert any(trace.x is not None for trace in charts.sign_ups(snap).data)
