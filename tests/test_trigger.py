import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trigger_kit import CREATED, EVENT, EXISTS, KEY, USER, Context, Fake, environment, failure, refusal, row, run

from lib import trigger


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake.serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "PAUSE_S", 0.01)


TOMBSTONE = "a soft-deleted row holds this id, so no new one can be created"
NO_VERSIONS = {"data": None, "errors": [{"message": "Validation error of type FieldUndefined: Field '_deleted' ..."}]}


@pytest.mark.parametrize(
    "source",
    ["PreSignUp_SignUp", "PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider", "PostConfirmation_ConfirmSignUp"],
)
def test_a_sign_up_creates_the_row_of_its_user(fake: Fake, source: str) -> None:
    lines = run(fake.url, EVENT | {"triggerSource": source})
    ((headers, body),) = fake.calls
    assert headers["x-api-key"] == KEY
    assert body["variables"] == {"input": {"id": USER, "email": "ann@example.org"}}
    assert [(line["level"], line["message"]) for line in lines] == [
        ("INFO", "event received"),
        ("INFO", "row created"),
    ]


@pytest.mark.parametrize("source", ["PostConfirmation_ConfirmForgotPassword", "CustomMessage_SignUp", None])
def test_what_is_not_a_sign_up_is_left_alone(fake: Fake, source: str | None) -> None:
    lines = run(fake.url, EVENT | {"triggerSource": source})
    assert not fake.calls
    assert lines[-1]["message"] == "not a sign-up: nothing to do"


def test_the_first_line_identifies_the_event_and_keeps_the_rest_of_it_out(fake: Fake) -> None:
    first, last = run(fake.url)
    known = {"version", "region", "userPoolId", "userName", "callerContext", "triggerSource"}
    kept = {name: value for name, value in EVENT.items() if name in known}
    assert first["event"] == kept | {"request": {"userAttributes": {"email": "ann@example.org"}}}
    assert first["requestId"] == last["requestId"] == Context().aws_request_id
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["timestamp"])
    for hidden in ("captcha-value", "invite-value", "+6591234567"):
        assert hidden not in json.dumps([first, last])


def test_a_user_without_an_email_gets_a_row_without_one(fake: Fake) -> None:
    run(fake.url, EVENT | {"request": {"userAttributes": {"phone_number": "+6591234567"}}})
    assert fake.calls[0][1]["variables"] == {"input": {"id": USER}}


