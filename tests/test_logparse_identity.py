import json

import pytest
from logparse_kit import COGNITO, USER, end, event, logs, only, report, says, start, whole


def test_a_cut_event_line_gives_only_what_stands_before_the_user_s_own_words():
    hostile = COGNITO | {"request": {"userAttributes": {"x": '","userName":"fake","triggerSource":"Fake_Fake'}}}
    text = "debug cognito EVENT: " + json.dumps(hostile, separators=(",", ":"))
    variables = says(f"#### debug variables:  {{\n  input: {{ id: '{USER}', email: \"o'b@mail.test\" }}\n}}", 3)
    for cut in range(len("debug cognito EVENT: "), len(text), 7):
        record = only([start(), event(says(text[:cut])["message"].rstrip("\n"), 2), variables, end(), report()])
        assert (record["username"], record["email"], record["event"]) == (USER, "o'b@mail.test", None)
        assert record["trigger_source"] == ("PreSignUp_SignUp" if '"PreSignUp_SignUp"' in text[:cut] else None)
        assert record["truncated"]


@pytest.mark.parametrize("newline", ["\n", "\r"])
@pytest.mark.parametrize(
    ("written", "email"),
    [
        ("'ann@mail.test'", "ann@mail.test"),
        ('"o\'b@mail.test"', "o'b@mail.test"),
        ("`o'b\"@mail.test`", "o'b\"@mail.test"),
        ("'o\\'b\"`@mail.test'", "o'b\"`@mail.test"),
        ("'\"a\\\\b\"@mail.test'", '"a\\b"@mail.test'),
        ("'nel\\x85@mail.test'", "nel\x85@mail.test"),
        ("'first\\n' +\n      'second@mail.test'", "first\nsecond@mail.test"),
        ("undefined", None),
        ("'ann@mail.te'... 5 more characters", None),
        ("'ann@mail.te", None),
    ],
)
def test_the_variables_line_is_read_in_every_quote_and_layout(written, email, newline):
    for text in (
        f"{{\n  input: {{ id: '{USER}', email: {written} }}\n}}",
        f"{{\n  input: {{\n    email: {written}\n  }}\n}}",
    ):
        assert only(whole(says(f"#### debug variables:  {text}".replace("\n", newline))))["email"] == email


INSPECTED = f"""{{
  version: '1',
  userPoolId: 'ap-southeast-1_hKnIMMR91',
  userName: '{USER}',
  triggerSource: 'PostConfirmation_ConfirmSignUp',
  request: {{
    userAttributes: {{ sub: '{USER}', 'cognito:user_status': 'CONFIRMED', email: "o'brien@mail.test" }},
    clientMetadata: {{ invite: 's3cret' }}
  }},
  response: {{}}
}}"""


def copied_handler(error):
    """The widely copied PostConfirmation handler: it logs the event, its own caught error, and then success."""
    return whole(
        says(INSPECTED, 1),
        says(
            f"Error {error}: Requested resource not found\n    at Request.send (index.js:1:2) {{\n  code: 4\n}}",
            9,
        ),
        says("Success: Everything executed correctly", 10),
    )


def test_an_error_that_the_handler_caught_and_printed_is_kept_and_changes_no_outcome():
    record = only(copied_handler("ResourceNotFoundException"))
    assert record["outcome"] == "completed"
    assert record["logged_error"].startswith("Error ResourceNotFoundException: Requested resource not found")
    assert record["error_type"] is record["error_message"] is None
    assert (record["username"], record["email"]) == (USER, "o'brien@mail.test")
    assert record["trigger_source"] == "PostConfirmation_ConfirmSignUp"
    assert only(whole(says(INSPECTED), says("Success: Everything executed correctly")))["logged_error"] is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('{"level":"error","message":"createUser failed"}', True),
        ('{"level":"ERROR","message":"no","timestamp":"t","function_request_id":"x"}', True),
        ('{"level":50,"time":1,"msg":"createUser failed"}', True),
        ('{"level":"info","message":"Error"}', False),
        ('{"level":30,"msg":"error"}', False),
        ('{"level":null}', False),
        ('{"level":"error"', False),
    ],
)
@pytest.mark.parametrize("written", [says, lambda text: event(f"{text}\n", 2), logs])
def test_an_error_in_the_json_of_the_handler_s_own_logger_is_a_logged_error(line, kept, written):
    record = only(whole(written(line)))
    assert record["outcome"] == "completed"
    assert (record["logged_error"] is not None) == kept


OTHERS = {
    "a prefix": says(f"got {json.dumps(COGNITO)} from Cognito"),
    "pretty": says(json.dumps(COGNITO, indent=2)),
    "inside another object": says(json.dumps({"level": "x", "event": COGNITO})),
    "printed JSON": event(json.dumps(COGNITO) + "\n", 2),
    "printed by Python": event(f"{COGNITO}\n", 2),
    "an object as JSON message": logs(COGNITO),
    "a text as JSON message": logs("event " + json.dumps(COGNITO)),
    "a field of a JSON line": logs("event received", event=COGNITO),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_cognito_event_is_known_wherever_a_handler_logs_it(name):
    record = only(whole(OTHERS[name]))
    assert (record["username"], record["email"], record["trigger_source"]) == (
        USER,
        "ann@mail.test",
        "PreSignUp_SignUp",
    )
    assert json.loads(record["event"]) == COGNITO


def test_a_printed_event_never_outweighs_one_with_the_request_s_id():
    fake = event(json.dumps(COGNITO | {"userName": "fake"}) + "\n", 1)
    assert only(whole(fake, says(json.dumps(COGNITO))))["username"] == USER


def test_the_stored_event_keeps_the_keys_of_what_a_client_sent_and_none_of_its_values():
    request = COGNITO["request"] | {"clientMetadata": {"token": "s3cret"}, "validationData": {"k": "s3cret"}}
    stored = only(whole(says("debug cognito EVENT: " + json.dumps(COGNITO | {"request": request}))))["event"]
    assert "s3cret" not in stored
    assert json.loads(stored)["request"]["clientMetadata"] == {"token": None}
    assert "s3cret" not in only(copied_handler("X"))["event"]


def test_lone_surrogates_become_question_marks_and_separators_stay():
    attributes = {"email": "a\u2028b@mail.test", "name": "\ud800"}
    line = says("debug cognito EVENT: " + json.dumps(COGNITO | {"request": {"userAttributes": attributes}}))
    record = only(whole(line))
    assert record["email"] == "a\u2028b@mail.test"
    assert json.loads(record["event"])["request"]["userAttributes"]["name"] == "?"


def test_texts_that_have_no_end_are_cut():
    raised = f'Invoke Error \t{{"errorType":"TypeError","errorMessage":"{"n" * 10**5}","stack":[]}}'
    record = only(whole(says("x" * 10**6, level="ERROR"), says(raised, 3, level="ERROR")))
    assert (len(record["logged_error"]), len(record["error_message"])) == (500, 2000)
