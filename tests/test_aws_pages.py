import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_kit import (
    HTML,
    POOL,
    Answer,
    Hasty,
    ScriptedAws,
    botocores_own,
    described_table,
    error,
    page,
    scripted_aws,
    settings,
    user,
    users,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.aws import bulk, logs, pool, table
from lib.aws.rows import wire_form
from lib.aws.session import Aws
from lib.model import ROWS, Read, email_key

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


# Every bad answer, the same for all three sources.

SOURCES = {
    "accounts": ("ListUsers", "Users", "PaginationToken", user),
    "rows": ("Scan", "Items", "LastEvaluatedKey", lambda name: {"id": {"S": name}}),
    "events": ("FilterLogEvents", "events", "nextToken", lambda name: {"eventId": name, "message": "m"}),
}


class Script:
    """One source's pages in its own words, and its read."""

    def __init__(self, source: str, fake: ScriptedAws, aws: Aws) -> None:
        self.operation, self._records, self._token, self._record = SOURCES[source]
        self._source, self._fake, self._aws = source, fake, aws

    def page(self, *names: str, token: str | None = None) -> Answer:
        following = {"id": {"S": token}} if self._source == "rows" else token
        return page(
            **{self._records: [self._record(name) for name in names]}, **{self._token: following} if token else {}
        )

    def answers(self, *answers: Answer) -> None:
        """Answer the only segment that has anything so; a scan's other segments are empty."""
        left = list(answers)

        def answer(body: dict[str, Any]) -> Answer:
            if body.get("Segment", 0):
                return self.page()
            return left.pop(0) if len(left) > 1 else left[0]

        self._fake.script_by(self.operation, answer)

    def asked(self) -> list[dict[str, Any]]:
        return [body for body in self._fake.asked(self.operation) if not body.get("Segment", 0)]

    def read(self) -> tuple[list[str], Any]:
        if self._source == "accounts":
            read = pool.read_accounts(self._aws)
            return names_of(read), read.source
        if self._source == "rows":
            read = table.read_rows(self._aws, "User")
            return read.table["id"].to_pylist(), read.source
        events, source = logs.read_events(self._aws, "/aws/lambda/f", AT, AT + timedelta(days=1))
        return [event["eventId"] for event in events], source


@pytest.fixture(params=list(SOURCES))
def script(request: pytest.FixtureRequest, fake: ScriptedAws, aws: Aws) -> Script:
    return Script(request.param, fake, aws)


def test_every_page_is_read_in_order_and_short_or_empty_ones_with_a_token_do_not_end_the_read(script: Script) -> None:
    script.answers(
        script.page("a", "b", token="t1"), script.page(token="t2"), script.page("c", token="t3"), script.page()
    )
    names, source = script.read()
    assert names == ["a", "b", "c"]
    assert source.complete
    assert source.why_not is None
    assert source.count == 3
    assert len(script.asked()) == 4


def test_an_empty_source_is_complete_and_empty(script: Script) -> None:
    script.answers(script.page())
    names, source = script.read()
    assert (names, source.complete, source.count) == ([], True, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        error("ThrottlingException", "Rate exceeded"),
        Answer(HTML, 500),
        error("InternalServerError", status=500),
        Answer(how="reset"),
        Answer(how="slow"),
        Answer(b'{"Users": [], "Items": [], "events": [], "filler": "......................"}', how="cut"),
        Answer(HTML),
    ],
    ids=["throttled", "html 500", "json 500", "reset", "time-out", "half a body", "html 200"],
)
def test_a_passing_trouble_in_mid_chain_costs_nothing(script: Script, trouble: Answer) -> None:
    script.answers(script.page("a", token="t1"), trouble, script.page("b"))
    names, source = script.read()
    assert (names, source.complete, source.why_not) == (["a", "b"], True, None)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (error("ThrottlingException", "Rate exceeded"), "fewer requests"),
        (Answer(HTML, 500), "the service failed (500"),
        (Answer(how="reset"), "no answer from http://127.0.0.1"),
        (Answer(HTML), "an HTML page, or half an answer"),
        (Answer(b"[]"), "an HTML page, or half an answer"),
        (page(message="nobody home"), "an HTML page, or half an answer"),
        (error("ExpiredTokenException", "The security token included in the request is expired"), "have expired"),
        (error("AccessDeniedException", "User: arn is not authorized to perform"), "see: python -m lib policy"),
        (error("AccessDeniedException", status=403), "see: python -m lib policy"),
    ],
    ids=["throttled", "html 500", "reset", "html 200", "list", "other json", "expired", "denied", "denied 403"],
)
def test_a_lasting_trouble_in_mid_chain_leaves_an_incomplete_read_that_says_why(
    script: Script, trouble: Answer, said: str
) -> None:
    script.answers(script.page("a", token="t1"), trouble)
    names, source = script.read()
    assert names == ["a"]
    assert not source.complete
    assert said in source.why_not
    assert source.why_not.startswith("Cannot ")


