"""What people and services send that nobody would expect, where no test of a single module says it already."""

import json
import unicodedata
from collections.abc import Iterator

import pytest
from aws_kit import Hasty, ScriptedAws, page, scripted_aws, settings, user

from lib.aws import pool
from lib.aws.rows import rows_of
from lib.aws.session import Aws
from lib.display import csv_cell, visible
from lib.model import AwsError, email_key
from lib.repair.step import typed_item

# A quote, a backslash, both, spaces, an emoji, the longest one, and one that would close the filter.
USERNAMES = ['a"b', "a\\b", '\\"', "a b", "😀", "x" * 128, '" or email ^= "', "\\", "*", "%"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedAws, Aws]]:
    with scripted_aws() as fake:
        yield fake, Hasty(settings(fake.url))


@pytest.fixture
def fake(served: tuple[ScriptedAws, Aws]) -> ScriptedAws:
    served[0].reset()
    return served[0]


@pytest.fixture
def aws(served: tuple[ScriptedAws, Aws], fake: ScriptedAws) -> Aws:
    return served[1]


def taken_apart(asked: str) -> tuple[str, str]:
    """Return attribute and value of a filter as Cognito reads it: a backslash makes the next character literal."""
    attribute, _, quoted = asked.partition(" = ")
    assert quoted[0] == quoted[-1] == '"'
    value, rest = "", list(quoted[1:-1])
    while rest:
        character = rest.pop(0)
        assert character != '"', f"{asked!r} ends before its end"
        value += rest.pop(0) if character == "\\" else character
    return attribute, value


@pytest.mark.parametrize("value", USERNAMES)
def test_whatever_is_looked_for_is_looked_for_literally(fake: ScriptedAws, aws: Aws, value: str) -> None:
    fake.script("ListUsers", page(Users=[user("found", email=value)]))
    assert pool.found(aws, "email", value)
    [asked] = fake.asked("ListUsers")
    assert taken_apart(asked["Filter"]) == ("email", value)


def test_nothing_to_look_for_finds_nobody_and_is_not_even_asked(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", page(Users=[user("somebody")]))
    assert pool.found(aws, "email", "") is None
    assert fake.requests == []


def test_an_empty_page_with_a_token_is_read_on(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", page(Users=[], PaginationToken="t1"), page(Users=[user("late", email="a@x.io")]))
    found = pool.found(aws, "email", "a@x.io")
    assert found is not None
    assert found["username"] == "late"


def test_a_search_that_gets_the_same_token_for_ever_ends(fake: ScriptedAws, aws: Aws) -> None:
    fake.script("ListUsers", page(Users=[], PaginationToken="t1"))
    with pytest.raises(AwsError, match="same page again"):
        pool.found(aws, "email", "a@x.io")


@pytest.mark.parametrize("username", USERNAMES)
def test_an_account_is_asked_for_by_its_very_username(fake: ScriptedAws, aws: Aws, username: str) -> None:
    fake.script("AdminGetUser", page(**{**user(username), "UserAttributes": []}))
    found = pool.account(aws, username)
    assert found is not None
    assert found["username"] == username
    assert fake.asked("AdminGetUser")[0]["Username"] == username


@pytest.mark.parametrize(
    ("id", "kept"),
    [({"S": "x" * 2048}, "x" * 2048), ({"S": ""}, None), ({"N": "7"}, None), (None, None), ({"S": "Anna"}, "Anna")],
    ids=["2,048 bytes", "empty", "a number", "none", "capital"],
)
def test_an_id_is_kept_as_it_is_or_is_none(id: dict[str, str] | None, kept: str | None) -> None:
    [row] = rows_of([{"email": {"S": "a@x.io"}} | ({"id": id} if id else {})]).to_pylist()
    assert (row["id"] or None) == kept


@pytest.mark.parametrize("number", ["1e40", "1E+40", "-0.00000000000000000000000000000000001", "9" * 38])
def test_a_number_of_any_size_comes_back_from_a_snapshot_digit_by_digit(number: str) -> None:
    [row] = rows_of([{"id": {"S": "a"}, "n": {"N": number}}]).to_pylist()
    assert float(typed_item(row["item"])["n"]["N"]) == float(number)


def test_an_item_of_399_kb_is_kept_cut_and_an_ordinary_one_whole() -> None:
    big, small = rows_of([{"id": {"S": "big"}, "bio": {"S": "b" * 399_000}}, {"id": {"S": "s"}, "bio": {"S": "b"}}])[
        "item"
    ].to_pylist()
    assert len(big) < 1000
    assert "_truncated" in json.loads(big)
    assert json.loads(small)["bio"] == "b"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna@X.io", "anna@x.io", True),
        (" anna@x.io\t", "anna@x.io", True),
        (unicodedata.normalize("NFC", "zoë@x.io"), unicodedata.normalize("NFD", "zoë@x.io"), False),
        ("аnna@x.io", "anna@x.io", False),
    ],
    ids=["case", "spaces", "NFC and NFD", "a Cyrillic letter"],
)
def test_emails_are_one_by_case_and_spaces_only(one: str, other: str, same: bool) -> None:
    assert (email_key(one) == email_key(other)) is same


@pytest.mark.parametrize("first", list("=+-@\t\r\0"))
def test_no_cell_begins_a_formula(first: str) -> None:
    assert csv_cell(f"{first}HYPERLINK(1)").startswith("'")


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x1b]0;title\x07", "one\r\ntwo", "\u202ecba", "\ud800", "a\0b"])
def test_a_text_moves_no_cursor_and_stays_on_its_line(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in shown)
    assert len(shown.splitlines()) == 1
