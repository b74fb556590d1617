"""The IAM policy: what it allows, against what the code says that it calls and what really goes out."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from graphql import parse

from lib.aws import discovery, graphql, pools
from lib.aws.permissions import GRAPHQL_FIELDS, PERMISSIONS, READ, SET_UP
from lib.aws.policy import missing, policy
from lib.aws.session import Aws
from lib.cli import main
from lib.config import Config
from lib.environment import Environment
from lib.model import Wiring

AWS = Path(__file__).parents[1] / "lib" / "aws"
ALL = {each.action for each in PERMISSIONS}
# Where IAM's action is not named like the API's operation.
NAMED_OTHERWISE = {"lambda:Invoke": "lambda:InvokeFunction"}
CHAIN = Wiring(
    pool="eu-west-1_AbC123",
    region="eu-west-1",
    table="User-abc-dev",
    triggers={"pre_sign_up": "arn:aws:lambda:eu-west-1:111122223333:function:sign-up-dev"},
    functions=("sign-up-dev",),
    log_groups=("/aws/lambda/sign-up-dev",),
    api_id="abc",
    identity="arn:aws:sts::111122223333:assumed-role/reader/me",
)


def action_of(service: str, operation: str) -> str:
    named = f"{service}:{operation}"
    return NAMED_OTHERWISE.get(named, named)


def with_statements() -> Iterator[tuple[str, ast.With, str]]:
    """Every `with ... calling(..., action=...)` of lib/aws: where, the statement, the action it names."""
    for file in sorted(AWS.rglob("*.py")):
        module = ".".join(("lib", *file.relative_to(AWS.parent).with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text())):
            for item in node.items if isinstance(node, ast.With) else ():
                named = named_action(item.context_expr, module)
                if named:
                    yield f"{file.relative_to(AWS)}:{node.lineno}", node, named


def named_action(call: ast.expr, module: str) -> str | None:
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "calling"):
        return None
    value = next((keyword.value for keyword in call.keywords if keyword.arg == "action"), None)
    if isinstance(value, ast.Name):
        return str(getattr(importlib.import_module(module), value.id))
    return str(value.value) if isinstance(value, ast.Constant) else None


def operations(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every `aws.client(service).operation(...)` below a node, as (line, IAM action)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_client(node.func.value):
            paged = node.func.attr == "get_paginator"
            method = node.args[0].value if paged else node.func.attr
            service = node.func.value.args[0].value
            yield node.lineno, action_of(service, "".join(part.title() for part in method.split("_")))


def is_client(made: ast.expr) -> bool:
    """Whether this is `aws.client("...")`, or one of the other ways to one."""
    return (
        isinstance(made, ast.Call)
        and isinstance(made.func, ast.Attribute)
        and made.func.attr in ("client", "writer", "once")
        and len(made.args) == 1
    )


def test_the_policy_knows_exactly_the_actions_that_stand_beside_the_calls():
    named = {action for _, _, action in with_statements()}
    assert named == ALL


def test_the_action_beside_a_call_is_the_calls_own():
    wrong = [
        (where, action, made)
        for where, statement, action in with_statements()
        for _, made in operations(statement)
        if made != action
    ]
    assert wrong == []


def test_no_call_goes_without_its_action():
    covered = {
        (where.partition(":")[0], line)
        for where, statement, _ in with_statements()
        for line, _ in operations(statement)
    }
    every = {
        (str(file.relative_to(AWS)), line)
        for file in AWS.rglob("*.py")
        for line, _ in operations(ast.parse(file.read_text()))
    }
    assert every - covered == set()
    assert len(every) > 15


def statements(document: dict) -> dict[str, dict]:
    return {each["Sid"]: each for each in document["Statement"]}


def test_every_resource_is_named_as_far_as_iam_can():
    document = policy(CHAIN, repair=True).document
    for sid, statement in statements(document).items():
        resources = [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]
        assert all(each.startswith("arn:aws:") for each in resources) or sid.endswith("NoResourceLevel")
        assert re.fullmatch(r"[A-Za-z0-9]+", sid)
    named = statements(document)
    assert named["Pool"]["Resource"] == "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_AbC123"
    assert named["Table"]["Resource"] == "arn:aws:dynamodb:eu-west-1:111122223333:table/User-abc-dev"
    assert named["Function"]["Resource"] == "arn:aws:lambda:eu-west-1:111122223333:function:sign-up-dev"
    assert named["LogGroup"]["Resource"] == [
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/sign-up-dev",
        "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/sign-up-dev:*",
    ]
    assert named["RepairApiMutations"]["Resource"][0] == (
        "arn:aws:appsync:eu-west-1:111122223333:apis/abc/types/Mutation/fields/createUser"
    )


def test_reading_allows_no_write_and_repairs_add_exactly_theirs():
    read, repair = policy(CHAIN).actions(), policy(CHAIN, repair=True).actions()
    assert read == {each.action for each in PERMISSIONS if each.use == READ}
    assert repair == ALL - {each.action for each in PERMISSIONS if each.use == SET_UP}
    assert not [action for action in read if re.search(":(Put|Update|Delete|Invoke|Admin|Create)", action)]


@pytest.mark.parametrize("gone", [{"table": None}, {"functions": ()}, {"log_groups": ()}, {"api_id": None}])
def test_an_unknown_part_is_left_out_and_told_and_never_becomes_everything(gone):
    found = policy(replace(CHAIN, **gone), repair=True)
    assert len(found.left_out) == 1
    assert [sid for sid, each in statements(found.document).items() if each["Resource"] == "*"] == [
        "NoResourceLevel",
        "RepairNoResourceLevel",
    ]
    told = set(re.findall(r"[\w-]+:[A-Z]\w+", found.left_out[0]))
    assert found.actions() == policy(CHAIN, repair=True).actions() - told
    assert policy(CHAIN, repair=True).left_out == ()


def test_rows_written_straight_to_the_table_need_nothing_of_the_apis_mutations():
    assert "appsync:GraphQL" not in policy(CHAIN, repair=True, writer="dynamodb").actions()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"identity": None}, "arn:aws:cognito-idp:eu-west-1:111122223333:"),
        ({"identity": None, "triggers": {}}, "arn:aws:cognito-idp:eu-west-1:*:"),
        ({"region": "us-gov-west-1"}, "arn:aws-us-gov:cognito-idp:us-gov-west-1:111122223333:"),
        ({"region": "cn-north-1"}, "arn:aws-cn:cognito-idp:cn-north-1:111122223333:"),
    ],
)
def test_account_and_partition_come_from_what_is_known(changed, expected):
    found = statements(policy(replace(CHAIN, **changed)).document)
    assert found["Pool"]["Resource"].startswith(expected)


def test_an_alias_that_the_pool_calls_is_allowed_besides_the_function():
    alias = "arn:aws:lambda:eu-west-1:444455556666:function:sign-up-dev:live"
    found = statements(policy(replace(CHAIN, triggers={"pre_sign_up": alias})).document)
    assert found["Function"]["Resource"] == [alias.removesuffix(":live"), alias]


def test_missing_permissions_are_those_that_refusals_name():
    said = [
        "Cannot read table User: AccessDenied. The role needs dynamodb:Scan on it (see: python -m lib policy).",
        "Cannot list: AccessDenied. The role needs cognito-idp:ListUserPools on it (see: python -m lib policy).",
    ]
    assert missing(said) == ["dynamodb:Scan", "cognito-idp:ListUserPools"]
    assert missing(["Everything answers. dynamodb:Scan was asked."]) == []


def test_the_command_prints_the_policy_and_nothing_else(world):
    shown = CliRunner().invoke(main, ["policy", "--repair"])
    assert shown.exit_code == 0
    assert set(statements(json.loads(shown.stdout))) >= {"Pool", "Table", "Function", "RepairTable"}
    assert world.facts.table in shown.stdout
    assert "RepairTable" not in CliRunner().invoke(main, ["policy"]).stdout


class Recorded:
    """The IAM actions of every request that goes out, from botocore's own events and the API's GraphQL."""

    def __init__(self) -> None:
        self.actions: set[str] = set()
        self.fields: set[str] = set()

    def watch(self, aws: Aws) -> Aws:
        aws._opened().events.register("before-call", self._called)
        return aws

    def _called(self, model, **_):
        self.actions.add(action_of(model.service_model.service_name, model.name))

    def queried(self, query: str) -> None:
        self.actions.add("appsync:GraphQL")
        operation = parse(query).definitions[0]
        self.fields |= {
            (operation.operation.value, selection.name.value) for selection in operation.selection_set.selections
        }

    def taken(self) -> tuple[set[str], set[tuple[str, str]]]:
        taken = self.actions, self.fields
        self.actions, self.fields = set(), set()
        return taken


@pytest.fixture
def recorded(monkeypatch):
    record, answered = Recorded(), graphql.Api._answered

    def watched(api, query, variables):
        record.queried(query)
        return answered(api, query, variables)

    monkeypatch.setattr(graphql.Api, "_answered", watched)
    return record


def opened(world, folder: Path, recorded: Recorded, **settings) -> Environment:
    """The world by nothing but its pool's id."""
    facts = world.facts
    known = replace(
        world.settings(), name="world", table=None, graphql_url=None, api_id=None, log_groups=(), **settings
    )
    assert known.user_pool_id == facts.pool
    config = Config({"world": known}, folder, f"sqlite:///{folder / 'journal.db'}", str(folder / "snapshots"))
    env = Environment(config, known)
    recorded.watch(env.aws)
    return env