def test_the_same_token_twice_ends_the_read_incomplete_instead_of_asking_for_ever(script: Script) -> None:
    script.answers(script.page("a", token="t1"), script.page("b", token="t1"), script.page("b", token="t1"))
    names, source = script.read()
    assert names == ["a", "b"]
    assert not source.complete
    assert "same page token twice" in source.why_not
    assert len(script.asked()) == 2


def test_a_refused_token_restarts_the_read_once_and_repeats_nothing(script: Script) -> None:
    refusal = error("ValidationException" if script.operation == "Scan" else "InvalidParameterException", "token")
    script.answers(script.page("a", token="t1"), refusal, script.page("a", token="t2"), script.page("b"))
    names, source = script.read()
    assert (names, source.complete) == (["a", "b"], True)


def test_a_token_refused_twice_ends_the_read_incomplete(script: Script) -> None:
    refusal = error("ValidationException" if script.operation == "Scan" else "InvalidParameterException", "token")
    script.answers(script.page("a", token="t1"), refusal, script.page("a", token="t2"), refusal, script.page("b"))
    names, source = script.read()
    assert (names, source.complete) == (["a"], False)


def test_a_token_of_a_wrong_type_restarts_the_read(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", page(Users=[user("a")], PaginationToken=7), users("a", PaginationToken="t"), users("b"))
    read = pool.read_accounts(aws)
    assert (names_of(read), read.source.complete) == (["a", "b"], True)


def test_a_refusal_of_the_first_page_is_no_matter_of_tokens(script: Script) -> None:
    script.answers(error("InvalidParameterException", "no such thing"))
    names, source = script.read()
    assert (names, source.complete) == ([], False)
    assert len(script.asked()) == 1


# Against botocore's own parser, cell by cell.

texts = st.one_of(st.text(st.characters(), max_size=12), st.sampled_from(["\ud800", "a\udfffb", "\u2028", "\x00", ""]))
names = st.text(min_size=1, max_size=8)
dates = st.integers(31_536_000_000, 4_000_000_000_000).map(lambda ms: ms / 1000)


def replaced(value: Any) -> Any:
    return bulk.without_surrogates(value)


@st.composite
def some_users(draw: st.DrawFn) -> dict[str, Any]:
    attributes = draw(st.dictionaries(st.sampled_from(["sub", "email", "name", "custom:x", "identities"]), texts))
    known = {"Username": draw(names), "Attributes": [{"Name": n, "Value": v} for n, v in attributes.items()]}
    optional = {"UserCreateDate": dates, "UserLastModifiedDate": dates, "Enabled": st.booleans()}
    return known | {key: draw(values) for key, values in optional.items() if draw(st.booleans())}


def in_pages(records: list[Any], sizes: list[int]) -> list[list[Any]]:
    rest = iter(records)
    return [list(itertools.islice(rest, size)) for size in sizes] + [list(rest)]


sizes = st.lists(st.integers(0, 3), max_size=4)


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.lists(some_users(), max_size=8, unique_by=lambda each: replaced(each["Username"])), sizes)
def test_accounts_equal_what_botocores_parser_gives(fakes: Any, listed: list[dict[str, Any]], sizes: list[int]) -> None:
    fake, aws = fakes
    pages = in_pages(listed, sizes)
    answers = [
        page(Users=each, **({"PaginationToken": f"t{n}"} if n < len(pages) else {})) for n, each in enumerate(pages, 1)
    ]
    fake.script("ListUsers", *answers)
    read = pool.read_accounts(aws)
    fake.script("ListUsers", *answers)
    paginator = botocores_own("cognito-idp", fake.url).get_paginator("list_users")
    parsed = [replaced(each) for each in paginator.paginate(UserPoolId=POOL).build_full_result()["Users"]]
    assert read.source.complete
    assert read.source.pages == len(pages)
    for account, expected in zip(read.table.to_pylist(), parsed, strict=True):
        attributes = {each["Name"]: each["Value"] for each in expected["Attributes"]}
        assert account["username"] == expected["Username"]
        assert account["sub"] == attributes.get("sub")
        assert account["email"] == (attributes.get("email") or None)
        assert account["email_key"] == email_key(attributes.get("email"))
        assert account["enabled"] == expected.get("Enabled")
        assert account["created_at"] == expected.get("UserCreateDate")
        assert account["modified_at"] == expected.get("UserLastModifiedDate")
        assert json.loads(account["attributes"]) == attributes


