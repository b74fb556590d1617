from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from appsync_kit import LOST_RACE, Served, both_handlers, optimistic, tables, unversioned

from lib.demo.user_model import UserModel
from lib.model import iso, now


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with tables() as found:
        yield found


@pytest.fixture
def served(dynamodb: Any, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(dynamodb, **getattr(request, "param", {}))
    yield served
    served.stop()


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
