import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import urllib3
from appsync_kit import API, CREATE, REGION, Served, both_handlers, client, tables, unversioned
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from lib import trigger
from lib.demo.appsync import AppSync, Fault
from lib.model import now


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with tables() as found:
        yield found


@pytest.fixture
def served(dynamodb: Any, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(dynamodb, **getattr(request, "param", {}))
    yield served
    served.stop()


UNAUTHORIZED = {
    "errors": [{"errorType": "UnauthorizedException", "message": "You are not authorized to make this call."}]
}


def test_an_expired_unknown_or_missing_key_is_refused_with_401_and_nothing_is_written(served: Served) -> None:
    expired = served.appsync.add_key(now() - timedelta(seconds=1)).key
    for headers in ({"x-api-key": expired}, {"x-api-key": "da2-other"}, {}, {"Authorization": "Bearer x"}):
        assert served.post(CREATE, headers) == (401, UNAUTHORIZED)
    assert served.item("a") == {}
    assert served.post(CREATE, {"x-api-key": served.key})[0] == 200


def signed(served: Served, body: bytes, service: str = "appsync") -> dict[str, str]:
    request = AWSRequest("POST", served.appsync.url, {}, body)
    SigV4Auth(Credentials("AKID", "secret"), service, REGION).add_auth(request)
    return dict(request.headers.items())


def test_a_signed_call_is_accepted_for_this_service_only(served: Served) -> None:
    assert served.post(CREATE, signed(served, CREATE, "dynamodb")) == (401, UNAUTHORIZED)
    assert served.post(CREATE, signed(served, CREATE)) == (200, {"data": {"createUser": {"id": "a"}}})


def test_a_role_outside_custom_roles_is_refused_with_200_and_a_key_is_not(served: Served) -> None:
    served.appsync.iam_refused = True
    assert served.post(CREATE, signed(served, CREATE)) == (
        200,
        {
            "data": {"createUser": None},
            "errors": [
                {
                    "path": ["createUser"],
                    "data": None,
                    "errorType": "Unauthorized",
                    "errorInfo": None,
                    "locations": [{"line": 1, "column": 12, "sourceName": None}],
                    "message": "Not Authorized to access createUser on type User",
                }
            ],
        },
    )
    assert served.item("a") == {}
    assert served.post(CREATE, {"x-api-key": served.key}) == (200, {"data": {"createUser": {"id": "a"}}})


@pytest.mark.parametrize("body", [b"", b"meow", b"{}", b"[]", b'{"query": "{ getUser("}', b"\xff"])
def test_a_body_that_is_no_query_is_refused_with_400(served: Served, body: bytes) -> None:
    status, answer = served.post(body, {"x-api-key": served.key})
    assert (status, answer["errors"][0]["errorType"]) == (400, "MalformedHttpRequestException")


def test_what_dynamodb_refuses_is_an_error_of_the_field(served: Served) -> None:
    assert served.refused("create", id="", email="x")["errorType"] == "DynamoDB:ValidationException"


def test_a_fault_befalls_as_many_calls_as_it_says(served: Served) -> None:
    served.appsync.fault = Fault("server_error", calls=2)
    headers = {"x-api-key": served.key}
    assert [served.post(CREATE, headers)[0] for _ in range(3)] == [500, 500, 200]
    assert served.appsync.fault is None


@pytest.mark.parametrize(
    ("kind", "written"), [("server_error", False), ("throttled", False), ("reset", False), ("answer_lost", True)]
)
def test_a_fault_happens_before_or_after_the_write_as_it_says(served: Served, kind: Any, written: bool) -> None:
    served.appsync.fault = Fault(kind)
    if kind in ("reset", "answer_lost"):
        with pytest.raises(urllib3.exceptions.ProtocolError):
            served.post(CREATE, {"x-api-key": served.key})
    else:
        status, _ = served.post(CREATE, {"x-api-key": served.key})
        assert status == {"server_error": 500, "throttled": 429}[kind]
    assert bool(served.item("a")) is written


def test_a_delayed_call_is_late_and_done(served: Served) -> None:
    served.appsync.fault = Fault("delay", seconds=0.3)
    started = now()
    assert served.post(CREATE, {"x-api-key": served.key})[0] == 200
    assert now() - started >= timedelta(seconds=0.3)


# The calls that describe the API, read by botocore's own client


@pytest.fixture
def control(served: Served) -> Any:
    return client("appsync", served.base)


@both_handlers
def test_the_data_source_and_the_resolvers_tell_how_conflicts_are_handled(served: Served, control: Any) -> None:
    (source,) = control.list_data_sources(apiId=API)["dataSources"]
    table = source["dynamodbConfig"]
    assert (source["name"], table["tableName"], table["awsRegion"]) == ("UserTable", served.table, REGION)
    assert table["versioned"] is True
    assert table["deltaSyncConfig"]["baseTableTTL"] == 43200
    for type_name, fields in {"Query": 2, "Mutation": 3, "Subscription": 0}.items():
        resolvers = control.list_resolvers(apiId=API, typeName=type_name)["resolvers"]
        assert len(resolvers) == fields
        for resolver in resolvers:
            assert resolver["syncConfig"] == {
                "conflictDetection": "VERSION",
                "conflictHandler": served.appsync.model.conflict_handler,
            }


@unversioned
def test_an_unversioned_api_says_so(control: Any) -> None:
    (source,) = control.list_data_sources(apiId=API)["dataSources"]
    assert not source["dynamodbConfig"].get("versioned")
    assert all("syncConfig" not in found for found in control.list_resolvers(apiId=API, typeName="Query")["resolvers"])


def test_the_endpoint_leads_to_the_api_and_back(served: Served, control: Any) -> None:
    (api,) = control.list_graphql_apis()["graphqlApis"]
    assert api == control.get_graphql_api(apiId=API)["graphqlApi"]
    assert (api["apiId"], api["uris"]["GRAPHQL"]) == (API, served.appsync.url)


def test_expired_keys_stay_listed_for_sixty_days(served: Served, control: Any) -> None:
    soon = served.appsync.add_key(now() - timedelta(days=59), "old")
    served.appsync.add_key(now() - timedelta(days=61), "older")
    listed = {key["id"]: key for key in control.list_api_keys(apiId=API)["apiKeys"]}
    assert set(listed) == {served.key, soon.key}
    assert listed[soon.key]["expires"] == int(soon.expires.timestamp())
    assert listed[soon.key]["description"] == "old"


def test_a_key_is_renewed_to_the_hour_and_works_again(served: Served, control: Any) -> None:
    old = served.appsync.add_key(now() - timedelta(days=2), "app").key
    until = (now() + timedelta(days=30)).replace(minute=59)
    renewed = control.update_api_key(apiId=API, id=old, expires=int(until.timestamp()))["apiKey"]
    assert renewed["expires"] == until.replace(minute=0, second=0, microsecond=0).timestamp()
    assert renewed["description"] == "app"
    assert served.post(CREATE, {"x-api-key": old})[0] == 200


@pytest.mark.parametrize("life", [timedelta(hours=1), timedelta(days=366), timedelta(days=-1)])
def test_a_key_cannot_be_renewed_beyond_appsyncs_bounds(served: Served, control: Any, life: timedelta) -> None:
    before = dict(served.appsync.keys)
    with pytest.raises(ClientError, match="ApiKeyValidityOutOfBounds"):
        control.update_api_key(apiId=API, id=served.key, expires=int((now() + life).timestamp()))
    with pytest.raises(ClientError, match="NotFound"):
        control.update_api_key(apiId=API, id="da2-none", description="x")
    assert served.appsync.keys == before


def test_another_api_is_not_found_and_other_paths_are_left_to_others(served: Served, control: Any) -> None:
    with pytest.raises(ClientError, match="NotFoundException"):
        control.get_graphql_api(apiId="other")
    answered = ["/graphql", "/v1/apis", f"/v1/apis/{API}", f"/v1/apis/{API}/apikeys", f"/v1/apis/{API}/datasources"]
    assert all(served.appsync.matches(path) for path in answered)
    assert not any(served.appsync.matches(path) for path in ("/", "/graphql/x", "/v1/apis/other", "/v2/apis"))


def test_a_key_is_not_shown_where_it_is_printed(served: Served) -> None:
    assert served.key not in repr(served.appsync.keys[served.key])


def test_an_unknown_conflict_handler_is_refused(dynamodb: Any) -> None:
    with pytest.raises(ValueError, match="AUTOMERGE, OPTIMISTIC_CONCURRENCY"):
        AppSync(table="t", dynamodb_client=dynamodb, api_id=API, region=REGION, conflict_handler="LAMBDA")


class Context:
    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.mark.parametrize("served", [{}, {"versioned": False}], indirect=True, ids=["versioned", "unversioned"])
def test_the_trigger_and_the_endpoint_understand_each_other(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_APP_GRAPHQLAPIENDPOINTOUTPUT", served.appsync.url)
    monkeypatch.setenv("API_APP_GRAPHQLAPIKEYOUTPUT", served.key)
    monkeypatch.setattr(trigger, "PAUSE_S", 0.01)
    event = {
        "triggerSource": "PreSignUp_SignUp",
        "userName": "a",
        "request": {"userAttributes": {"email": "a@example.org"}},
    }

    def last() -> str:
        trigger.handler(event, Context())
        return str(json.loads(capsys.readouterr().out.splitlines()[-1])["message"])

    versioned = served.appsync.model.versioned
    assert last() == "row created"
    assert last() == ("row exists" if versioned else "row exists; it could not be looked at")
    served.done("delete", id="a", **({"_version": 1} if versioned else {}))
    assert ("soft-deleted" in last()) is versioned
    served.dynamodb.delete_item(TableName=served.table, Key={"id": {"S": "a"}})
    served.appsync.fault = Fault("answer_lost")
    assert last().startswith("row exists")
    served.appsync.keys.clear()
    assert "HTTP 401 UnauthorizedException: You are not authorized to make this call." in last()
