import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from aws_kit import (
    POOL,
    Answer,
    Hasty,
    ScriptedAws,
    described_table,
    error,
    page,
    scripted_aws,
    settings,
    user,
    users,
)

from lib.aws import logs, pool, table
from lib.aws.session import Aws
from lib.model import ACCOUNTS, AwsError, NotReadable, Read

ISO = "2023-09-08T06:11:05.123Z"
AT = datetime(2023, 9, 8, 6, 11, 5, 123000, tzinfo=UTC)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedAws, Aws]]:
    with scripted_aws() as fake:
        yield fake, Hasty(settings(fake.url))


@pytest.fixture
def fake(served: tuple[ScriptedAws, Aws]) -> ScriptedAws:
    fake, _ = served
    fake.reset()
    fake.script("DescribeTable", described_table())
    return fake


@pytest.fixture
def aws(fake: ScriptedAws, served: tuple[ScriptedAws, Aws]) -> Aws:
    return served[1]


def names_of(read: Read) -> list[str]:
    return read.table["username"].to_pylist()


# Accounts


def test_an_account_is_read_with_every_column(fake: ScriptedAws, aws: Aws) -> None:
    identities = json.dumps([{"providerName": "Google", "primary": "false"}, {"providerName": "Okta", "primary": True}])
    local = user("u1", sub="s1", email=" A@X.io ", email_verified="true")
    federated = user("Google_1", identities=identities, email_verified="false") | {"UserStatus": "EXTERNAL_PROVIDER"}
    bare = {"Username": "My_IDP_bob@x.io", "UserStatus": "EXTERNAL_PROVIDER", "Enabled": False}
    fake.script("ListUsers", page(Users=[local, federated, bare]))
    first, second, third = pool.read_accounts(aws).table.to_pylist()
    assert first == {
        "username": "u1",
        "sub": "s1",
        "email": " A@X.io ",
        "email_key": "a@x.io",
        "email_verified": True,
        "status": "CONFIRMED",
        "enabled": True,
        "provider": None,
        "created_at": AT,
        "modified_at": AT.replace(second=6, microsecond=500000),
        "attributes": '{"email":" A@X.io ","email_verified":"true","sub":"s1"}',
    }
    assert (second["provider"], second["email_verified"]) == ("Okta", False)
    assert (third["provider"], third["email_verified"], third["created_at"], third["enabled"]) == (
        "My",
        None,
        None,
        False,
    )


def test_a_date_loses_no_millisecond_to_its_float(fake: ScriptedAws, aws: Aws) -> None:
    assert int(272647040.497 * 1000) == 272647040496
    fake.script("ListUsers", page(Users=[{"Username": "a", "UserCreateDate": 272647040.497}]))
    (created_at,) = pool.read_accounts(aws).table["created_at"].to_pylist()
    assert created_at == datetime(1978, 8, 22, 15, 17, 20, 497000, tzinfo=UTC)


@pytest.mark.parametrize("identities", ["", "no json", "[]", "{}", "[7]", "null"])
def test_identities_that_are_no_list_of_identities_cost_no_account(
    fake: ScriptedAws, aws: Aws, identities: str
) -> None:
    fake.script("ListUsers", page(Users=[user("Google_1", identities=identities)]))
    assert pool.read_accounts(aws).table["provider"].to_pylist() == [None]


