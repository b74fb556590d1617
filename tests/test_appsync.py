import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler, make_server

from lib import trigger
from lib.demo.appsync import AppSync, Fault
from lib.demo.user_model import UserModel
from lib.model import iso, now

REGION = "ap-southeast-1"
API = "abcdefghijklmnopqrstuvwxyz"
APPLICATION = "id email owner createdAt updatedAt __typename"
SYNC = f"{APPLICATION} _version _deleted _lastChangedAt"
LOST_RACE = "DynamoDB:ConditionalCheckFailedException"


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client(service: str, url: str) -> Any:
    names = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
    return boto3.client(service, endpoint_url=url, **names)


@pytest.fixture(scope="module")
def dynamodb(moto: str) -> Any:
    return client("dynamodb", moto)


class Served:
    """One API on a port of its own, as its clients see it."""

    def __init__(self, dynamodb: Any, **options: Any) -> None:
        self.table = f"User-{now().timestamp()}-dev"
        self.dynamodb = dynamodb
        dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.appsync = AppSync(table=self.table, dynamodb_client=dynamodb, api_id=API, region=REGION, **options)
        self.server = make_server("127.0.0.1", 0, self.appsync.wsgi_app, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.appsync.url = f"{self.base}/graphql"
        self.key = self.appsync.add_key(now() + timedelta(days=7)).key
        self.http = urllib3.PoolManager()
        self.fields = SYNC if options.get("versioned", True) else APPLICATION

    def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        answer = self.http.request("POST", self.appsync.url, body=body, headers=headers, retries=False, timeout=10)
        html = answer.headers["Content-Type"].startswith("text/html")
        return answer.status, answer.data.decode() if html else answer.json()

    def ask(self, query: str, **variables: Any) -> Any:
        status, body = self.post(json.dumps({"query": query, "variables": variables}).encode(), {"x-api-key": self.key})
        assert status == 200
        return body

    def mutate(self, verb: str, condition: Any = None, **given: Any) -> Any:
        """Return the whole answer of createUser, updateUser or deleteUser."""
        names = f"$input: {verb.title()}UserInput!, $condition: ModelUserConditionInput"
        call = f"{verb}User(input: $input, condition: $condition) {{ {self.fields} }}"
        return self.ask(f"mutation M({names}) {{ {call} }}", input=given, condition=condition)

    def done(self, verb: str, condition: Any = None, **given: Any) -> dict[str, Any]:
        body = self.mutate(verb, condition, **given)
        assert "errors" not in body
        return dict(body["data"][f"{verb}User"])

    def refused(self, verb: str, condition: Any = None, **given: Any) -> dict[str, Any]:
        body = self.mutate(verb, condition, **given)
        assert body["data"] == {f"{verb}User": None}
        return dict(body["errors"][0])

    def item(self, id: str) -> dict[str, Any]:
        return dict(self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": id}}).get("Item", {}))


@pytest.fixture
def served(dynamodb: Any, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(dynamodb, **getattr(request, "param", {}))
    yield served
    served.http.clear()
    served.server.shutdown()
    served.server.server_close()


unversioned = pytest.mark.parametrize("served", [{"versioned": False}], indirect=True, ids=["unversioned"])
optimistic = pytest.mark.parametrize("served", [{"conflict_handler": "OPTIMISTIC_CONCURRENCY"}], indirect=True)
both_handlers = pytest.mark.parametrize(
    "served", [{}, {"conflict_handler": "OPTIMISTIC_CONCURRENCY"}], indirect=True, ids=["automerge", "optimistic"]
)


def test_create_writes_exactly_what_amplify_writes(served: Served) -> None:
    moment = datetime(2026, 3, 1, 6, 0, 0, 123000, UTC)
    served.appsync.model.clock = lambda: moment
    served.appsync.keys[served.key] = replace(served.appsync.keys[served.key], expires=moment + timedelta(days=1))
    row = served.done("create", id="a", email="ann@example.org", owner="a::a")
    assert served.item("a") == {
        "id": {"S": "a"},
        "email": {"S": "ann@example.org"},
        "owner": {"S": "a::a"},
        "createdAt": {"S": "2026-03-01T06:00:00.123Z"},
        "updatedAt": {"S": "2026-03-01T06:00:00.123Z"},
        "__typename": {"S": "User"},
        "_version": {"N": "1"},
        "_lastChangedAt": {"N": str(int(moment.timestamp() * 1000))},
    }
    assert (row["_version"], row["_deleted"], row["createdAt"]) == (1, None, iso(moment))


@unversioned
def test_an_unversioned_row_has_no_sync_fields_and_its_delete_is_physical(served: Served) -> None:
    served.done("create", id="a", email="ann@example.org")
    assert set(served.item("a")) == {"id", "email", "createdAt", "updatedAt", "__typename"}
    served.done("update", id="a", email="b@example.org")
    assert served.done("delete", id="a")["email"] == "b@example.org"
    assert served.item("a") == {}


@unversioned
def test_the_unversioned_schema_knows_no_sync_fields(served: Served) -> None:
    body = served.ask('{ getUser(id: "a") { id _deleted } }')
    assert body["data"] is None
    assert "FieldUndefined: Field '_deleted' in type 'User' is undefined" in body["errors"][0]["message"]
    body = served.mutate("update", id="a", _version=1)
    assert "'_version' that is not defined for input object type 'UpdateUserInput'" in body["errors"][0]["message"]


def test_an_id_is_made_up_where_none_is_given(served: Served) -> None:
    assert len(served.done("create", email="x@example.org")["id"]) == 36


def test_a_second_create_is_refused_and_leaves_the_row_as_it_was(served: Served) -> None:
    served.done("create", id="a", email="ann@example.org")
    before = served.item("a")
    error = served.refused("create", id="a", email="other@example.org")
    assert (error["errorType"], error["path"], error["data"], error["errorInfo"]) == (
        LOST_RACE,
        ["createUser"],
        None,
        None,
    )
    assert error["message"].startswith("The conditional request failed (Service: AmazonDynamoDBv2; Status Code: 400; ")
    assert set(error["locations"][0]) == {"line", "column", "sourceName"}
    assert served.item("a") == before


def test_a_create_that_finds_exactly_what_it_wanted_is_success(served: Served) -> None:
    moment = now()
    served.appsync.model.clock = lambda: moment
    first = served.done("create", id="a", email="ann@example.org")
    assert served.done("create", id="a", email="ann@example.org") == first
    assert served.refused("create", id="a", email="other@example.org")["errorType"] == LOST_RACE


def test_update_sets_what_is_given_removes_null_and_keeps_the_rest(served: Served) -> None:
    created = served.done("create", id="a", email="ann@example.org", owner="a::a")
    served.appsync.model.clock = lambda: now() + timedelta(seconds=1)
    updated = served.done("update", id="a", email="b@example.org", owner=None, _version=1)
    assert (updated["email"], updated["owner"], updated["_version"]) == ("b@example.org", None, 2)
    assert "owner" not in served.item("a")
    assert updated["createdAt"] == created["createdAt"]
    assert updated["updatedAt"] > created["updatedAt"]
    assert updated["_lastChangedAt"] > created["_lastChangedAt"]


@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.parametrize("served", [{}, {"versioned": False}], indirect=True, ids=["versioned", "unversioned"])
def test_what_is_not_there_cannot_be_changed(served: Served, verb: str) -> None:
    assert served.refused(verb, id="a")["errorType"] == LOST_RACE
    assert served.item("a") == {}


CONDITIONS = [
    ({"email": {"eq": "ann@example.org"}}, True),
    ({"email": {"eq": "other"}}, False),
    ({"email": {"ne": "other"}}, True),
    ({"email": {"ne": "ann@example.org"}}, False),
    ({"owner": {"ne": "x"}}, True),
    ({"owner": {"eq": "x"}}, False),
    ({"owner": {"attributeExists": False}}, True),
    ({"owner": {"attributeExists": True}}, False),
    ({"email": {"attributeExists": True, "ne": "x"}, "owner": {"attributeExists": False}}, True),
    ({"email": {"attributeExists": True}, "owner": {"attributeExists": True}}, False),
    ({"not": {"email": {"eq": "other"}}}, True),
    ({"not": {"email": {"eq": "ann@example.org"}}}, False),
    ({"or": [{"email": {"eq": "other"}}, {"email": {"eq": "ann@example.org"}}]}, True),
    ({"or": [{"email": {"eq": "other"}}, {"owner": {"eq": "x"}}]}, False),
    ({"and": [{"email": {"eq": "ann@example.org"}}, {"owner": {"attributeExists": False}}]}, True),
    ({"and": [{"email": {"eq": "ann@example.org"}}, {"owner": {"eq": "x"}}]}, False),
    ({"not": {"or": [{"email": {"eq": "other"}}, {"owner": {"eq": "x"}}]}, "and": []}, True),
    ({}, True),
    ({"email": None, "not": {}, "or": [{}]}, True),
    ({"_deleted": {"attributeExists": False}}, True),
    ({"_deleted": {"eq": True}}, False),
]


@pytest.mark.parametrize("served", [{}], indirect=True)
def test_a_mutation_happens_only_where_its_condition_holds(served: Served) -> None:
    for place, (condition, holds) in enumerate(CONDITIONS):
        row = served.done("create", id=str(place), email="ann@example.org")
        given = {"id": str(place), "email": "new@example.org", "_version": row["_version"]}
        answer = served.mutate("update", condition, **given)
        changed = served.item(str(place))["email"]["S"] == "new@example.org"
        assert (changed, "errors" not in answer) == (holds, holds), condition
        gone = served.mutate("delete", {"email": {"eq": "nobody"}}, id=str(place), _version=1 + holds)
        assert gone["errors"][0]["errorType"] == LOST_RACE


@pytest.mark.parametrize("version", [{}, {"_version": 1}, {"_version": 99}])
def test_automerge_swallows_a_stale_update_without_an_error(served: Served, version: dict[str, int]) -> None:
    served.done("create", id="a", email="ann@example.org")
    served.done("update", id="a", email="app@example.org", _version=1)
    merged = served.done("update", id="a", email="repair@example.org", owner="a::a", **version)
    # The server's e-mail stays, what it has no value for is taken, and the version counts: a 200 proves nothing.
    assert (merged["email"], merged["owner"], merged["_version"]) == ("app@example.org", "a::a", 3)


@optimistic
@pytest.mark.parametrize("version", [{}, {"_version": 1}, {"_version": 99}])
def test_optimistic_concurrency_refuses_a_stale_update_and_shows_the_row(
    served: Served, version: dict[str, int]
) -> None:
    served.done("create", id="a", email="ann@example.org")
    served.done("update", id="a", email="app@example.org", _version=1)
    before = served.item("a")
    error = served.refused("update", id="a", email="repair@example.org", **version)
    assert (error["errorType"], error["message"]) == ("ConflictUnhandled", "Conflict resolver rejects mutation.")
    assert (error["data"]["email"], error["data"]["_version"]) == ("app@example.org", 2)
    assert served.item("a") == before


@both_handlers
@pytest.mark.parametrize("version", [{}, {"_version": 1}])
def test_delete_without_the_current_version_is_a_conflict(served: Served, version: dict[str, int]) -> None:
    served.done("create", id="a", email="ann@example.org")
    served.done("update", id="a", owner="x", _version=1)
    before = served.item("a")
    assert served.refused("delete", id="a", **version)["errorType"] == "ConflictUnhandled"
    assert served.item("a") == before


@both_handlers
def test_delete_leaves_a_tombstone_for_thirty_days_that_blocks_the_id(served: Served) -> None:
    served.done("create", id="a", email="ann@example.org")
    assert served.done("delete", id="a", _version=1)["_deleted"] is True
    tombstone = served.item("a")
    assert tombstone["_deleted"] == {"BOOL": True}
    assert tombstone["_version"] == {"N": "2"}
    assert abs(int(tombstone["_ttl"]["N"]) - (now() + timedelta(days=30)).timestamp()) < 60
    assert served.refused("create", id="a", email="ann@example.org")["errorType"] == LOST_RACE
    assert served.done("update", id="a", email="b@example.org", _version=2)["_deleted"] is True
    assert served.ask('{ getUser(id: "a") { _deleted } }')["data"] == {"getUser": {"_deleted": True}}


def test_a_row_that_was_never_versioned_cannot_show_its_version_but_takes_one(served: Served) -> None:
    served.dynamodb.put_item(TableName=served.table, Item={"id": {"S": "a"}})
    body = served.ask('{ getUser(id: "a") { id _version } }')
    assert body["data"] == {"getUser": None}
    assert body["errors"][0]["message"] == (
        "Cannot return null for non-nullable type: 'Int' within parent 'User' (/getUser/_version)"
    )
    served.mutate("update", id="a", email="ann@example.org")
    assert served.item("a")["_version"] == {"N": "1"}


def test_list_gives_every_row_once_over_its_pages_tombstones_included(served: Served) -> None:
    for id in "abcde":
        served.done("create", id=id)
    served.done("delete", id="c", _version=1)
    seen, token = [], None
    while True:
        query = "query L($t: String) { listUsers(limit: 2, nextToken: $t) { items { id } nextToken startedAt } }"
        page = served.ask(query, t=token)["data"]["listUsers"]
        seen += [item["id"] for item in page["items"]]
        token = page["nextToken"]
        if not token:
            break
    assert sorted(seen) == list("abcde")


def test_of_many_creates_of_one_id_exactly_one_wins(served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: served.mutate("create", id="a", email=f"{n}@example.org"), range(16)))
    (winner,) = [answer for answer in answers if "errors" not in answer]
    assert served.item("a")["email"]["S"] == winner["data"]["createUser"]["email"]


@optimistic
def test_of_many_updates_of_one_version_exactly_one_wins(served: Served) -> None:
    served.done("create", id="a")
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: served.mutate("update", id="a", email=f"{n}@example.org", _version=1), range(16))
        )
    assert len([answer for answer in answers if "errors" not in answer]) == 1
    assert served.item("a")["_version"] == {"N": "2"}


