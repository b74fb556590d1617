import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aws_kit import HTML, Answer, Hasty, ScriptedAws, botocores_own, error, scripted_aws, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler, make_server

from lib.aws import table
from lib.aws.graphql import Api, holding
from lib.aws.rows import sent_form, wire_form
from lib.aws.session import Aws
from lib.demo.appsync import AppSync, Fault
from lib.model import AwsError, CredentialsError, Item, now

TABLE = "User-abc-dev"
ROW: Item = {
    "id": {"S": "a"},
    "email": {"S": "a@x.io"},
    "picture": {"B": "AAEC"},
    "tags": {"SS": ["one", "two"]},
    "profile": {"M": {"list": {"L": [{"N": "1.5"}, {"BS": ["AA=="]}, {"NULL": True}]}, "yes": {"BOOL": True}}},
    "updatedAt": {"S": "2023-09-08T06:11:05.123Z"},
    "_version": {"N": "1"},
}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str) -> Iterator[Aws]:
    dynamodb = botocores_own("dynamodb", moto)
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield Hasty(settings(moto))
    dynamodb.delete_table(TableName=TABLE)


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with scripted_aws() as served:
        yield served


def stored(aws: Aws, id: str = "a") -> Item | None:
    return table.item(aws, TABLE, id)


def refused(write: Any, *arguments: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        write(*arguments)
    assert caught.value.code == "ConditionalCheckFailedException"
    return caught.value


# The table


def test_a_new_item_is_stored_whole_binaries_and_sets_included(aws: Aws) -> None:
    assert table.put_new(aws, TABLE, ROW)
    assert stored(aws) == ROW
    assert table.items(aws, TABLE, ["a", "b"]) == {"a": ROW}


def test_an_id_that_is_taken_is_refused_and_the_item_in_the_way_is_shown(aws: Aws) -> None:
    table.put_new(aws, TABLE, ROW)
    error = refused(table.put_new, aws, TABLE, {"id": {"S": "a"}, "email": {"S": "other@x.io"}})
    assert error.item == ROW
    assert not error.maybe_done
    assert stored(aws) == ROW


def test_a_replacement_sets_changes_removes_and_leaves_unknown_attributes_alone(aws: Aws) -> None:
    table.put_new(aws, TABLE, ROW)
    after = {name: value for name, value in ROW.items() if name != "tags"}
    after |= {"email": {"S": "new@x.io"}, "owner": {"S": "o"}, "picture": {"B": "/w=="}}
    table.replace(aws, TABLE, ROW, after)
    assert stored(aws) == after


@pytest.mark.parametrize("changed", [name for name in ROW if name != "id"])
def test_a_row_that_moved_in_any_attribute_is_neither_replaced_nor_removed(aws: Aws, changed: str) -> None:
    moved = ROW | {changed: {"S": "the app was here"}}
    table.put_new(aws, TABLE, moved)
    assert refused(table.replace, aws, TABLE, ROW, ROW | {"owner": {"S": "o"}}).item == moved
    assert refused(table.remove, aws, TABLE, ROW).item == moved
    assert stored(aws) == moved


def test_an_attribute_that_the_app_added_meanwhile_is_not_overwritten(aws: Aws) -> None:
    moved = ROW | {"nickname": {"S": "the app's"}}
    table.put_new(aws, TABLE, moved)
    refused(table.replace, aws, TABLE, ROW, ROW | {"nickname": {"S": "ours"}})
    assert stored(aws) == moved


@pytest.mark.parametrize("added", ["owner", "_deleted", "createdAt", "_lastChangedAt"])
def test_a_row_that_got_a_system_field_meanwhile_is_not_removed(aws: Aws, added: str) -> None:
    table.put_new(aws, TABLE, ROW | {added: {"S": "new"}})
    refused(table.remove, aws, TABLE, ROW)
    assert stored(aws)


def test_an_untouched_row_is_removed_once_and_then_there_is_none_to_remove(aws: Aws) -> None:
    table.put_new(aws, TABLE, ROW)
    assert table.remove(aws, TABLE, ROW)
    assert stored(aws) is None
    assert refused(table.remove, aws, TABLE, ROW).item is None
    assert refused(table.replace, aws, TABLE, ROW, ROW | {"owner": {"S": "o"}}).item is None
    assert stored(aws) is None


def test_a_condition_stays_within_dynamodbs_limits_for_an_item_of_a_thousand_attributes(fake: ScriptedAws) -> None:
    fake.script("UpdateItem", Answer())
    wide: Item = {f"attribute{n}": {"S": str(n)} for n in range(1000)} | ROW
    table.replace(Hasty(settings(fake.url)), TABLE, wide, wide | {"attribute999": {"S": "changed"}})
    (asked,) = fake.asked("UpdateItem")
    condition = asked["ConditionExpression"]
    names = [name for alias, name in asked["ExpressionAttributeNames"].items() if f"{alias} = " in condition]
    assert len(condition) < 4096
    assert condition.count("=") + condition.count("AND") + condition.count("(") <= 300
    assert {"attribute999", "id", "email", "updatedAt", "_version"} <= set(names)


def test_a_write_of_which_the_first_answer_was_lost_finds_itself_in_the_way(fake: ScriptedAws) -> None:
    """As the real one does after a retry: what is in the way equals what was wanted."""
    fake.script("PutItem", Answer(HTML, 500), error("ConditionalCheckFailedException", Item=ROW))
    found = refused(table.put_new, Hasty(settings(fake.url)), TABLE, ROW)
    assert found.item == ROW
    assert found.maybe_done


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(HTML, 500), error("InternalServerError", status=500), Answer(how="reset"), Answer(how="slow")),
        *(Answer(HTML), Answer(b""), Answer(b'{"Attributes": {}}', how="cut")),
    ],
    ids=["html 500", "json 500", "reset", "time-out", "html 200", "nothing", "half a body"],
)
def test_a_write_without_a_clear_answer_may_have_been_done(fake: ScriptedAws, answer: Answer) -> None:
    aws = Hasty(settings(fake.url))
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):
        fake.script(operation, answer)
    writes = [
        lambda: table.put_new(aws, TABLE, ROW),
        lambda: table.replace(aws, TABLE, ROW, ROW | {"owner": {"S": "o"}}),
        lambda: table.remove(aws, TABLE, ROW),
    ]
    for write in writes:
        with pytest.raises(AwsError, match=r"Cannot .* row .*table User-abc-dev") as caught:
            write()
        assert caught.value.maybe_done


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(error("AccessDeniedException"), AwsError), (error("ExpiredTokenException"), CredentialsError)],
)
def test_a_refused_write_was_not_done(fake: ScriptedAws, answer: Answer, kind: type[AwsError]) -> None:
    fake.script("PutItem", answer)
    with pytest.raises(kind) as caught:
        table.put_new(Hasty(settings(fake.url)), TABLE, ROW)
    assert not caught.value.maybe_done
    assert len(fake.asked("PutItem")) == 1


