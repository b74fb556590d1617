"""The key rescue on the embedded world: the trigger heals at once, and the gap is exactly what was lost in it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aws_kit import Hasty, ScriptedAws, error, page, scripted_aws, settings

from lib import connect, rescue
from lib.aws import keys
from lib.aws.session import Aws
from lib.demo.sign_up import sign_up
from lib.demo.world import World
from lib.environment import Environment
from lib.journal import Journal
from lib.model import AwsError, Refused, Wiring, now

HOUR = timedelta(hours=1)


@pytest.fixture
def env(world: World, tmp_path: Path) -> Environment:
    """The shared world as if nobody had rescued its key yet, with a journal and snapshots of the test's own."""
    expired = world.keys["expired"]
    world.api.keys[expired] = replace(world.api.keys[expired], expires=world.history.key_expires_at)
    return own(tmp_path)


def own(folder: Path, **changed: Any) -> Environment:
    demo = connect("demo")
    stored = {"journal_url": f"sqlite:///{folder}/journal.db", "snapshots_path": str(folder / "snapshots")}
    return Environment(replace(demo.config, **stored), replace(demo.settings, **changed))


def expiry(world: World) -> datetime:
    return world.api.keys[world.keys["expired"]].expires


def lost(world: World) -> set[str]:
    """The accounts that the world itself knows to have been lost to the expired key, young ones included."""
    truth = world.truth(now() + timedelta(days=1))
    return set(truth[truth["cause"] == "api_key_expired"]["id"])


def gap(env: Environment) -> set[str]:
    try:
        return {str(step.account_id) for step in env.gap_plan().steps}
    except Refused:
        return set()


def test_the_plan_tells_the_key_by_its_digest_and_its_expiry_before_and_after(env: Environment, world: World) -> None:
    plan = env.rescue_plan(30)
    assert plan.expired
    assert plan.digest == keys.digest(world.keys["expired"])
    assert plan.expires_at == expiry(world)
    assert timedelta(days=29) < plan.until - now() <= timedelta(days=30, hours=1)
    assert expiry(world) == plan.expires_at  # a plan writes nothing
    assert env.journal.events() == []


def test_after_the_rescue_a_new_sign_up_gets_its_row(env: Environment, world: World) -> None:
    assert sign_up(env.settings, fail="key_expired").outcome == "no_row"
    done = env.rescue(30, why="the key had expired")
    assert (done.state, done.expires_at) == ("done", expiry(world))
    assert sign_up(env.settings, fail="key_expired").outcome == "in_sync"
    checks = {check.name: check.status for check in env.wiring()[1]}
    assert checks["api_key"] == "ok"


@pytest.mark.parametrize("refreshed_before", [True, False])
def test_the_plan_of_the_gap_is_exactly_what_the_expired_key_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refreshed_before: bool
) -> None:
    monkeypatch.setenv("POOLTABLE_HOME", str(tmp_path))
    with World(accounts=120, home=tmp_path) as world:
        rescued_and_backfilled(own(tmp_path, grace_minutes=0), world, refreshed_before)


def rescued_and_backfilled(env: Environment, world: World, refreshed_before: bool) -> None:
    if refreshed_before:
        env.refresh()
    in_the_gap = sign_up(env.settings, fail="key_expired")
    env.rescue(30, why="gap")
    after = sign_up(env.settings, fail="key_expired")
    broken = sign_up(env.settings, fail="api_error")  # lost in silence too, but not to the key
    env.refresh()
    expected = lost(world) | {in_the_gap.username}
    assert (in_the_gap.outcome, after.outcome, broken.outcome) == ("no_row", "in_sync", "no_row")
    assert gap(env) == expected
    assert {step.action for step in env.gap_plan().steps} == {"create_row"}
    run = env.apply(env.gap_plan(), why="backfill", release=len(expected))
    assert run.state == "done"
    env.refresh()
    assert gap(env) == set()


def opened(env: Environment, **changed: Any) -> Environment:
    return Environment(env.config, replace(env.settings, **changed))