def repaired_and_undone(env: Environment, **chosen) -> None:
    run = env.apply(env.plan(**chosen), why="a test")
    assert run.record["done"], run.message
    assert env.undo(run).record["done"]


def test_what_goes_out_is_what_the_policy_allows_and_all_of_it(world, tmp_path, recorded):
    env = opened(world, tmp_path, recorded)
    snapshot = env.refresh()
    env.wiring()
    run = snapshot.sql("select * from invocations where log_stream is not null limit 1").to_dict("records")[0]
    env.raw_log(run)
    without_api_id(world)
    discovery.discover(env.aws)
    read, queries = recorded.taken()

    cause = snapshot.sql("select account_id from findings where cause = 'api_key_expired' limit 1")["account_id"][0]
    drifted = snapshot.sql("select account_id from findings where situation = 'drift' limit 1")["account_id"][0]
    for writer in ("appsync", "dynamodb"):
        repairing = opened(world, tmp_path, recorded, writer=writer)
        repaired_and_undone(repairing, ids=[drifted])
        if writer == "appsync":
            repaired_and_undone(repairing, ids=[cause])
    other = snapshot.sql("select account_id from findings where cause = 'silent_failure' limit 1")["account_id"][0]
    repaired_and_undone(opened(world, tmp_path, recorded, writer="dynamodb"), ids=[other])
    opened(world, tmp_path, recorded).rescue()
    replaying = opened(world, tmp_path, recorded)
    another = snapshot.sql("select sub from findings where cause = 'silent_failure' limit 2")["sub"][1]
    assert replaying.apply(replaying.replay_plan(ids=[another])).record["done"]
    repairs, mutations = recorded.taken()

    pools.listed(recorded.watch(Aws(world.settings())))
    set_up, _ = recorded.taken()

    wiring = env.wiring()[0]
    assert read == policy(wiring).actions()
    assert read | repairs == policy(wiring, repair=True).actions()
    assert set_up == {each.action for each in PERMISSIONS if each.use == SET_UP}
    assert queries <= allowed("query")
    assert allowed("mutation") <= queries | mutations <= allowed("query") | allowed("mutation")


def allowed(kind: str) -> set[tuple[str, str]]:
    return {(kind, field) for field in GRAPHQL_FIELDS[kind]}


def without_api_id(world) -> None:
    """Let the trigger's environment name the API by its endpoint only, as one that is not Amplify's does."""
    client = world.client("lambda")
    variables = client.get_function_configuration(FunctionName=world.facts.function)["Environment"]["Variables"]
    kept = {name: value for name, value in variables.items() if not name.endswith("IDOUTPUT")}
    client.update_function_configuration(FunctionName=world.facts.function, Environment={"Variables": kept})
