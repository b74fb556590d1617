"""What is known of each link of the chain, other shapes of trigger, and what each missing right costs."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from aws_kit import POOL, Hasty, ScriptedAws, error, page, settings
from chain_kit import (
    API,
    FUNCTION,
    KEY,
    OTHER,
    attached,
    chained,
    discovered,
    function,
    graphql_api,
    source,
    whole_chain,
)

from lib.aws.discovery import chain, probe


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with whole_chain() as served:
        yield served


def test_every_trigger_is_named_and_only_those_of_sign_up_are_looked_at(fake: ScriptedAws) -> None:
    sms = {"LambdaVersion": "V1_0", "LambdaArn": "arn:sms"}
    attached(
        fake, PreSignUp=FUNCTION, CustomMessage=OTHER, CustomSMSSender=sms, KMSKeyID="arn:kms", PreTokenGeneration=""
    )
    found = chained(fake)
    assert found.wiring.triggers == {"pre_sign_up": FUNCTION, "custom_message": OTHER, "custom_sms_sender": "arn:sms"}
    assert [each.name for each in found.functions] == ["PreSignup-dev"]
    assert not any("Confirm-dev" in name for name, _ in fake.requests)


def test_the_facts_of_each_link_are_kept_and_no_secret_is_told(fake: ScriptedAws) -> None:
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN", "LogGroup": "/custom"}
    members = {"Runtime": "nodejs20.x", "Timeout": 25, "MemorySize": 128, "LastUpdateStatus": "Successful"}
    function(fake, FUNCTION, API, LoggingConfig=logging, **members)
    found = chained(fake)
    [facts] = found.functions
    assert (facts.arn, facts.kind, facts.log_group) == (FUNCTION, "pre_sign_up", "/custom")
    assert (facts.runtime, facts.timeout_s, facts.memory_mb) == ("nodejs20.x", 25, 128)
    assert (facts.state, facts.last_update) == ("Active", "Successful")
    assert (facts.log_format, facts.application_log_level, facts.system_log_level) == ("JSON", "ERROR", "WARN")
    assert facts.variables == API
    assert found.table is not None
    assert (found.table.name, found.table.status) == ("User-abc-dev", "ACTIVE")
    assert found.data_source is not None
    assert (found.data_source.name, found.data_source.versioned) == ("UserTable", True)
    assert [key.digest for key in found.keys] == [key["digest"] for key in found.wiring.keys]
    told = f"{found!r} {found.told()} {found.wiring.manifest()}"
    assert "nodejs20.x · 25 s · 128 MB · active" in told
    assert KEY not in told


def test_who_wins_a_conflict_is_read_from_the_tables_own_resolvers(fake: ScriptedAws) -> None:
    assert discovered(fake).conflict_handler == "AUTOMERGE"
    other = {"fieldName": "createPost", "dataSourceName": "PostTable", "syncConfig": {"conflictHandler": "LAMBDA"}}
    fake.script("GET /v1/apis/abc/types/Mutation/resolvers", page(resolvers=[other]))
    assert discovered(fake).conflict_handler is None


def test_a_table_without_conflict_detection_has_no_conflict_handler_to_ask_for(fake: ScriptedAws) -> None:
    fake.script("GET /v1/apis/abc/datasources", page(dataSources=[source("UserTable", "User-abc-dev")]))
    assert discovered(fake).conflict_handler is None
    assert not fake.asked("GET /v1/apis/abc/types/Mutation/resolvers")


@pytest.mark.parametrize("variable", ["API_APP_GRAPHQLAPIENDPOINTOUTPUT", "AMPLIFY_DATA_GRAPHQL_ENDPOINT"])
def test_an_endpoint_in_any_variable_leads_to_its_api(fake: ScriptedAws, variable: str) -> None:
    url = API["API_APP_GRAPHQLAPIENDPOINTOUTPUT"]
    function(fake, FUNCTION, {variable: url, "KEY": KEY})
    apis = [graphql_api("other", "https://other/graphql", POOL), graphql_api("abc", f"{url}/")]
    fake.script("GET /v1/apis", page(graphqlApis=apis))
    wiring = discovered(fake)
    assert (wiring.api_id, wiring.table, len(wiring.keys)) == ("abc", "User-abc-dev", 1)
    assert wiring.warnings == ()


@pytest.mark.parametrize("first", [True, False])
def test_an_api_that_nothing_names_is_the_one_that_lets_the_pools_accounts_in(fake: ScriptedAws, first: bool) -> None:
    function(fake, FUNCTION, {})
    apis = [
        graphql_api("other", "https://o/graphql", "another"),
        graphql_api("abc", "https://a/graphql", POOL, first=first),
    ]
    fake.script("GET /v1/apis", page(graphqlApis=apis))
    wiring = discovered(fake)
    assert (wiring.api_id, wiring.graphql_url) == ("abc", "https://a/graphql")
    fake.script("GET /v1/apis", page(graphqlApis=[*apis, graphql_api("def", "https://d/graphql", POOL)]))
    wiring = discovered(fake)
    assert wiring.api_id is None
    assert any("Set api_id" in warning for warning in wiring.warnings)


@pytest.mark.parametrize(
    "variables",
    [
        {"USER_TABLE_NAME": "members"},
        {"TABLE_ARN": "arn:aws:dynamodb:eu-west-1:1:table/members"},
        {"STORE": "arn:aws:dynamodb:eu-west-1:1:table/members"},
        {"POSTS_TABLE": "posts", "USERS_TABLE": "user-members"},
        {"API_APP_USERTABLE_NAME": "members", "API_APP_USERTABLE_ARN": "arn:aws:dynamodb:eu-west-1:1:table/members"},
        {"ROWS_OF_USERS": "members", "REGION": "eu-west-1"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_a_trigger_that_writes_to_dynamodb_itself_names_the_table(fake: ScriptedAws, variables: dict[str, str]) -> None:
    function(fake, FUNCTION, variables)
    fake.script("Scan", page(Items=[]))
    wiring = discovered(fake)
    assert wiring.table is not None
    assert wiring.table.endswith("members")
    assert (wiring.api_id, wiring.graphql_url, wiring.warnings) == (None, None, ())


def test_several_tables_in_one_environment_are_not_guessed_between(fake: ScriptedAws) -> None:
    function(fake, FUNCTION, {"A_TABLE": "posts", "B_TABLE": "comments"})
    wiring = discovered(fake)
    assert wiring.table is None
    assert "The trigger's environment names more than one table. Set table." in wiring.warnings


def test_a_value_that_only_might_be_a_table_counts_when_there_is_one_of_that_name(fake: ScriptedAws) -> None:
    function(fake, FUNCTION, {"USER_KIND": "members", "USER_POOL": "eu-west-1_abc"})
    fake.script("DescribeTable", error("ResourceNotFoundException"))
    wiring = discovered(fake)
    assert (wiring.table, wiring.warnings) == (None, ("The User table was not found. Set table.",))
    assert [ask["TableName"] for ask in fake.asked("DescribeTable")] == ["members"]


@pytest.mark.parametrize("qualifier", ["", ":$LATEST", ":live", ":7"])
def test_a_version_or_an_alias_is_asked_for_and_is_no_part_of_the_name(fake: ScriptedAws, qualifier: str) -> None:
    arn = FUNCTION + qualifier
    attached(fake, PreSignUp=arn)
    answer = page(FunctionName="PreSignup-dev", Environment={"Variables": API})
    fake.script(f"GET /2015-03-31/functions/{quote(arn, safe='')}/configuration", answer)
    wiring = discovered(fake)
    assert (wiring.functions, wiring.log_groups) == (("PreSignup-dev",), ("/aws/lambda/PreSignup-dev",))
    assert (wiring.table, wiring.warnings) == ("User-abc-dev", ())


def test_one_function_on_both_triggers_is_read_once_and_the_trigger_is_not_guessed(fake: ScriptedAws) -> None:
    attached(fake, PreSignUp=FUNCTION, PostConfirmation=FUNCTION)
    wiring = discovered(fake)
    assert (wiring.trigger, wiring.functions, wiring.table) == ("post_confirmation", ("PreSignup-dev",), "User-abc-dev")
    assert any("Set expects_row" in warning for warning in wiring.warnings)


def test_a_mix_of_this_machine_and_aws_is_said_before_anything_is_repaired(fake: ScriptedAws) -> None:
    wiring = discovered(fake, graphql_url="https://x.appsync-api.eu-west-1.amazonaws.com/graphql")
    [warning] = wiring.warnings
    assert warning.startswith("test mixes this machine")
    assert warning.endswith("Until then every repair is refused.")


READ_FOR_THE_CHAIN = ("POST /", "DescribeUserPool", "GET /v1/apis/abc/apikeys", "DescribeLogGroups", "DescribeTable")


@pytest.mark.parametrize("denied", [None, *READ_FOR_THE_CHAIN, "GET /2015-03-31/functions"])
def test_what_the_chain_has_found_is_not_read_again_for_the_checks_and_they_say_the_same(
    fake: ScriptedAws, denied: str | None
) -> None:
    for name in (FUNCTION.replace(":", "%3A"), "PreSignup-dev"):
        if denied == "GET /2015-03-31/functions":
            fake.script(f"{denied}/{name}/configuration", error("AccessDeniedException", status=403))
    if denied in READ_FOR_THE_CHAIN:
        fake.script(denied, error("AccessDeniedException", status=403))
    aws = Hasty(settings(fake.url))
    found = chain(aws)
    fake.requests.clear()
    alone = probe(aws, found.wiring)
    asked = {name for name, _ in fake.requests}
    fake.requests.clear()
    assert probe(aws, found.wiring, known=found.known()) == alone
    again = {name for name, _ in fake.requests}
    assert again.isdisjoint({*READ_FOR_THE_CHAIN} - {denied})
    assert again < asked


WHOLE = {
    "identity": "arn:aws:iam::1:user/me",
    "triggers": {"pre_sign_up": FUNCTION},
    "functions": ("PreSignup-dev",),
    "api_id": "abc",
    "table": "User-abc-dev",
    "versioned": True,
    "conflict_handler": "AUTOMERGE",
    "retention_days": 45,
}
# What is built on a fact goes with it; the rest stays.
LOSSES = {
    "POST /": ("identity",),
    "DescribeUserPool": tuple(WHOLE.keys() - {"identity"}),
    f"GET /2015-03-31/functions/{FUNCTION.replace(':', '%3A')}/configuration": (
        *("api_id", "table", "versioned", "conflict_handler"),
    ),
    "GET /v1/apis/abc/datasources": ("table", "versioned", "conflict_handler"),
    "GET /v1/apis/abc/types/Mutation/resolvers": ("conflict_handler",),
    "GET /v1/apis/abc/apikeys": (),
    "DescribeLogGroups": ("retention_days",),
    "DescribeTable": (),
}


@pytest.mark.parametrize("operation", LOSSES)
def test_a_right_that_is_missing_costs_its_own_facts_only(fake: ScriptedAws, operation: str) -> None:
    fake.script(operation, error("AccessDeniedException", status=403))
    wiring = discovered(fake)
    assert {name for name, value in WHOLE.items() if getattr(wiring, name) != value} == set(LOSSES[operation])
    assert wiring.warnings
