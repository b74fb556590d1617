import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_kit import HTML, POOL, Answer, Hasty, ScriptedAws, described_table, error, page, settings
from chain_kit import API, EXPIRES, FUNCTION, KEY, OTHER, attached, discovered, function, source, whole_chain

from lib.aws.discovery import probe
from lib.model import Wiring, now


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with whole_chain() as served:
        yield served


def test_one_pool_id_is_enough_to_find_the_whole_chain(fake: ScriptedAws) -> None:
    wiring = discovered(fake)
    assert wiring.warnings == ()
    assert (wiring.pool, wiring.region, wiring.identity) == (POOL, "eu-west-1", "arn:aws:iam::1:user/me")
    assert (wiring.trigger, wiring.functions) == ("pre_sign_up", ("PreSignup-dev",))
    assert (wiring.api_id, wiring.graphql_url) == ("abc", API["API_APP_GRAPHQLAPIENDPOINTOUTPUT"])
    assert (wiring.table, wiring.versioned) == ("User-abc-dev", True)
    assert wiring.log_groups == ("/aws/lambda/PreSignup-dev",)
    assert wiring.retention_days == 45
    assert wiring.group_created_at == datetime(2023, 9, 8, 6, 11, 5, 123000, tzinfo=UTC)
    assert (wiring.correlation, wiring.grace_minutes) == ("username", 15)
    assert wiring.endpoints["dynamodb"] == fake.url


def test_only_a_digest_of_the_key_leaves_discovery(fake: ScriptedAws) -> None:
    wiring = discovered(fake)
    (key,) = wiring.keys
    assert set(key) == {"digest", "expires_at", "seen_at"}
    assert len(key["digest"]) == 16
    assert datetime.fromisoformat(key["expires_at"]) == datetime.fromtimestamp(EXPIRES, UTC)
    assert KEY not in repr(wiring)


def test_configuration_comes_before_what_is_found(fake: ScriptedAws) -> None:
    wiring = discovered(
        fake,
        table="Mine",
        log_groups=("one", "two"),
        graphql_url="http://127.0.0.1:1/graphql",
        api_id="mine",
        correlation="sub",
        expects_row="post_confirmation",
        grace_minutes=0,
    )
    assert (wiring.table, wiring.log_groups, wiring.api_id) == ("Mine", ("one", "two"), "mine")
    assert (wiring.graphql_url, wiring.correlation) == ("http://127.0.0.1:1/graphql", "sub")
    assert (wiring.trigger, wiring.grace_minutes) == ("post_confirmation", 0)


def test_of_two_triggers_the_one_whose_environment_names_the_api_counts(fake: ScriptedAws) -> None:
    attached(fake, PreSignUp=FUNCTION, PostConfirmation=OTHER)
    assert discovered(fake).trigger == "pre_sign_up"
    function(fake, FUNCTION, {"UNRELATED": "1"})
    function(fake, OTHER, API, LoggingConfig={"LogGroup": "/custom"})
    wiring = discovered(fake)
    assert (wiring.trigger, wiring.functions, wiring.log_groups) == (
        "post_confirmation",
        ("Confirm-dev",),
        ("/custom",),
    )


def test_of_two_triggers_the_one_whose_environment_names_the_table_counts(fake: ScriptedAws) -> None:
    attached(fake, PreSignUp=FUNCTION, PostConfirmation=OTHER)
    function(fake, FUNCTION, {"USERS": "User-abc-dev"})
    assert discovered(fake, table="User-abc-dev").trigger == "pre_sign_up"


@pytest.mark.parametrize("variables", [{}, API], ids=["neither", "both"])
def test_two_triggers_that_cannot_be_told_apart_are_post_confirmation_with_a_warning(
    fake: ScriptedAws, variables: dict[str, str]
) -> None:
    attached(fake, PreSignUp=FUNCTION, PostConfirmation=OTHER)
    function(fake, FUNCTION, variables)
    function(fake, OTHER, variables)
    wiring = discovered(fake)
    assert wiring.trigger == "post_confirmation"
    assert wiring.functions == ("PreSignup-dev", "Confirm-dev")
    assert any("Set expects_row" in warning for warning in wiring.warnings)


def test_a_pool_without_a_trigger_says_so(fake: ScriptedAws) -> None:
    attached(fake, CustomMessage=FUNCTION)
    wiring = discovered(fake, table="User-abc-dev")
    assert (wiring.trigger, wiring.functions) == ("post_confirmation", ())
    assert any("neither a PreSignUp nor a PostConfirmation" in warning for warning in wiring.warnings)