def test_both_decisions_are_on_record_and_the_key_is_in_neither(env: Environment, world: World, tmp_path: Path) -> None:
    env.refresh()
    env.rescue(30, why="on call")
    env.refresh()
    ended, begun = env.journal.events("demo")
    assert (begun["kind"], begun["why"], begun["body"]["digest"]) == (
        rescue.BEGUN,
        "on call",
        keys.digest(world.keys["expired"]),
    )
    assert (ended["kind"], ended["body"]["state"]) == (rescue.ENDED, "done")
    secret = world.keys["expired"].encode()
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and secret in file.read_bytes()]


def test_a_key_that_lives_long_is_left_alone(env: Environment, world: World) -> None:
    env.rescue(30)
    with pytest.raises(Refused, match="needs no rescue"):
        env.rescue_plan(60)


@pytest.mark.parametrize("days", [0, 366, -5])
def test_no_other_lives_than_appsync_takes_are_planned(env: Environment, days: int) -> None:
    with pytest.raises(Refused, match="1 to 365 days"):
        env.rescue_plan(days)


@pytest.mark.parametrize("days", [1, 365])
def test_the_shortest_and_the_longest_life_are_taken_at_any_minute_of_the_hour(
    env: Environment, world: World, days: int
) -> None:
    assert env.rescue(days).state == "done"
    for minute in range(60):
        at = now().replace(minute=minute)
        left = keys.expiry(days, at) - at
        assert timedelta(days=1) <= left <= timedelta(days=365)


def test_where_it_is_read_only_nothing_is_rescued(env: Environment, world: World) -> None:
    before = expiry(world)
    closed = opened(env, read_only=True)
    with pytest.raises(Refused, match="read-only"):
        closed.rescue(30)
    assert closed.rescue_plan(30).until > now()
    assert expiry(world) == before
    assert env.journal.events() == []


def test_a_key_that_the_api_forgot_cannot_be_rescued(env: Environment, world: World) -> None:
    key = world.keys["expired"]
    world.api.keys[key] = replace(world.api.keys[key], expires=now() - timedelta(days=61))
    with pytest.raises(Refused, match="keeps an expired key for 60 days"):
        env.rescue_plan(30)


def test_a_key_that_changed_since_the_preview_is_left_alone(env: Environment, world: World) -> None:
    plan = env.rescue_plan(30)
    key, other = world.keys["expired"], now() + timedelta(days=100)
    world.api.keys[key] = replace(world.api.keys[key], expires=other)
    with pytest.raises(Refused, match="not as it was in the preview"):
        rescue.apply(plan, env.aws, env.journal, who="me", why=None)
    assert expiry(world) == other


def test_a_rescue_and_a_repair_do_not_run_side_by_side(env: Environment, world: World) -> None:
    before = expiry(world)
    with env.journal.lease("demo", "somebody else"), pytest.raises(Refused, match="somebody else"):
        env.rescue(30)
    assert expiry(world) == before


# What breaks off, on a scripted AppSync

KEY = "da2-abcdefghijklmnopqrstuvwxyz"
EXPIRED = int((now() - 2 * HOUR).replace(minute=0, second=0).timestamp())
LISTED, WRITTEN = "GET /v1/apis/abc/apikeys", f"POST /v1/apis/abc/apikeys/{KEY}"
WIRING = Wiring("eu-west-1_Pool00001", "eu-west-1", api_id="abc", functions=("F",))


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with scripted_aws() as served:
        variables = {"GRAPHQL_KEY": KEY, "OTHER": "1"}
        served.script("GET /2015-03-31/functions/F/configuration", page(Environment={"Variables": variables}))
        listed(served, EXPIRED)
        yield served


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(f"sqlite:///{tmp_path}/journal.db")
    yield opened
    opened.close()


def listed(fake: ScriptedAws, *expires: int) -> None:
    """Let the key be listed with these expiries, one after the other."""
    fake.script(
        LISTED, *(page(apiKeys=[{"id": KEY, "expires": each}, {"id": "da2-x", "expires": each}]) for each in expires)
    )


def planned(fake: ScriptedAws) -> tuple[rescue.Plan, Aws]:
    aws = Hasty(settings(fake.url))
    return rescue.plan(aws, WIRING, 30), aws