@pytest.mark.parametrize("answer", [Answer(HTML), Answer(b""), Answer(b"[]"), Answer(b"{}", how="cut")])
def test_an_answer_that_is_no_dynamodb_is_never_taken_for_a_missing_row(fake: ScriptedAws, answer: Answer) -> None:
    fake.script("GetItem", answer)
    with pytest.raises(AwsError, match="what answered is not AWS"):
        stored(Hasty(settings(fake.url)))


binary = st.binary(max_size=4)
parsed = st.recursive(
    st.one_of(
        st.text(max_size=4).map(lambda text: {"S": text}),
        binary.map(lambda content: {"B": content}),
        st.lists(binary, max_size=3).map(lambda each: {"BS": each}),
        st.just({"NULL": True}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: {"L": each}),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(lambda each: {"M": each}),
    ),
    max_leaves=6,
)


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), parsed, max_size=4))
def test_the_wire_form_of_an_item_is_json_and_leads_back_to_it(item: Item) -> None:
    assert json.loads(json.dumps(wire_form(item))) == wire_form(item)
    assert sent_form(wire_form(item)) == item


# The API


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Served:
    """The demo's API over a table of moto's."""

    def __init__(self, moto: str, **options: Any) -> None:
        dynamodb = botocores_own("dynamodb", moto)
        self.appsync = AppSync(table=TABLE, dynamodb_client=dynamodb, api_id="abc", region="eu-west-1", **options)
        self.server = make_server("127.0.0.1", 0, self.appsync.wsgi_app, threaded=True, request_handler=Quiet)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/graphql"
        self.key = self.appsync.add_key(now() + timedelta(days=7)).key

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(params=[True, False], ids=["versioned", "plain"])
def served(request: pytest.FixtureRequest, moto: str, aws: Aws) -> Iterator[Served]:
    running = Served(moto, versioned=request.param)
    yield running
    running.stop()


