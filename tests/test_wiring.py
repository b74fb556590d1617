"""The chain of the demo from its pool id alone, and what one environment's snapshot tells about another's table."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.config import Config, Settings
from lib.demo.world import World
from lib.environment import Environment
from lib.environment.wired import contract
from lib.views.strangers import strangers


def of_pool_id_alone(world: World) -> Settings:
    """Settings as a file with nothing but the pool id makes them; where the world answers is no part of the chain."""
    known = world.settings()
    bare = Settings("bare", known.user_pool_id, "", endpoint_url=world.facts.url, credentials=known.credentials)
    return replace(bare, list_users_rps=1000, log_days=60)


def config_of(folder: Path, *environments: Settings) -> Config:
    names = {each.name: each for each in environments}
    return Config(names, folder, f"sqlite:///{folder}/journal.db", str(folder / "snapshots"))


@pytest.fixture(scope="module")
def env(world: World, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    config = config_of(tmp_path_factory.mktemp("bare"), of_pool_id_alone(world))
    opened = Environment(config, config.environments["bare"])
    opened.refresh()
    return opened


def test_the_demos_pool_id_alone_leads_to_its_whole_chain(world: World, env: Environment) -> None:
    facts, wiring = world.facts, env.latest().wiring
    assert wiring.warnings == ()
    assert (wiring.region, wiring.trigger, wiring.functions) == (facts.region, "pre_sign_up", (facts.function,))
    assert list(wiring.triggers) == ["pre_sign_up"]
    assert (wiring.api_id, wiring.graphql_url) == (facts.api_id, facts.graphql_url)
    assert (wiring.table, wiring.versioned, wiring.conflict_handler) == (facts.table, True, "AUTOMERGE")
    assert wiring.log_groups == (facts.log_group,)
    assert len(wiring.keys) == 1
    assert (wiring.correlation, wiring.correlation_source) == ("username", "learnt")
    assert wiring.correlation_scores["username"] > 0.9


def test_the_contracts_object_names_every_link_and_what_the_last_refresh_learnt(world: World, env: Environment) -> None:
    told = contract(*env.wiring())
    assert (told["pool"], told["triggers"], told["function"]) == (
        world.facts.pool,
        ["pre_sign_up"],
        world.facts.function,
    )
    assert (told["api"], told["table"], told["log_group"]) == (
        world.facts.graphql_url,
        world.facts.table,
        world.facts.log_group,
    )
    assert told["correlation"] == "username"


def test_the_facts_of_the_demos_links_are_told_without_its_key(world: World, env: Environment) -> None:
    chain, _ = env.links()
    told = chain.told()
    assert set(told) == {"pool", "function", "table", "log_group"}
    assert "data source UserTable" in told["table"]
    assert chain.functions[0].variables
    assert not any(key in f"{chain!r}{told}{chain.wiring.manifest()}" for key in world.keys.values())


def test_rows_of_another_environments_pool_are_a_warning_and_listed_without_asking_aws(
    world: World, env: Environment
) -> None:
    other = World(accounts=20, seed=3)
    try:
        # So small a world teaches nothing: it says itself how its rows are matched.
        second = replace(other.settings(), name="second")
        assert second.correlation == "username"
        twin = Environment(config_of(env.config.home, env.settings, second), second)
        assert twin.refresh().wiring.warnings == ()
        ours = sorted(env.latest().accounts["username"])[:3]
        for row_id in ours:
            other.client("dynamodb").put_item(TableName=other.facts.table, Item={"id": {"S": row_id}})
        contaminated = twin.refresh()
        [warning] = contaminated.wiring.warnings
        assert "own 3 of the rows" in warning
        assert "those of bare (pool" in warning
        assert list(strangers(contaminated, twin.neighbours())["row_id"]) == ours
    finally:
        other.stop()
