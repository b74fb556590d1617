import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.aws import table

ISO = "2023-09-08T06:11:05.123Z"
AT = datetime(2023, 9, 8, 6, 11, 5, 123000, tzinfo=UTC)


def row_of(**attributes: Any) -> dict[str, Any]:
    (row,) = table.rows_of([{"id": {"S": "a"}, **attributes}]).to_pylist()
    return dict(row)


def test_an_item_of_appsyncs_becomes_a_row_with_every_column() -> None:
    row = row_of(
        email={"S": " A@x.io"},
        createdAt={"S": ISO},
        updatedAt={"S": ISO},
        _version={"N": "3"},
        _lastChangedAt={"N": "1694153465123"},
        owner={"S": "s::a"},
        __typename={"S": "User"},
    )
    assert row == {
        "id": "a",
        "email": " A@x.io",
        "email_key": "a@x.io",
        "created_at": AT,
        "updated_at": AT,
        "version": 3,
        "last_changed_at": AT,
        "deleted": False,
        "owner": "s::a",
        "typename": "User",
        "notes": [],
        "item": '{"id":"a","email":" A@x.io",'
        '"createdAt":"2023-09-08T06:11:05.123Z","updatedAt":"2023-09-08T06:11:05.123Z",'
        '"_version":3,"_lastChangedAt":1694153465123,"owner":"s::a","__typename":"User"}',
    }


@pytest.mark.parametrize(
    "email",
    [{"N": "1"}, {"BOOL": True}, {"B": "AA=="}, {"L": []}, {"M": {}}, {"SS": ["a@x.io"]}],
    ids=lambda value: next(iter(value)),
)
def test_an_email_that_is_no_text_is_noted_and_the_row_stays(email: dict[str, Any]) -> None:
    row = row_of(email=email)
    assert (row["email"], row["email_key"], row["notes"]) == (None, None, ["email_not_text"])


@pytest.mark.parametrize("email", [{}, {"email": {"NULL": True}}, {"email": {"S": ""}}], ids=["none", "null", "empty"])
def test_an_absent_email_is_no_note(email: dict[str, Any]) -> None:
    assert (row_of(**email)["email"], row_of(**email)["notes"]) == (None, [])


def test_an_email_of_3000_characters_stays_whole() -> None:
    assert row_of(email={"S": "a" * 3000})["email"] == "a" * 3000


@pytest.mark.parametrize(
    ("deleted", "expected"),
    [
        ({"BOOL": True}, (True, [])),
        ({"BOOL": False}, (False, [])),
        ({"S": "true"}, (False, ["deleted_not_boolean"])),
        ({"N": "1"}, (False, ["deleted_not_boolean"])),
        ({"NULL": True}, (False, ["deleted_not_boolean"])),
        ({"BOOL": "true"}, (False, ["deleted_not_boolean"])),
    ],
)
def test_a_row_is_deleted_only_by_a_boolean(deleted: dict[str, Any], expected: tuple[bool, list[str]]) -> None:
    row = row_of(_deleted=deleted)
    assert (row["deleted"], row["notes"]) == expected


@pytest.mark.parametrize(
    ("ttl", "noted"),
    [
        ({"N": "1694153465"}, False),
        ({"N": "1694153465000"}, True),
        ({"N": "100000000000"}, False),
        ({"S": "9" * 13}, False),
    ],
)
def test_a_ttl_above_ten_to_the_eleven_is_noted_as_milliseconds(ttl: dict[str, str], noted: bool) -> None:
    assert row_of(_ttl=ttl)["notes"] == (["ttl_in_milliseconds"] if noted else [])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"N": "1"}, 1),
        ({"N": "1E+1"}, 10),
        ({"N": "2.0"}, 2),
        ({"S": "3"}, None),
        ({"N": "1.5"}, None),
        ({"N": "1e40"}, None),
        ({"N": "9" * 38}, None),
        ({"NULL": True}, None),
    ],
)
def test_a_version_that_is_no_whole_number_counts_as_missing(version: dict[str, Any], expected: int | None) -> None:
    assert row_of(_version=version)["version"] == expected


@pytest.mark.parametrize("owner", [{"N": "1"}, {"L": []}, {"BOOL": False}])
def test_an_owner_that_is_no_text_is_noted(owner: dict[str, Any]) -> None:
    assert (row_of(owner=owner)["owner"], row_of(owner=owner)["notes"]) == (None, ["owner_not_text"])


def test_an_id_that_is_no_text_or_missing_still_gives_a_row() -> None:
    rows = table.rows_of([{"id": {"N": "1"}}, {}, {"id": {"S": ""}}]).to_pylist()
    assert [(row["id"], row["notes"]) for row in rows] == [(None, ["id_not_text"]), (None, ["id_not_text"]), ("", [])]