@pytest.fixture
def api(served: Served, aws: Aws) -> Api:
    return Api(aws, served.url, served.key, versioned=served.appsync.model.versioned)


def test_a_row_made_through_the_api_is_read_updated_and_deleted_with_its_version(served: Served, api: Api) -> None:
    versioned = served.appsync.model.versioned
    made = api.create({"id": "a", "email": "a@x.io"}).record
    assert (made["id"], made["email"], made.get("_version")) == ("a", "a@x.io", 1 if versioned else None)
    assert api.get("a") == made
    updated = api.update({"id": "a", "email": "b@x.io"}, made.get("_version"), holding({"email": "a@x.io"})).record
    assert updated["email"] == "b@x.io"
    assert updated.get("_version") == (2 if versioned else None)
    deleted = api.delete("a", updated.get("_version"), holding({"email": "b@x.io"})).record
    assert deleted["id"] == "a"
    left = api.get("a")
    assert left is None if not versioned else left and left["_deleted"] is True
    assert api.get("never") is None


def test_an_id_that_is_taken_is_refused_with_appsyncs_own_error_type(api: Api) -> None:
    api.create({"id": "a", "email": "a@x.io"})
    with pytest.raises(AwsError, match="The row is not as it was") as caught:
        api.create({"id": "a", "email": "b@x.io"})
    assert caught.value.code == "DynamoDB:ConditionalCheckFailedException"
    assert not caught.value.maybe_done


def test_a_condition_on_a_field_that_moved_is_refused(served: Served, api: Api) -> None:
    made = api.create({"id": "a", "email": "a@x.io"}).record
    with pytest.raises(AwsError) as caught:
        api.update({"id": "a", "email": "c@x.io"}, made.get("_version"), holding({"email": "old@x.io"}))
    assert "Conditional" in caught.value.code
    assert not caught.value.maybe_done
    assert (api.get("a") or {})["email"] == "a@x.io"


def test_holding_none_asks_that_the_field_is_not_there() -> None:
    assert holding({"email": "a", "owner": None}) == {
        "and": [{"email": {"eq": "a"}}, {"owner": {"attributeExists": False}}]
    }


def test_an_expired_key_is_a_matter_of_credentials_and_names_the_variable_but_not_the_key(
    served: Served, aws: Aws
) -> None:
    expired = served.appsync.add_key(now() - timedelta(days=1)).key
    with pytest.raises(CredentialsError, match="Set POOLTABLE_TEST_API_KEY") as caught:
        Api(aws, served.url, expired).create({"id": "a"})
    assert caught.value.code == "UnauthorizedException"
    assert expired not in str(caught.value)
    assert not caught.value.maybe_done


def test_without_a_key_the_request_is_signed_for_appsync(served: Served, aws: Aws) -> None:
    assert Api(aws, served.url, None).create({"id": "a", "email": "a@x.io"}).record["id"] == "a"
    served.appsync.iam_refused = True
    with pytest.raises(AwsError, match=r'custom-roles\.json, or set writer = "dynamodb"') as caught:
        Api(aws, served.url, None).create({"id": "b"})
    assert (caught.value.code, caught.value.maybe_done) == ("Unauthorized", False)


def test_without_credentials_nothing_can_be_signed(fake: ScriptedAws) -> None:
    with pytest.raises(CredentialsError, match="there are no AWS credentials"):
        Api(Aws(settings(fake.url, credentials=None)), fake.url, None).get("a")
    assert not fake.requests


