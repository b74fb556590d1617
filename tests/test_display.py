import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.display import csv_cell, mask_email, mask_emails, visible
from lib.model import ACCOUNTS
from lib.output import FORMATS, rendered, to_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anna3@mail.test", "a•••3@mail.test"),
        ("ab@mail.test", "•••@mail.test"),
        ("a@mail.test", "•••@mail.test"),
        ("sub-1::anna@mail.test", "sub-1::a•••a@mail.test"),
        ('{"email":"anna@mail.test","n":1}', '{"email":"a•••a@mail.test","n":1}'),
        ("anna@mail.test, bob1@mail.test", "a•••a@mail.test, b•••1@mail.test"),
        ('"anna smith"@mail.test', '"•••"@mail.test'),
        ("an/na@mail.test", "a•••a@mail.test"),
        ("Google_anna@mail.test", "G•••a@mail.test"),
        ("no address", "no address"),
    ],
)
def test_every_address_in_a_text_is_masked(text, shown):
    assert mask_emails(text) == shown


def test_an_e_mail_that_is_no_address_is_masked_all_the_same():
    assert mask_email("anna smith") == "a•••h"
    assert mask_email(None) is None


@given(st.emails(), st.sampled_from(["", "sub::", '{"email":"', "see "]))
def test_no_masked_text_holds_the_local_part(address, before):
    local = address.rpartition("@")[0]
    assert len(local) < 3 or f"{local}@" not in mask_emails(before + address)


@given(st.text())
def test_what_is_visible_stays_on_one_line_and_moves_no_cursor(text):
    shown = visible(text)
    assert not set(shown) & set("\n\r\x1b\x07\x00\u202e\u2028\u2029\x85\u2066")
    assert shown.isprintable() or "\u200c" in shown or "\u200d" in shown or "\xa0" in shown or " " in shown


def test_a_lone_surrogate_is_shown_not_lost():
    assert visible("a\ud800b") == "a\\ud800b"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\x00"])
def test_a_spreadsheet_never_gets_a_formula(start):
    assert csv_cell(f"{start}HYPERLINK(1)") == f"'{start}HYPERLINK(1)"
    assert csv_cell("plain") == "plain"


def one_account(**cells) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(ACCOUNTS.names) | cells], schema=ACCOUNTS)


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_lets_an_address_out_unless_asked(form):
    accounts = one_account(username="anna@mail.test", email="anna@mail.test", attributes='{"name":"anna@mail.test"}')
    assert b"anna@mail.test" not in rendered(accounts, form)
    assert b"anna@mail.test" in rendered(accounts, form, reveal=True)


def test_a_sub_is_never_masked():
    assert b"7b6a66b4-b62a" in rendered(one_account(sub="7b6a66b4-b62a"), "json")


def test_json_is_one_array_with_times_in_utc():
    shown = json.loads(rendered(one_account(username="a", created_at=0), "json"))
    assert shown[0]["created_at"] == "1970-01-01T00:00:00.000Z"
    assert list(shown[0]) == ACCOUNTS.names


def test_a_csv_export_runs_nothing_in_a_spreadsheet():
    assert b"'=HYPERLINK" in rendered(one_account(username='=HYPERLINK("http://x")'), "csv")


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_terminal_gets_nothing_that_it_would_obey(form):
    shown = rendered(one_account(username="\x1b[2Jgone\u202e"), form)
    assert b"\x1b" not in shown
    assert "\u202e".encode() not in shown


def test_json_reads_back_as_what_it_was():
    hostile = "\x1b[2J\u202e\U000e0001 é"
    assert json.loads(rendered(one_account(username=hostile), "json", reveal=True))[0]["username"] == hostile


def test_a_json_object_is_masked_at_every_depth():
    assert "anna@" not in to_json({"a": [{"b": "anna@mail.test"}]})
