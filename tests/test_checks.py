"""A whole chain, healthy; each link broken in turn makes exactly its own check fail."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_kit import POOL, Answer, Hasty, ScriptedAws, described_table, error, page, scripted_aws, settings

from lib.aws.checks import Check, Runs, Seen, probe
from lib.aws.checks.trigger import RETIRED
from lib.aws.keys import digest
from lib.model import Wiring, iso, now

KEY = "da2-abcdefghijklmnopqrstuvwxyz"
POOL_ARN = f"arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{POOL}"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:PreSignup-dev"
URL = "https://x.appsync-api.eu-west-1.amazonaws.com/graphql"
VARIABLES = {
    "API_APP_GRAPHQLAPIIDOUTPUT": "abc",
    "API_APP_GRAPHQLAPIENDPOINTOUTPUT": URL,
    "API_APP_GRAPHQLAPIKEYOUTPUT": KEY,
}
HOUR = now().replace(minute=0, second=0, microsecond=0)
RUNS = Runs(HOUR - timedelta(days=1), HOUR, count=40, failed=1, named=40)
SEEN = Seen(sign_ups_a_day="about 43 sign-ups a day (31 to 57)", unversioned_rows=0, runs=RUNS)


def pool(fake: ScriptedAws, **members: Any) -> None:
    usual = {"Id": POOL, "Arn": POOL_ARN, "DeletionProtection": "ACTIVE", "LambdaConfig": {"PreSignUp": FUNCTION}}
    fake.script("DescribeUserPool", page(UserPool=usual | members))


def function(fake: ScriptedAws, variables: dict[str, str] | None = None, **members: Any) -> None:
    usual = {"FunctionName": "PreSignup-dev", "State": "Active", "Runtime": "nodejs24.x", "Timeout": 5}
    environment = {"Environment": {"Variables": VARIABLES if variables is None else variables}}
    fake.script("GET /2015-03-31/functions/PreSignup-dev/configuration", page(**usual | environment | members))


def policy(fake: ScriptedAws, *statements: dict[str, Any]) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    fake.script("GET /2015-03-31/functions/PreSignup-dev/policy", page(Policy=text))


def allowing(source_arn: str = POOL_ARN, **members: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "cognito-idp.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Condition": {"ArnLike": {"AWS:SourceArn": source_arn}},
    } | members


def table(fake: ScriptedAws, **members: Any) -> None:
    described = json.loads(described_table().body)["Table"] | {"DeletionProtectionEnabled": True} | members
    fake.script("DescribeTable", page(Table=described))


def recovery(fake: ScriptedAws, status: str) -> None:
    described = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": status}}
    fake.script("DescribeContinuousBackups", page(ContinuousBackupsDescription=described))


def group(fake: ScriptedAws, **members: Any) -> None:
    usual = {"logGroupName": "/aws/lambda/PreSignup-dev", "creationTime": 1694153465123}
    fake.script("DescribeLogGroups", page(logGroups=[usual | members]))


def metrics(fake: ScriptedAws, **counts: int) -> None:
    found = [
        {"Id": name.lower(), "Label": name, "Timestamps": [], "Values": [float(count)], "StatusCode": "Complete"}
        for name, count in ({"Invocations": 40, "Errors": 1, "Throttles": 0} | counts).items()
    ]
    fake.script("GetMetricData", page(MetricDataResults=found))


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    arn = b"<R><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/me</Arn></GetCallerIdentityResult></R>"
    with scripted_aws() as served:
        served.script("POST /", Answer(arn))
        pool(served)
        function(served)
        policy(served, allowing())
        served.script("GET /v1/apis/abc", page(graphqlApi={"apiId": "abc", "uris": {"GRAPHQL": URL}}))
        source = {"name": "UserTable", "type": "AMAZON_DYNAMODB", "dynamodbConfig": {"tableName": "User"}}
        served.script("GET /v1/apis/abc/datasources", page(dataSources=[source]))
        served.script("GET /v1/apis/abc/apikeys", page(apiKeys=[{"id": KEY, "expires": 4102444800}]))
        served.script("POST /graphql", page(data={"__typename": "Query"}))
        table(served)
        recovery(served, "ENABLED")
        group(served)
        metrics(served)
        yield served


def wiring(fake: ScriptedAws, days: float = 30, **changed: Any) -> Wiring:
    expires = iso(now() + timedelta(days=days))
    usual = Wiring(
        POOL,
        "eu-west-1",
        table="User",
        versioned=True,
        api_id="abc",
        graphql_url=f"{fake.url}/graphql",
        log_groups=("/aws/lambda/PreSignup-dev",),
        functions=("PreSignup-dev",),
        keys=({"digest": digest(KEY), "expires_at": expires, "seen_at": iso(now())},),
    )
    return replace(usual, **changed)


def checks(fake: ScriptedAws, chain: Wiring | None = None, seen: Seen | None = SEEN, **set_up: Any) -> dict[str, Check]:
    aws = Hasty(settings(fake.url, api_key="da2-k", **set_up))
    return {check.name: check for check in probe(aws, chain or wiring(fake), seen)}


def failing(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.status for name, check in found.items() if check.status in ("problem", "warning")}


def test_a_whole_chain_that_is_set_up_well_is_green_throughout(fake: ScriptedAws) -> None:
    found = checks(fake)
    assert {name: check for name, check in found.items() if check.status != "ok"} == {}
    assert len(found) == 19


MISSING = error("ResourceNotFoundException")
BREAKS: dict[str, tuple[str, str, Callable[[ScriptedAws], Any]]] = {
    "the credentials are nobody's": ("identity", "problem", lambda f: f.script("POST /", error("ExpiredToken"))),
    "no pool": ("pool", "problem", lambda f: f.script("DescribeUserPool", MISSING)),
    "no trigger": ("trigger", "problem", lambda f: pool(f, LambdaConfig={})),
    "another trigger only": ("trigger", "problem", lambda f: pool(f, LambdaConfig={"PostConfirmation": FUNCTION})),
    "no function": (
        "function",
        "problem",
        lambda f: f.script("GET /2015-03-31/functions/PreSignup-dev/configuration", MISSING),
    ),
    "a function that failed": ("function", "problem", lambda f: function(f, State="Failed")),
    "a deploy that failed": ("function", "warning", lambda f: function(f, LastUpdateStatus="Failed")),
    "a retired runtime": ("runtime", "warning", lambda f: function(f, Runtime="nodejs16.x")),
    "no policy": (
        "invoke_permission",
        "problem",
        lambda f: f.script("GET /2015-03-31/functions/PreSignup-dev/policy", MISSING),
    ),
    "a policy for another pool": ("invoke_permission", "problem", lambda f: policy(f, allowing(POOL_ARN + "X"))),
    "a policy for another service": (
        "invoke_permission",
        "problem",
        lambda f: policy(f, allowing(Principal={"Service": "s3.amazonaws.com"})),
    ),
    "a policy that denies": (
        "invoke_permission",
        "problem",
        lambda f: policy(f, allowing(), allowing(Effect="Deny")),
    ),
    "a time-out of 25 s": ("time_out", "warning", lambda f: function(f, Timeout=25)),
    "another API": (
        "environment",
        "problem",
        lambda f: function(f, VARIABLES | {"API_APP_GRAPHQLAPIIDOUTPUT": "other"}),
    ),
    "another endpoint": (
        "environment",
        "problem",
        lambda f: function(f, VARIABLES | {"API_APP_GRAPHQLAPIENDPOINTOUTPUT": URL.replace("x.", "y.")}),
    ),
    "another API's key": (
        "environment",
        "problem",
        lambda f: function(f, VARIABLES | {"API_APP_GRAPHQLAPIKEYOUTPUT": "da2-other"}),
    ),
    "an API that refuses": (
        "api",
        "problem",
        lambda f: f.script("POST /graphql", Answer(b'{"errors": [{"errorType": "UnauthorizedException"}]}', 401)),
    ),
    "a data source of another table": (
        "data_source",
        "problem",
        lambda f: f.script("GET /v1/apis/abc/datasources", page(dataSources=[])),
    ),
    "no table": ("table", "problem", lambda f: f.script("DescribeTable", MISSING)),
    "a table that is being deleted": ("table", "problem", lambda f: table(f, TableStatus="DELETING")),
    "a table with another key": (
        "table",
        "problem",
        lambda f: f.script("DescribeTable", described_table(("id", "HASH", "S"), ("at", "RANGE", "S"))),
    ),
    "a pool that can be deleted": ("protection", "warning", lambda f: pool(f, DeletionProtection="INACTIVE")),
    "a table that can be deleted": ("protection", "warning", lambda f: table(f, DeletionProtectionEnabled=False)),
    "no recovery": ("protection", "warning", lambda f: recovery(f, "DISABLED")),
    "no log group": ("log_group", "problem", lambda f: f.script("DescribeLogGroups", page(logGroups=[]))),
    "a short retention": ("log_retention", "warning", lambda f: group(f, retentionInDays=7)),
    "a quiet system": (
        "log_format",
        "problem",
        lambda f: function(f, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"}),
    ),
    "a quiet application": (
        "log_format",
        "problem",
        lambda f: function(f, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "ERROR"}),
    ),
    "throttles": ("metrics", "warning", lambda f: metrics(f, Throttles=3)),
    "runs that the log misses": ("metrics", "warning", lambda f: metrics(f, Invocations=60)),
    "errors that the log misses": ("metrics", "warning", lambda f: metrics(f, Errors=9)),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_each_link_broken_makes_exactly_its_own_check_fail(fake: ScriptedAws, broken: str) -> None:
    name, status, break_it = BREAKS[broken]
    break_it(fake)
    found = checks(fake)
    assert failing(found) == {name: status}
    check = found[name]
    assert all([check.title, check.cause, check.fix, check.impact])
    assert check.cause.endswith(".")


SEEN_BREAKS: dict[str, tuple[str, dict[str, Any]]] = {
    "rows without a version": ("versions", {"unversioned_rows": 3}),
    "runs that name nobody": ("log_format", {"runs": replace(RUNS, named=0)}),
}


@pytest.mark.parametrize("broken", SEEN_BREAKS)
def test_what_the_snapshot_shows_to_be_wrong_makes_exactly_its_check_fail(fake: ScriptedAws, broken: str) -> None:
    name, seen = SEEN_BREAKS[broken]
    assert list(failing(checks(fake, seen=replace(SEEN, **seen)))) == [name]


DENIED = {
    "lambda:GetPolicy": ("invoke_permission", "GET /2015-03-31/functions/PreSignup-dev/policy"),
    "dynamodb:DescribeContinuousBackups": ("protection", "DescribeContinuousBackups"),
    "cloudwatch:GetMetricData": ("metrics", "GetMetricData"),
    "appsync:ListDataSources": ("data_source", "GET /v1/apis/abc/datasources"),
    "appsync:GetGraphqlApi": ("environment", "GET /v1/apis/abc"),
}


@pytest.mark.parametrize("action", DENIED)
def test_a_check_that_is_not_allowed_is_unknown_and_the_missing_permission_is_named(
    fake: ScriptedAws, action: str
) -> None:
    name, operation = DENIED[action]
    fake.script(operation, error("AccessDeniedException", status=403))
    found = checks(fake)
    assert failing(found) == {"permissions": "warning"}
    assert (found[name].status, action in found[name].fix) == ("unknown", True)
    assert action in found["permissions"].cause


@pytest.mark.parametrize(("name", "lost"), [("versions", "unversioned_rows"), ("metrics", "runs")])
def test_what_no_snapshot_has_seen_is_unknown_and_never_green(fake: ScriptedAws, name: str, lost: str) -> None:
    check = checks(fake, seen=replace(SEEN, **{lost: None}))[name]
    assert (check.status, check.fix) == ("unknown", "Refresh.")


def test_without_any_snapshot_the_rest_is_checked_all_the_same(fake: ScriptedAws) -> None:
    found = checks(fake, seen=None)
    assert {name for name, check in found.items() if check.status != "ok"} == {"versions", "metrics"}


def test_metrics_that_cloudwatch_does_not_have_are_unknown(fake: ScriptedAws) -> None:
    metrics(fake, Invocations=0, Errors=0)
    assert checks(fake)["metrics"].status == "unknown"


def test_metrics_of_another_world_are_not_asked_for(fake: ScriptedAws) -> None:
    check = checks(fake, endpoint_urls={"cloudwatch": "https://monitoring.eu-west-1.amazonaws.com"})["metrics"]
    assert (check.status, check.cause) == ("unknown", "CloudWatch is another world than Lambda.")
    assert fake.asked("GetMetricData") == []


def test_the_worst_comes_first(fake: ScriptedAws) -> None:
    group(fake, retentionInDays=7)
    fake.script("DescribeTable", MISSING)
    found = [check.status for check in checks(fake).values()]
    assert found == sorted(found, key=["problem", "warning", "unknown", "ok"].index)
    assert found[0] == "problem"


@pytest.mark.parametrize(
    ("days", "status", "title", "lost"),
    [
        (-2, "problem", "API key expired on", "(31 to 57) are lost"),
        (0.9, "warning", "API key expires in 21 hours", "(31 to 57) would be lost"),
        (1.5, "warning", "API key expires in 1 day,", "(31 to 57) would be lost"),
        (5.5, "ok", "API key expires in 5 days", "(31 to 57) would be lost"),
    ],
)
def test_the_key_is_told_by_the_days_that_are_left_and_by_what_is_lost_without_it(
    fake: ScriptedAws, days: float, status: str, title: str, lost: str
) -> None:
    check = checks(fake, wiring(fake, days))["api_key"]
    assert check.status == status
    assert check.title.startswith(title)
    assert lost in check.cause


def test_a_key_that_the_api_does_not_list_is_unknown_and_a_signed_call_needs_none(fake: ScriptedAws) -> None:
    assert checks(fake, wiring(fake, keys=()))["api_key"].status == "unknown"
    function(fake, {name: value for name, value in VARIABLES.items() if not name.endswith("KEYOUTPUT")})
    assert checks(fake, wiring(fake, keys=()))["api_key"].status == "ok"


def test_a_function_that_writes_the_table_itself_is_not_asked_about_an_api(fake: ScriptedAws) -> None:
    function(fake, {"USERS": "User"})
    found = checks(fake, wiring(fake, api_id=None, graphql_url=None, keys=(), versioned=False))
    assert found["environment"].status == "ok"
    assert {"api_key", "data_source"} & set(found) == set()


@pytest.mark.parametrize("named", ["User", "arn:aws:dynamodb:eu-west-1:123456789012:table/User"])
def test_a_trigger_that_writes_to_the_table_itself_needs_no_api(fake: ScriptedAws, named: str) -> None:
    function(fake, {"USERS_TABLE": named})
    found = checks(fake, wiring(fake, api_id=None, graphql_url=None, keys=(), versioned=False))
    assert (found["api"].status, found["environment"].status) == ("ok", "ok")
    function(fake, {"USERS_TABLE": "Another"})
    found = checks(fake, wiring(fake, api_id=None, graphql_url=None, keys=(), versioned=False))
    assert (found["api"].status, found["environment"].status) == ("warning", "unknown")


def test_what_a_missing_right_hides_is_unknown_for_that_reason_and_not_left_out(fake: ScriptedAws) -> None:
    denied = error("AccessDeniedException", status=403)
    fake.script("GET /v1/apis/abc/apikeys", denied)
    key = checks(fake, wiring(fake, keys=()))["api_key"]
    assert (key.status, "appsync:ListApiKeys" in key.fix) == ("unknown", True)
    fake.script("GET /2015-03-31/functions/PreSignup-dev/configuration", denied)
    found = checks(fake, wiring(fake, api_id=None, graphql_url=None, keys=(), table=None))
    assert (found["api_key"].status, "lambda:GetFunctionConfiguration" in found["api_key"].fix) == ("unknown", True)
    assert found["data_source"].status == "unknown"


def test_an_environment_that_names_nothing_is_unknown(fake: ScriptedAws) -> None:
    function(fake, {"LOG": "1"})
    assert checks(fake)["environment"].status == "unknown"


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/*"}}},
        {
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": "123456789012"},
                "ArnEquals": {"aws:SourceArn": POOL_ARN},
            }
        },
        {"Action": ["lambda:InvokeFunction", "lambda:GetFunction"]},
        {"Action": "lambda:*", "Principal": "*"},
    ],
)
def test_any_statement_that_holds_for_cognito_and_this_pool_will_do(
    fake: ScriptedAws, condition: dict[str, Any]
) -> None:
    policy(fake, allowing() | condition)
    assert checks(fake)["invoke_permission"].status == "ok"


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"AWS:SourceAccount": "999999999999"}},
        {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
    ],
)
def test_a_condition_that_does_not_hold_or_is_not_known_allows_nothing(
    fake: ScriptedAws, condition: dict[str, Any]
) -> None:
    policy(fake, allowing(Condition=condition))
    assert checks(fake)["invoke_permission"].status == "problem"


@pytest.mark.parametrize(("arn", "qualifier"), [(FUNCTION, ""), (f"{FUNCTION}:live", "?Qualifier=live")])
def test_an_alias_has_a_policy_of_its_own(fake: ScriptedAws, arn: str, qualifier: str) -> None:
    aws, urls = Hasty(settings(fake.url, api_key="da2-k")), []
    events = aws.client("lambda").meta.events
    events.register("before-send.lambda.GetPolicy", lambda request, **_: urls.append(request.url))
    probe(aws, wiring(fake, triggers={"pre_sign_up": arn}), SEEN)
    assert [url.removeprefix(fake.url) for url in urls] == [
        f"/2015-03-31/functions/PreSignup-dev/policy{qualifier}",
    ]


@pytest.mark.parametrize(
    ("version", "to"),
    [
        ("nodejs16.x", "nodejs24.x"),
        ("python3.8", "python3.14"),
        ("java8", "java25"),
        ("ruby2.7", "ruby4.0"),
        ("dotnet6", "dotnet10"),
        ("dotnetcore3.1", "dotnet10"),
        ("go1.x", "provided.al2023"),
        ("provided", "provided.al2023"),
    ],
)
def test_a_retired_runtime_says_where_to_move(fake: ScriptedAws, version: str, to: str) -> None:
    function(fake, Runtime=version)
    found = checks(fake)["runtime"]
    assert (found.status, found.fix) == ("warning", f"Move it to {to}.")
    assert RETIRED[to] == max(at for name, at in RETIRED.items() if name[:2] == to[:2])


@pytest.mark.parametrize("version", ["nodejs99.x", None])  # None: a container image
def test_a_runtime_that_is_not_known_is_neither_accused_nor_green(fake: ScriptedAws, version: str | None) -> None:
    function(fake, Runtime=version)
    found = checks(fake)
    assert found["runtime"].status == "unknown"
    assert failing(found) == {}


def test_no_secret_is_in_any_check(fake: ScriptedAws) -> None:
    function(fake, VARIABLES | {"API_APP_GRAPHQLAPIKEYOUTPUT": "da2-other", "PASSWORD": "hunter2"})
    shown = repr(checks(fake))
    assert "da2-" not in shown
    assert "hunter2" not in shown