SILENT = {
    "expired key": (
        (401, json.dumps({"errors": [{"errorType": "UnauthorizedException", "message": "You are not authorized."}]})),
        "UnauthorizedException",
    ),
    "not authorised": (refusal("Unauthorized", "Not Authorized to access createUser on type User"), "Unauthorized"),
    "nothing came back": ({"data": {"createUser": None}}, "NoRowReturned"),
    "another row came back": ({"data": {"createUser": {"id": "other"}}}, "NoRowReturned"),
    "no data": ({"data": None}, "NoRowReturned"),
    "an error without a type": ({"data": None, "errors": [{"message": "Validation error"}]}, "GraphQLError"),
    "errors that are none": ({"data": None, "errors": ["x", None]}, "NoRowReturned"),
    "errors that are no list": ({"data": None, "errors": 5}, "NoRowReturned"),
    "a list": ([1], "NotGraphQL"),
    "an abyss": ((200, "[" * 100_000), "NotGraphQL"),
    "HTML with 200": ((200, "<html>"), "NotGraphQL"),
    "forbidden": ((403, "<html>"), "Http403"),
    "wrong address": ((404, "{}"), "Http404"),
    "moved": ((301, ""), "Http301"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_failure_that_the_original_kept_silent_is_logged_with_its_reason(fake: Fake, name: str) -> None:
    answer, error_type = SILENT[name]
    fake.answers = [answer]
    line = failure(run(fake.url))
    assert line["errorType"] == error_type
    assert line["signUp"] == "goes on without a row"
    assert len(fake.calls) == 1


@pytest.mark.parametrize("setting", ["raise", " Raise "])
def test_on_failure_raise_refuses_the_sign_up_and_tells_its_user_nothing(fake: Fake, setting: str) -> None:
    fake.answers = [refusal("Unauthorized", "Not Authorized to access createUser on type User")]
    out = io.StringIO()
    with pytest.raises(trigger.SignUpRefused) as refused:
        trigger.sync(EVENT, Context(), environment(fake.url, ON_FAILURE=setting), out)
    assert str(refused.value) == "The sign-up could not be completed. Please try again."
    assert refused.value.__suppress_context__
    assert failure([json.loads(line) for line in out.getvalue().splitlines()])["signUp"] == "refused"


def test_errors_beside_a_row_that_came_back_are_no_failure(fake: Fake) -> None:
    fake.answers = [CREATED | {"errors": [{"errorType": "Unauthorized", "message": "Not Authorized to access email"}]}]
    assert run(fake.url)[-1]["message"] == "row created"


@pytest.mark.parametrize(
    ("look", "level", "message"),
    [
        (row(), "INFO", "row exists"),
        (row(email=" ANN@example.org", _deleted=None), "INFO", "row exists"),
        (row(email="other@example.org"), "WARN", "row exists with another e-mail"),
        (NO_VERSIONS, "INFO", "row exists; it could not be looked at"),
        ({"data": {"getUser": None}}, "INFO", "row exists; it could not be looked at"),
        ((403, ""), "INFO", "row exists; it could not be looked at"),
        (row(_deleted=True), "ERROR", f"Error: no row for this sign-up: {TOMBSTONE}"),
    ],
)
def test_an_existing_row_is_success_and_a_tombstone_is_not(fake: Fake, look: Any, level: str, message: str) -> None:
    fake.answers = [EXISTS, look]
    last = run(fake.url)[-1]
    assert (last["level"], last["message"]) == (level, message)
    assert fake.calls[1][1]["variables"] == {"id": USER}


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": ""}, "names 0 GraphQL APIs"),
        ({"API_TWO_GRAPHQLAPIENDPOINTOUTPUT": "https://x.test/graphql"}, "names 2 GraphQL APIs"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "ftp://x.test"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "http://x.test:port"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIENDPOINTOUTPUT": "http://[x"}, "not an http(s) address"),
        ({"API_APP_GRAPHQLAPIKEYOUTPUT": KEY + "\nX-Other: 1"}, "characters that no API key has"),
        ({"API_APP_GRAPHQLAPIKEYOUTPUT": "", "REGION": ""}, "no role or region"),
    ],
)
def test_a_wrong_environment_is_a_reason_too(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], reason: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    line = failure(run(fake.url, **environ))
    assert reason in line["message"]
    assert line["errorType"] == "Configuration"
    assert not fake.calls


@pytest.mark.parametrize("event", [{}, {"userName": ""}, {"userName": "x", "request": None}, {"request": []}])
def test_a_malformed_event_is_a_reason_too(fake: Fake, event: dict[str, Any]) -> None:
    fake.answers = [{"data": {"createUser": {"id": "x"}}}]
    lines = run(fake.url, {"triggerSource": "PreSignUp_SignUp"} | event)
    assert lines[-1].get("errorType", "none") == ("none" if event.get("userName") else "MalformedEvent")


def test_the_key_is_blotted_out_of_what_the_service_says(fake: Fake) -> None:
    fake.answers = [(403, json.dumps({"errors": [{"errorType": "Bad", "message": f"unknown key {KEY}"}]}))]
    assert "unknown key ***" in failure(run(fake.url))["message"]


TEXT = st.text(st.characters(), max_size=40)  # lone surrogates, line separators and controls included


@settings(deadline=None, max_examples=60)
@given(user=TEXT, email=TEXT, reason=TEXT)
def test_hostile_text_never_breaks_a_log_line(user: str, email: str, reason: str) -> None:
    out = io.StringIO()
    event = EVENT | {"userName": user, "request": {"userAttributes": {"email": email}}, "triggerSource": "Other"}
    trigger.sync(event, Context(), environment(reason), out)
    assert out.getvalue().isascii()
    first, _ = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["event"]["userName"], first["event"]["request"]["userAttributes"]["email"]) == (user, email)