def test_a_refused_extension_leaves_all_as_it_was_and_says_which_right_is_missing(
    fake: ScriptedAws, journal: Journal
) -> None:
    plan, aws = planned(fake)
    fake.script(WRITTEN, error("AccessDeniedException", status=403))
    done = rescue.apply(plan, aws, journal, who="me", why=None)
    assert done.state == "failed"
    assert "appsync:UpdateApiKey" in done.message
    assert KEY not in repr(done)


def test_an_answer_that_was_lost_is_told_by_reading_the_key_back(fake: ScriptedAws, journal: Journal) -> None:
    plan, aws = planned(fake)
    fake.script(WRITTEN, error("InternalFailureException", f"{KEY} broke", status=500))
    listed(fake, EXPIRED, EXPIRED, int(plan.until.timestamp()))
    done = rescue.apply(plan, aws, journal, who="me", why=None)
    assert (done.state, done.expires_at) == ("done", plan.until)


def test_one_that_cannot_be_read_back_stays_open_until_it_can(fake: ScriptedAws, journal: Journal) -> None:
    plan, aws = planned(fake)
    good = page(apiKeys=[{"id": KEY, "expires": EXPIRED}])
    fake.script(WRITTEN, page(apiKey={"id": KEY, "expires": int(plan.until.timestamp())}))
    fake.script(LISTED, good, good, error("InternalFailureException", status=500))
    assert rescue.apply(plan, aws, journal, who="me", why=None).state == "unknown"
    with pytest.raises(AwsError):
        rescue.plan(aws, WIRING, 30)
    listed(fake, int(plan.until.timestamp()))
    [told] = rescue.settle(aws, journal, "test", who="me")
    assert told.state == "done"
    assert rescue.settle(aws, journal, "test", who="me") == []


@pytest.mark.parametrize(("written", "state"), [(True, "done"), (False, "failed")])
def test_a_rescue_whose_process_died_is_told_by_reading_the_key_back(
    fake: ScriptedAws, journal: Journal, written: bool, state: str
) -> None:
    plan, aws = planned(fake)

    class DiedError(BaseException):
        pass

    recorded = journal.record

    def dying(kind: str, **given: Any) -> None:
        recorded(kind, **given)
        raise DiedError

    journal.record = dying  # type: ignore[method-assign]  # the process dies right after its intent
    with pytest.raises(DiedError):
        rescue.apply(plan, aws, journal, who="me", why=None)
    journal.record = recorded  # type: ignore[method-assign]
    if written:
        listed(fake, int(plan.until.timestamp()))
    [told] = rescue.settle(aws, journal, "test", who="me")
    assert told.state == state
    known = rescue.facts(journal, "test", WIRING.pool)
    assert [fact["expires_at"][:13] for fact in known] == (
        [f"{moment:%Y-%m-%dT%H}" for moment in (datetime.fromtimestamp(EXPIRED, UTC), plan.until)] if written else []
    )


def test_two_keys_in_the_environment_are_not_guessed_between(fake: ScriptedAws) -> None:
    variables = {"A": KEY, "B": "da2-x"}
    fake.script("GET /2015-03-31/functions/F/configuration", page(Environment={"Variables": variables}))
    with pytest.raises(Refused, match="not clear which"):
        planned(fake)


def test_an_environment_that_is_not_known_rescues_no_key(fake: ScriptedAws) -> None:
    fake.script("GET /2015-03-31/functions/F/configuration", page(Environment={"Error": {"Message": "kms"}}))
    with pytest.raises(Exception, match="cannot be decrypted"):
        planned(fake)
    with pytest.raises(Refused, match="function is not known"):
        rescue.plan(Hasty(settings(fake.url)), replace(WIRING, functions=()), 30)


def test_the_key_is_in_no_message(fake: ScriptedAws, journal: Journal) -> None:
    plan, aws = planned(fake)
    fake.script(WRITTEN, error("BadRequestException", f"key {KEY} is bad", status=400))
    done = rescue.apply(plan, aws, journal, who="me", why=None)
    assert KEY not in json.dumps(journal.events()) + repr(plan) + repr(done)
    assert "(secret)" in done.message