@pytest.mark.parametrize(
    ("operation", "lost"),
    [
        ("POST /", "identity"),
        ("DescribeUserPool", "functions"),
        ("GET /2015-03-31/functions/" + FUNCTION.replace(":", "%3A") + "/configuration", "api_id"),
        ("GET /v1/apis/abc/datasources", "table"),
        ("GET /v1/apis/abc/apikeys", "keys"),
        ("DescribeLogGroups", "retention_days"),
    ],
)
@pytest.mark.parametrize("answer", [error("AccessDeniedException", status=403), Answer(HTML, 500), Answer(HTML)])
def test_a_read_that_fails_costs_its_fact_and_gives_a_warning_never_an_error(
    fake: ScriptedAws, operation: str, lost: str, answer: Answer
) -> None:
    fake.script(operation, answer)
    wiring = discovered(fake)
    assert not getattr(wiring, lost)
    assert any(warning.startswith("Cannot ") for warning in wiring.warnings)
    assert wiring.pool == POOL


def test_a_denied_function_still_gives_its_name_and_usual_log_group(fake: ScriptedAws) -> None:
    fake.script(f"GET /2015-03-31/functions/{FUNCTION.replace(':', '%3A')}/configuration", error("AccessDenied"))
    wiring = discovered(fake, table="User-abc-dev", api_id="abc")
    assert (wiring.trigger, wiring.functions) == ("pre_sign_up", ("PreSignup-dev",))
    assert wiring.log_groups == ("/aws/lambda/PreSignup-dev",)
    assert len(wiring.keys) == 1  # which key it uses is unknown: all of the API's


def test_an_environment_that_kms_denies_is_unknown_not_empty(fake: ScriptedAws) -> None:
    function(fake, FUNCTION, None, Environment={"Error": {"ErrorCode": "KMSAccessDenied", "Message": "m"}})
    wiring = discovered(fake, table="User-abc-dev")
    assert any("cannot be decrypted" in warning for warning in wiring.warnings)
    assert wiring.api_id is None


def test_without_credentials_there_is_one_warning_and_the_configured_chain(fake: ScriptedAws) -> None:
    wiring = discovered(fake, credentials=None, table="User-abc-dev")
    assert wiring.table == "User-abc-dev"
    (warning, *_) = wiring.warnings
    assert "no usable AWS credentials" in warning
    assert not fake.requests


def test_expired_credentials_are_said_once(fake: ScriptedAws) -> None:
    expired = error("ExpiredTokenException")
    for operation in ("DescribeUserPool", "DescribeLogGroups", "DescribeTable"):
        fake.script(operation, expired)
    wiring = discovered(fake, table="User-abc-dev", api_id="abc")
    assert len([warning for warning in wiring.warnings if "expired" in warning]) == 1


def test_versions_are_looked_for_in_the_table_where_no_data_source_tells(fake: ScriptedAws) -> None:
    attached(fake)
    fake.script("Scan", page(Items=[{"id": {"S": "a"}}, {"id": {"S": "b"}, "_version": {"N": "1"}}]))
    assert discovered(fake, table="User-abc-dev").versioned
    fake.script("Scan", page(Items=[{"id": {"S": "a"}}]))
    assert not discovered(fake, table="User-abc-dev").versioned


def test_a_table_is_found_by_its_name_when_the_model_is_not_named_user(fake: ScriptedAws) -> None:
    sources = [source("MemberTable", "User-abc-dev"), source("PostTable", "Post-abc-dev")]
    fake.script("GET /v1/apis/abc/datasources", page(dataSources=sources))
    wiring = discovered(fake)
    assert (wiring.table, wiring.versioned) == ("User-abc-dev", False)


def test_a_table_that_is_not_found_is_named_as_the_thing_to_set(fake: ScriptedAws) -> None:
    fake.script("GET /v1/apis/abc/datasources", page(dataSources=[]))
    wiring = discovered(fake)
    assert wiring.table is None
    assert "The User table was not found. Set table." in wiring.warnings


def test_several_apis_in_one_environment_are_not_guessed_between(fake: ScriptedAws) -> None:
    function(fake, FUNCTION, API | {"API_SECOND_GRAPHQLAPIIDOUTPUT": "def"})
    wiring = discovered(fake)
    assert wiring.api_id is None
    assert any("more than one API. Set api_id" in warning for warning in wiring.warnings)