class Interloper:
    """A DynamoDB client that sees the app write to the table directly after the first read."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.came = False

    def __getattr__(self, operation: str) -> Any:
        return getattr(self.dynamodb, operation)

    def get_item(self, **parameters: Any) -> Any:
        answer = self.dynamodb.get_item(**parameters)
        if not self.came:
            self.came = True
            item = {"id": {"S": "a"}, "email": {"S": "app@example.org"}, "_version": {"N": "5"}}
            self.dynamodb.put_item(TableName=parameters["TableName"], Item=item)
        return answer


@both_handlers
def test_a_direct_write_between_read_and_write_is_never_overwritten(served: Served) -> None:
    served.done("create", id="a", email="ann@example.org")
    model = served.appsync.model
    interloper = Interloper(served.dynamodb)
    served.appsync.model = UserModel(
        table=served.table, dynamodb_client=interloper, versioned=True, conflict_handler=model.conflict_handler
    )
    served.mutate("update", id="a", email="repair@example.org", _version=1)
    assert interloper.came
    assert served.item("a")["email"]["S"] == "app@example.org"
    assert served.item("a")["_version"]["N"] == ("6" if model.conflict_handler == "AUTOMERGE" else "5")


UNAUTHORIZED = {
    "errors": [{"errorType": "UnauthorizedException", "message": "You are not authorized to make this call."}]
}
CREATE = b'{"query": "mutation { createUser(input: {id: \\"a\\"}) { id } }"}'


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