def test_accounts_are_listed_sixty_at_a_time_with_all_their_attributes(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", users("a", PaginationToken="t"), users("b"))
    pool.read_accounts(aws)
    assert fake.asked("ListUsers") == [
        {"UserPoolId": POOL, "Limit": 60},
        {"UserPoolId": POOL, "Limit": 60, "PaginationToken": "t"},
    ]


def test_listing_is_no_faster_than_the_politeness_limit(fake: ScriptedAws) -> None:
    fake.script("ListUsers", *[users(f"u{n}", PaginationToken=f"t{n}") for n in range(29)], users("last"))
    started = time.monotonic()
    read = pool.read_accounts(Hasty(settings(fake.url, list_users_rps=20)))
    assert read.source.pages == 30
    assert time.monotonic() - started >= 0.45  # the first 20 at once, the other ten at 20 a second


def test_progress_tells_how_many_accounts_were_read_so_far(fake: ScriptedAws, aws: Aws) -> None:
    told: list[tuple[str, int]] = []
    fake.script("ListUsers", users("a", "b", PaginationToken="t"), users("c"))
    pool.read_accounts(aws, lambda source, count: told.append((source, count)))
    assert told == [("accounts", 2), ("accounts", 3)]


def test_progress_counts_what_a_restart_reads_again_only_once(fake: ScriptedAws, aws: Aws) -> None:
    told: list[int] = []
    refusal = error("InvalidParameterException", "token")
    fake.script(
        "ListUsers", users("a", "b", PaginationToken="t"), refusal, users("a", "b", PaginationToken="u"), users("c")
    )
    pool.read_accounts(aws, lambda _, count: told.append(count))
    assert told[-1] == 3


def test_one_account_is_read_as_the_listing_would_show_it_or_is_none(fake: ScriptedAws, aws: Aws) -> None:
    listed = user("u1", sub="s1", email="a@x.io")
    fake.script("ListUsers", page(Users=[listed]))
    single = {"UserAttributes" if key == "Attributes" else key: value for key, value in listed.items()}
    fake.script("AdminGetUser", page(**single), error("UserNotFoundException", "User does not exist."))
    assert pool.account(aws, "u1") == pool.read_accounts(aws).table.to_pylist()[0]
    assert pool.account(aws, "u1") is None


def test_a_pool_that_does_not_exist_is_no_missing_account(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("AdminGetUser", error("ResourceNotFoundException", f"User pool {POOL} does not exist."))
    with pytest.raises(AwsError, match=f"Cannot read an account of pool {POOL}: it does not exist in this account"):
        pool.account(aws, "u1")


# Rows


def test_every_segment_of_the_table_is_read_and_counted(fake: ScriptedAws, aws: Aws) -> None:
    told: list[int] = []
    fake.script_by("Scan", lambda body: page(Items=[{"id": {"S": f"row-{body['Segment']}"}}]))
    read = table.read_rows(aws, "User", consistent=True, progress=lambda _, count: told.append(count))
    asked = fake.asked("Scan")
    assert sorted(body["Segment"] for body in asked) == list(range(asked[0]["TotalSegments"]))
    assert all(body["ConsistentRead"] for body in asked)
    assert sorted(read.table["id"].to_pylist()) == [f"row-{body}" for body in range(len(asked))]
    assert told == [1, 2, 3, 4]


def test_one_failing_segment_makes_the_read_incomplete_and_keeps_the_others(fake: ScriptedAws, aws: Aws) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        segment = body["Segment"]
        return error("AccessDeniedException") if segment == 2 else page(Items=[{"id": {"S": str(segment)}}])

    fake.script_by("Scan", answer)
    read = table.read_rows(aws, "User")
    assert sorted(read.table["id"].to_pylist()) == ["0", "1", "3"]
    assert not read.source.complete
    assert "The role needs dynamodb:Scan on it (see: python -m lib policy)" in str(read.source.why_not)


def test_an_interrupted_read_ends_at_once_and_does_not_read_on(fake: ScriptedAws, aws: Aws) -> None:
    fake.script_by(
        "Scan", lambda body: page(Items=[{"id": {"S": "a"}}], LastEvaluatedKey={"id": {"S": str(time.time())}})
    )

    interrupts = iter([KeyboardInterrupt])

    def interrupt(_: str, count: int) -> None:
        if count > 5:
            for raised in interrupts:
                raise raised

    with pytest.raises(KeyboardInterrupt):
        table.read_rows(aws, "User", progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scan")]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ([("id", "HASH", "S"), ("email", "RANGE", "S")], r"id \(S, HASH\), email \(S, RANGE\)"),
        ([("id", "HASH", "N")], r"id \(N, HASH\)"),
        ([("pk", "HASH", "S")], r"pk \(S, HASH\)"),
    ],
)
def test_a_table_with_another_key_is_refused_with_the_key_shown(
    fake: ScriptedAws, aws: Aws, keys: list[tuple[str, str, str]], shown: str
) -> None:
    fake.script("DescribeTable", described_table(*keys))
    with pytest.raises(NotReadable, match=shown):
        table.describe(aws, "User")
    read = table.read_rows(aws, "User")
    assert (read.table.num_rows, read.source.complete) == (0, False)
    assert not fake.asked("Scan")


def test_a_role_that_may_scan_but_not_describe_reads_the_table(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("DescribeTable", error("AccessDeniedException"))
    fake.script("Scan", page(Items=[]))
    assert table.read_rows(aws, "User").source.complete


def test_a_missing_table_is_named(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("DescribeTable", error("ResourceNotFoundException"))
    fake.script("Scan", error("ResourceNotFoundException", "Requested resource not found"))
    source = table.read_rows(aws, "User-gone").source
    assert "Cannot read table User-gone: it does not exist in this account and region" in str(source.why_not)


def test_items_are_read_in_batches_and_what_was_left_unprocessed_is_asked_for_again(
    fake: ScriptedAws, aws: Aws
) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        keys = body["RequestItems"]["User"]["Keys"]
        left = {"User": {"Keys": keys[7:]}} if len(keys) > 7 else {}
        return page(Responses={"User": [key for key in keys[:7] if key["id"]["S"] != "gone"]}, UnprocessedKeys=left)

    fake.script_by("BatchGetItem", answer)
    wanted = [f"id-{n}" for n in range(120)]
    found = table.items(aws, "User", [*wanted, "gone", "", "id-0", "x" * 2049])
    assert sorted(found) == sorted(wanted)
    assert all(body["RequestItems"]["User"]["ConsistentRead"] for body in fake.asked("BatchGetItem"))


# Log events


def test_events_are_asked_for_in_milliseconds_and_without_a_pattern(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("FilterLogEvents", page(events=[]))
    logs.read_events(aws, "/aws/lambda/f", AT, AT + timedelta(seconds=1))
    asked = {"logGroupName": "/aws/lambda/f", "startTime": 1694153465123, "endTime": 1694153466123, "limit": 10_000}
    assert fake.asked("FilterLogEvents") == [asked]


def test_a_log_group_that_does_not_exist_means_no_events_yet(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("FilterLogEvents", error("ResourceNotFoundException", "The specified log group does not exist."))
    events, source = logs.read_events(aws, "g", AT, AT)
    assert (events, source.complete, source.count) == ([], True, 0)


def test_a_log_group_that_vanishes_in_mid_read_is_an_incomplete_read(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("FilterLogEvents", page(events=[], nextToken="t"), error("ResourceNotFoundException", "gone"))
    assert not logs.read_events(aws, "g", AT, AT)[1].complete


def test_a_log_groups_facts_are_those_of_exactly_its_name(fake: ScriptedAws, aws: Aws) -> None:
    longer = {"logGroupName": "/aws/lambda/fn-2", "creationTime": 1, "retentionInDays": 1}
    named = {"logGroupName": "/aws/lambda/fn", "creationTime": 1694153465123}
    fake.script("DescribeLogGroups", page(logGroups=[longer], nextToken="t"), page(logGroups=[named]))
    assert logs.group(aws, "/aws/lambda/fn") == logs.GroupFacts("/aws/lambda/fn", AT, None)
    fake.script("DescribeLogGroups", page(logGroups=[longer]))
    assert logs.group(aws, "/aws/lambda/fn") is None


def test_an_accounts_table_has_the_columns_of_the_contract(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", page(Users=[]))
    assert pool.read_accounts(aws).table.schema.equals(ACCOUNTS)
    assert isinstance(pool.read_accounts(aws).table, pa.Table)