def test_the_urls_of_a_configured_api_is_asked_for(fake: ScriptedAws) -> None:
    attached(fake)
    fake.script("GET /v1/apis/abc", page(graphqlApi={"apiId": "abc", "uris": {"GRAPHQL": "https://found/graphql"}}))
    assert discovered(fake, api_id="abc").graphql_url == "https://found/graphql"


def test_keys_that_the_trigger_does_not_use_are_not_its_keys(fake: ScriptedAws) -> None:
    unused = {"id": "da2-other", "expires": 1}
    fake.script("GET /v1/apis/abc/apikeys", page(apiKeys=[unused, {"id": KEY, "expires": EXPIRES}]))
    assert len(discovered(fake).keys) == 1
    fake.script("GET /v1/apis/abc/apikeys", page(apiKeys=[unused]))
    wiring = discovered(fake)
    assert wiring.keys == ()
    assert any("is none of API abc" in warning for warning in wiring.warnings)


def test_a_table_with_another_key_is_a_warning_of_the_wiring(fake: ScriptedAws) -> None:
    fake.script("DescribeTable", described_table(("pk", "HASH", "S")))
    assert any("its key is pk (S, HASH)" in warning for warning in discovered(fake).warnings)


# Checks


@pytest.fixture
def wiring(fake: ScriptedAws) -> Wiring:
    fake.script("POST /graphql", Answer(b'{"data": {"__typename": "Query"}}'))
    return discovered(fake, graphql_url=f"{fake.url}/graphql")


def checks(fake: ScriptedAws, wiring: Wiring) -> dict[str, Any]:
    return {check.name: check for check in probe(Hasty(settings(fake.url, api_key="da2-k")), wiring)}


def test_every_link_of_a_whole_chain_is_ok(fake: ScriptedAws, wiring: Wiring) -> None:
    found = checks(fake, wiring)
    links = ["identity", "pool", "function", "api", "table", "log_group", "api_key"]
    assert [found[name].status for name in links] == ["ok"] * 7
    assert found["table"].cause == "User-abc-dev"


def test_a_link_that_is_gone_is_a_problem_with_its_cause_fix_and_impact(fake: ScriptedAws, wiring: Wiring) -> None:
    fake.script("DescribeTable", error("ResourceNotFoundException"))
    check = checks(fake, wiring)["table"]
    assert check.status == "problem"
    assert check.cause.startswith("Cannot describe table User-abc-dev: it does not exist")
    assert check.fix.startswith("Check its name")
    assert "no snapshot is complete" in check.impact


def test_a_link_that_the_role_may_not_look_at_is_unknown(fake: ScriptedAws, wiring: Wiring) -> None:
    fake.script("DescribeLogGroups", error("AccessDeniedException"))
    check = checks(fake, wiring)["log_group"]
    assert (check.status, check.fix) == ("unknown", "Allow logs:DescribeLogGroups (see: python -m lib policy).")


def test_a_refused_api_key_is_a_problem(fake: ScriptedAws, wiring: Wiring) -> None:
    refusal = {"errors": [{"errorType": "UnauthorizedException", "message": "no"}]}
    fake.script("POST /graphql", Answer(json.dumps(refusal).encode(), 401))
    check = checks(fake, wiring)["api"]
    assert (check.status, check.fix) == ("problem", "Set POOLTABLE_TEST_API_KEY.")


def test_a_link_that_is_not_known_is_a_warning_that_says_what_to_set(fake: ScriptedAws) -> None:
    found = checks(fake, Wiring(POOL, "eu-west-1"))
    assert {found[name].status for name in ("function", "api", "table", "log_group")} == {"warning"}
    assert found["table"].fix == "Set table."


def test_a_failed_function_and_a_missing_group_are_problems(fake: ScriptedAws, wiring: Wiring) -> None:
    fake.script("GET /2015-03-31/functions/PreSignup-dev/configuration", page(State="Failed"))
    fake.script("DescribeLogGroups", page(logGroups=[]))
    found = checks(fake, wiring)
    assert (found["function"].status, found["log_group"].status) == ("problem", "problem")
    assert found["function"].fix == "Deploy it again."


@pytest.mark.parametrize(("days", "status"), [(-1, "problem"), (1, "warning"), (3, "ok")])
def test_a_key_is_checked_before_it_expires(fake: ScriptedAws, wiring: Wiring, days: int, status: str) -> None:
    expires = int((now() + timedelta(days=days)).timestamp())
    fake.script("GET /v1/apis/abc/apikeys", page(apiKeys=[{"id": KEY, "expires": expires}]))
    assert checks(fake, discovered(fake))["api_key"].status == status