@pytest.mark.parametrize(
    ("value", "moment", "notes"),
    [
        ({"S": ISO}, AT, []),
        ({"S": "2023-09-08T06:11:05Z"}, AT.replace(microsecond=0), []),
        ({"S": "2023-09-08T08:11:05.123456789+02:00"}, AT, []),
        ({"S": "2023-09-08T06:11:05.1Z"}, AT.replace(microsecond=100000), []),
        ({"S": "2023-09-08T06:11:05.123"}, AT, ["time_without_zone"]),
        ({"S": "2023-09-08 06:11:05.123"}, AT, ["time_without_zone"]),
        ({"S": "2023-09-08"}, datetime(2023, 9, 8, tzinfo=UTC), ["time_without_zone"]),
        ({"N": "1694153465"}, AT.replace(microsecond=0), ["epoch_time"]),
        ({"N": "1694153465123"}, AT, ["epoch_time"]),
        ({"S": "1694153465123"}, AT, ["epoch_time"]),
        ({"N": "1694153465.123"}, AT, ["epoch_time"]),
        ({"S": "1970-01-01T00:00:00.000Z"}, None, []),
        ({"S": "9999-12-31T23:59:59.999Z"}, None, []),
        ({"S": "9999-12-31T23:59:59-05:00"}, None, []),
        ({"S": "0001-01-01T00:00:00+05:00"}, None, []),
        ({"N": "0"}, None, ["epoch_time"]),
        ({"N": "1e40"}, None, []),
        ({"N": "9" * 38}, None, []),
        ({"N": "-1694153465"}, None, []),
        ({"S": "2023-13-45T99:99:99.999Z"}, None, []),
        ({"S": "2023-02-29T00:00:00.000Z"}, None, []),
        ({"S": "yesterday"}, None, []),
        ({"S": ""}, None, []),
        ({"BOOL": True}, None, []),
        ({"NULL": True}, None, []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_creation_time_is_read_in_every_form_or_is_null(
    value: dict[str, Any], moment: datetime | None, notes: list[str]
) -> None:
    row = row_of(createdAt=value)
    assert (row["created_at"], row["notes"]) == (moment, notes)


def test_one_impossible_date_costs_no_other_row_its_own() -> None:
    rows = table.rows_of(
        [{"id": {"S": "a"}, "createdAt": {"S": text}} for text in (ISO, "2023-02-30T00:00:00.000Z", ISO)]
    )
    assert rows["created_at"].to_pylist() == [AT, None, AT]


def test_two_times_of_one_row_note_the_same_thing_once() -> None:
    assert row_of(createdAt={"N": "1694153465"}, updatedAt={"N": "1694153465"})["notes"] == ["epoch_time"]


def test_numbers_keep_every_digit_in_an_items_text() -> None:
    digits = "12345678901234567890123456789012345678"
    text = row_of(a={"N": digits}, b={"N": "1E+40"}, c={"N": "-0.10"}, d={"NS": ["1.0", "2"]}, e={"N": "007"})["item"]
    assert f'"a":{digits},"b":1E+40,"c":-0.10,"d":[1.0,2],"e":"007"' in text


def test_a_plain_item_keeps_numbers_exact() -> None:
    typed = {
        "a": {"N": "9" * 38},
        "b": {"N": "1e40"},
        "c": {"N": "0.5"},
        "d": {"N": "0." + "1" * 30},
        "e": {"B": b"\x00"},
    }
    plain = table.plain(typed)
    assert (plain["a"], plain["b"], plain["c"], str(plain["d"]), plain["e"]) == (
        int("9" * 38),
        10**40,
        0.5,
        "0." + "1" * 30,
        "AA==",
    )


def test_an_item_nested_32_levels_keeps_its_innermost_value() -> None:
    value: dict[str, Any] = {"S": "innermost"}
    for level in range(32):
        value = {"L": [value]} if level % 2 else {"M": {"in": value}}
    assert "innermost" in row_of(deep=value)["item"]


def test_an_item_over_16_kb_is_kept_without_its_other_attributes_and_says_so() -> None:
    row = row_of(email={"S": "a@x.io"}, _version={"N": "1"}, bio={"S": "b" * 399_000})
    assert json.loads(row["item"]) == {"id": "a", "email": "a@x.io", "_version": 1, "_truncated": True}
    assert "_truncated" not in row_of(bio={"S": "b" * 16_000})["item"]


def test_a_lone_surrogate_in_an_item_read_singly_is_replaced_in_its_row() -> None:
    assert row_of(email={"S": "a\ud800@x.io"})["email"] == "a?@x.io"
