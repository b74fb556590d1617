"""Whether a write would be allowed is told by one that cannot succeed; nothing is ever written to find out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_kit import Answer, Hasty, ScriptedAws, error, page, scripted_aws, settings

from lib.aws.session import Aws
from lib.aws.write_right import write_right
from lib.config import Config
from lib.demo.world import World
from lib.environment import Environment
from lib.model import Wiring

WIRING = Wiring("eu-west-1_Pool00001", "eu-west-1", table="User")


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with scripted_aws() as served:
        yield served


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        (error("ConditionalCheckFailedException"), True),
        (error("AccessDeniedException", "not authorized to perform: dynamodb:DeleteItem"), False),
        (error("ExpiredTokenException"), None),
        (error("ResourceNotFoundException"), None),
        (error("InternalServerError", status=500), None),
    ],
)
def test_the_answer_to_an_impossible_delete_tells_the_right_to_write(
    fake: ScriptedAws, answer: Answer, may: bool | None
) -> None:
    fake.script("DeleteItem", answer)
    right = write_right(Hasty(settings(fake.url)), WIRING, "dynamodb")
    assert (right.may, right.action) == (may, "dynamodb:DeleteItem")
    assert right.why.endswith(".")


def test_the_delete_names_no_row_and_stands_under_a_condition_that_cannot_hold(fake: ScriptedAws) -> None:
    fake.script("DeleteItem", error("ConditionalCheckFailedException"))
    for _ in range(2):
        write_right(Hasty(settings(fake.url)), WIRING, "dynamodb")
    one, other = fake.asked("DeleteItem")
    assert one["ConditionExpression"] == "attribute_exists(id) AND attribute_not_exists(id)"
    assert one["Key"] != other["Key"]


@pytest.mark.parametrize(
    ("status", "body", "may"),
    [
        (200, {"data": {"getUser": None}}, True),
        (200, {"data": {"getUser": None}, "errors": [{"errorType": "Unauthorized", "message": "no"}]}, False),
        (401, {"errors": [{"errorType": "UnauthorizedException", "message": "no"}]}, False),
        (500, {}, None),
    ],
)
def test_through_appsync_a_query_tells_and_no_mutation_is_sent(
    fake: ScriptedAws, status: int, body: dict[str, Any], may: bool | None
) -> None:
    fake.script("POST /graphql", Answer(json.dumps(body).encode(), status))
    aws = Hasty(settings(fake.url, graphql_url=f"{fake.url}/graphql"))
    right = write_right(aws, WIRING, "appsync")
    assert (right.may, right.action) == (may, "appsync:GraphQL")
    assert ("probably" in right.why) is bool(may)
    assert all("mutation" not in asked["query"] for asked in fake.asked("POST /graphql"))


@pytest.mark.parametrize("writer", ["appsync", "dynamodb"])
def test_what_is_not_known_cannot_be_told(fake: ScriptedAws, writer: str) -> None:
    assert write_right(Hasty(settings(fake.url)), Wiring("p", "eu-west-1"), writer).may is None
    assert fake.requests == []


def environment(fake: ScriptedAws, folder: Path, **changed: Any) -> Environment:
    chosen = settings(fake.url, table="User", writer="dynamodb", **changed)
    return Environment(Config({"test": chosen}, folder, f"sqlite:///{folder}/j.db", str(folder / "s")), chosen)


def test_an_environment_asks_once_and_where_it_is_read_only_not_at_all(fake: ScriptedAws, tmp_path: Path) -> None:
    fake.script("DeleteItem", error("AccessDeniedException"))
    fake.script("DescribeUserPool", page(UserPool={}))
    env = environment(fake, tmp_path)
    assert env.write_right() is env.write_right()
    assert env.write_right().may is False
    assert len(fake.asked("DeleteItem")) == 1
    closed = environment(fake, tmp_path, read_only=True)
    assert (closed.write_right().may, "read-only" in closed.write_right().why) == (False, True)
    assert len(fake.asked("DeleteItem")) == 1


@pytest.mark.parametrize("writer", ["appsync", "dynamodb"])
def test_in_the_embedded_world_the_right_is_there_and_asking_changes_no_row(world: World, writer: str) -> None:
    facts = world.facts
    wiring = Wiring(facts.pool, facts.region, table=facts.table, graphql_url=facts.graphql_url, versioned=True)
    before = world.client("dynamodb").scan(TableName=facts.table)["Items"]
    assert write_right(Aws(world.settings()), wiring, writer).may is True
    assert world.client("dynamodb").scan(TableName=facts.table)["Items"] == before