numbers = st.one_of(st.integers(-(10**37), 10**37).map(str), st.decimals(-99, 99, places=3).map(str))
binaries = st.sampled_from(["", "AAEC", "/w=="])
values = st.recursive(
    st.one_of(
        texts.map(lambda text: {"S": text}),
        numbers.map(lambda number: {"N": number}),
        st.booleans().map(lambda value: {"BOOL": value}),
        st.just({"NULL": True}),
        binaries.map(lambda content: {"B": content}),
        st.lists(names, min_size=1, unique=True).map(lambda each: {"SS": each}),
        st.lists(numbers, min_size=1, unique=True).map(lambda each: {"NS": each}),
        st.lists(binaries, min_size=1, unique=True).map(lambda each: {"BS": each}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: {"L": each}),
        st.dictionaries(texts, inner, max_size=3).map(lambda each: {"M": each}),
    ),
    max_leaves=6,
)
system = st.sampled_from(["email", "createdAt", "updatedAt", "_version", "_lastChangedAt", "_deleted", "_ttl", "owner"])
items = st.builds(
    lambda id, others: {**others, "id": {"S": id}}, names, st.dictionaries(st.one_of(system, texts), values, max_size=6)
)


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.lists(items, max_size=6), sizes)
def test_rows_equal_what_botocores_parser_gives_and_no_item_loses_its_row(
    fakes: Any, stored: list[dict[str, Any]], sizes: list[int]
) -> None:
    fake, aws = fakes
    pages = in_pages(stored, sizes)

    def answer(body: dict[str, Any]) -> Answer:
        if body.get("Segment", 0):
            return page(Items=[])
        at = int(body.get("ExclusiveStartKey", {}).get("id", {}).get("S", 0))
        following = {"LastEvaluatedKey": {"id": {"S": str(at + 1)}}} if at + 1 < len(pages) else {}
        return page(Items=pages[at], **following)

    fake.script_by("Scan", answer)
    read = table.read_rows(aws, "User")
    parsed = botocores_own("dynamodb", fake.url).get_paginator("scan").paginate(TableName="User").build_full_result()
    assert read.source.complete
    assert read.table.num_rows == len(stored)
    assert read.table.schema.equals(ROWS)
    assert read.table.equals(table.rows_of([wire_form(each) for each in parsed["Items"]]))
    for row, item in zip(read.table.to_pylist(), parsed["Items"], strict=True):
        assert row["id"] == item["id"]["S"]
        assert set(json.loads(row["item"])) == set(replaced(dict(item)))


@hypothesis_settings(deadline=None, max_examples=20)
@given(
    st.lists(st.builds(lambda m, i: {"message": m, "eventId": str(i), "timestamp": i}, texts, st.integers(0))), sizes
)
def test_events_equal_what_botocores_parser_gives(fakes: Any, events: list[dict[str, Any]], sizes: list[int]) -> None:
    fake, aws = fakes
    pages = in_pages(events, sizes)
    answers = [
        page(events=each, **({"nextToken": f"t{n}"} if n < len(pages) else {})) for n, each in enumerate(pages, 1)
    ]
    fake.script("FilterLogEvents", *answers)
    read, _ = logs.read_events(aws, "g", AT, AT)
    fake.script("FilterLogEvents", *answers)
    paginator = botocores_own("logs", fake.url).get_paginator("filter_log_events")
    assert read == replaced(paginator.paginate(logGroupName="g").build_full_result()["events"])


@pytest.fixture(scope="module")
def fakes() -> Iterator[tuple[ScriptedAws, Aws]]:
    with scripted_aws() as served:
        served.script("DescribeTable", described_table())
        yield served, Hasty(settings(served.url))