@pytest.mark.parametrize(("kind", "done"), [("server_error", False), ("reset", False), ("answer_lost", True)])
def test_a_mutation_without_an_answer_may_have_been_done_and_is_sent_once(
    served: Served, api: Api, kind: Any, done: bool
) -> None:
    served.appsync.fault = Fault(kind, calls=1)
    with pytest.raises(AwsError) as caught:
        api.create({"id": "a", "email": "a@x.io"})
    assert caught.value.maybe_done
    assert (api.get("a") is not None) == done


def test_a_throttled_mutation_was_not_done(served: Served, api: Api) -> None:
    served.appsync.fault = Fault("throttled", calls=1)
    with pytest.raises(AwsError, match="Try again in a few minutes") as caught:
        api.create({"id": "a"})
    assert not caught.value.maybe_done


def test_a_query_without_an_answer_has_done_nothing(served: Served, api: Api) -> None:
    served.appsync.fault = Fault("server_error", calls=1)
    with pytest.raises(AwsError) as caught:
        api.get("a")
    assert not caught.value.maybe_done


def test_an_attribute_that_the_schema_does_not_have_is_refused_by_name(api: Api) -> None:
    with pytest.raises(AwsError, match="'nickname'") as caught:
        api.create({"id": "a", "nickname": "x"})
    assert not caught.value.maybe_done
    assert api.get("a") is None


@pytest.mark.parametrize(
    ("status", "body", "code", "maybe_done"),
    [
        (200, {"data": {"createUser": None}}, "NoRecord", True),
        (200, {"data": {}}, "NoRecord", True),
        (200, {}, "GraphQLError", True),
        (200, [], "GraphQLError", True),
        (200, {"data": {"createUser": {"id": "a"}}, "errors": [{"errorType": "Unauthorized"}]}, "Unauthorized", True),
        (200, {"data": {"createUser": None}, "errors": [{"errorType": "Unauthorized"}]}, "Unauthorized", False),
        (200, {"data": {"createUser": None}, "errors": [{"errorType": "MappingTemplate"}]}, "MappingTemplate", True),
        (200, {"data": {"createUser": None}, "errors": [{"message": "no type"}]}, "GraphQLError", True),
        (200, {"errors": ["odd"]}, "GraphQLError", True),
        (200, {"data": None, "errors": [{"errorType": "ValidationError", "message": "m"}]}, "ValidationError", False),
        (400, {"errors": [{"errorType": "MalformedHttpRequestException"}]}, "MalformedHttpRequestException", False),
        (503, {}, "HTTP 503", True),
        (500, {"errors": [{"errorType": "InternalFailure", "message": "m"}]}, "InternalFailure", True),
        (404, {}, "HTTP 404", False),
    ],
)
def test_no_answer_is_taken_for_success_by_its_status(
    fake: ScriptedAws, status: int, body: Any, code: str, maybe_done: bool
) -> None:
    fake.script("POST /graphql", Answer(json.dumps(body).encode(), status))
    with pytest.raises(AwsError) as caught:
        Api(Aws(settings(fake.url)), f"{fake.url}/graphql", "da2-secret").create({"id": "a"})
    assert (caught.value.code, caught.value.maybe_done) == (code, maybe_done)
    assert (caught.value.action, caught.value.request_id) == ("appsync:GraphQL", "request-1")
    assert "da2-secret" not in str(caught.value)


def test_a_page_of_html_with_status_200_is_an_error(fake: ScriptedAws) -> None:
    fake.script("POST /graphql", Answer(HTML))
    with pytest.raises(AwsError, match="no GraphQL, such as a proxy's page"):
        Api(Aws(settings(fake.url)), f"{fake.url}/graphql", "k").create({"id": "a"})


def test_a_mutation_selects_every_field_it_was_given_and_the_version_fields(fake: ScriptedAws) -> None:
    fake.script("POST /graphql", Answer(b'{"data": {"createUser": {"id": "a"}}}'))
    Api(Aws(settings(fake.url)), f"{fake.url}/graphql", "k", fields=("id", "owner"), versioned=True).create({"id": "a"})
    (asked,) = fake.asked("POST /graphql")
    assert "{ id owner _version _lastChangedAt _deleted }" in asked["query"]
    assert asked["variables"] == {"input": {"id": "a"}, "condition": None}
    assert fake.headers[0]["x-api-key"] == "k"
