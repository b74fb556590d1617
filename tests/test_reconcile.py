from datetime import timedelta

import pytest
from reconcile_kit import (
    LONG_AGO,
    MINUTE,
    SECOND,
    STARTED_AT,
    account,
    apart,
    manifest,
    only,
    pairs,
    row,
    run,
    seen,
    tables,
)

from lib import reconcile
from lib.model import CAUSES, SITUATIONS, iso

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def situation(*args, **wiring):
    return [line["situation"] for line in pairs(*args, **wiring)]


def cause(accounts=(), rows=(), invocations=(), known=(), **wiring):
    lines = pairs(accounts, rows, invocations, known, **wiring)
    return {line["account_id"] or line["row_id"]: line["cause"] for line in lines if line["situation"] != "duplicate"}


SITUATION_CASES = [
    (account("a"), row("a"), "in_sync"),
    (account("a", email=None), row("a", email=None), "in_sync"),
    (account("a", email=None), row("a"), "in_sync"),
    (account("a"), row("a", email="A@MAIL.test "), "in_sync"),
    (account("a"), row("a", email="b@mail.test"), "drift"),
    (account("a"), row("a", version=None), "unversioned_row"),
    (account("a"), row("a", version=None, email="b@mail.test"), "unversioned_row"),
    (account("a"), row("a", deleted=True), "tombstone"),
    (account("a"), row("a", deleted=True, email=None), "tombstone"),
    (account("a"), row("a", email=None), "malformed_row"),
    (account("a"), row("a", email=" "), "malformed_row"),
    (account("a"), row("a", notes=["email_not_text"]), "malformed_row"),
    (account("a"), row("a", notes=["owner_not_text"]), "in_sync"),
    (account("a"), row("a", notes=["ttl_in_milliseconds"], deleted=True), "malformed_row"),
    (account("a"), None, "orphaned_account"),
    (account("a", enabled=False), None, "orphaned_account"),
    (account("a", status="UNCONFIRMED"), None, "orphaned_account"),
    (account("a", created_at=STARTED_AT - 15 * MINUTE), None, "orphaned_account"),
    (account("a", created_at=STARTED_AT - 15 * MINUTE + SECOND), None, "in_flight"),
    (account("a", modified_at=STARTED_AT - MINUTE), None, "in_flight"),
    (account("a", created_at=STARTED_AT + MINUTE), None, "in_flight"),
    (None, row("a"), "orphaned_row"),
    (None, row("a", created_at=None), "orphaned_row"),
    (None, row("a", created_at=STARTED_AT - MINUTE), "in_flight"),
    (None, row("a", notes=["deleted_not_boolean"]), "malformed_row"),
    (None, row("", notes=["id_not_text"]), "malformed_row"),
    (None, row("a", deleted=True, notes=["email_not_text"]), "malformed_row"),
]


def test_a_pair_is_in_the_first_situation_that_holds():
    accounts = [made for number, case in enumerate(SITUATION_CASES) for made in apart(number, case[0])]
    rows = [made for number, case in enumerate(SITUATION_CASES) for made in apart(number, case[1])]
    found = {line["account_id"] or line["row_id"]: line["situation"] for line in pairs(accounts, rows)}
    assert found == {
        (f"{number:02}-a" if one or other["id"] else ""): expected
        for number, (one, other, expected) in enumerate(SITUATION_CASES)
    }


def test_a_soft_deleted_row_without_account_is_nothing_to_report():
    assert pairs([], [row("a", deleted=True)]) == []


def test_an_unconfirmed_account_owes_no_row_only_where_the_trigger_waits_for_the_confirmation():
    unconfirmed = [account("a", status="UNCONFIRMED")]
    assert situation(unconfirmed, trigger="post_confirmation") == ["out_of_scope"]
    assert situation([account("a")], trigger="post_confirmation") == ["orphaned_account"]


def test_without_a_grace_period_only_what_came_after_the_read_began_is_young():
    young = [account("a", created_at=STARTED_AT + SECOND), account("b", created_at=STARTED_AT)]
    lines = pairs(young, grace_minutes=0)
    assert only(lines, account_id="a")["situation"] == "in_flight"
    assert only(lines, account_id="b")["situation"] == "orphaned_account"


def test_ids_that_differ_by_case_are_different_ids():
    assert sorted(situation([account("a")], [row("A")])) == ["duplicate", "orphaned_account", "orphaned_row"]


def test_a_case_only_difference_is_recorded_and_is_no_drift():
    line = only(pairs([account("a", email="A@mail.test")], [row("a", email=" a@mail.test")]))
    assert (line["situation"], line["also_case_only"]) == ("in_sync", True)
    assert not only(pairs([account("a")], [row("a")]))["also_case_only"]


def test_look_alike_emails_are_drift_and_noted():
    line = only(pairs([account("a", email="\u00e9@mail.test")], [row("a", email="e\u0301@mail.test")]))
    assert (line["situation"], line["notes"]) == ("drift", ["look_alike_email"])
    assert only(pairs([account("a")], [row("a", email="b@mail.test")]))["notes"] == []


def test_an_account_takes_one_row_and_the_further_ones_say_which():
    same = {"email": "a@mail.test"}
    rows = [
        row("old", created_at=LONG_AGO - DAY, deleted=True, **same),
        row("first", created_at=LONG_AGO, **same),
        row("second", created_at=LONG_AGO + HOUR, **same),
        row("undated", created_at=None, **same),
    ]
    lines = pairs([account("a")], rows, (), [seen("account", "a@mail.test")], correlation="email")
    assert only(lines, account_id="a")["row_id"] == "first"
    further = [only(lines, row_id=row_id) for row_id in ("second", "undated")]
    assert {(line["situation"], line["cause"]) for line in further} == {("orphaned_row", "unknown")}
    assert all("account a already has row first" in line["reason"] for line in further)
    assert "old" not in {line["row_id"] for line in lines}


def test_accounts_that_share_an_email_take_their_rows_in_order():
    accounts = [account("late", email="x@m.test"), account("early", email="X@m.test", created_at=LONG_AGO - DAY)]
    rows = [row("r2", email="x@m.test"), row("r1", email="x@m.test", created_at=LONG_AGO - DAY)]
    lines = pairs(accounts, rows, correlation="email")
    assert {line["account_id"]: line["row_id"] for line in lines if line["account_id"]} == {"early": "r1", "late": "r2"}


@pytest.mark.parametrize("owner", ["a", "sub-a::a"])
def test_an_owner_matches_by_username_alone_or_with_the_sub_before_it(owner):
    rows = [row("r", owner=owner, email="a@mail.test")]
    assert situation([account("a")], rows, correlation="owner") == ["in_sync"]


def test_null_keys_never_match():
    lines = pairs([account("a", sub=None)], [row("", email=None)], correlation="sub")
    assert sorted(line["situation"] for line in lines) == ["malformed_row", "orphaned_account"]


def test_a_pair_holds_its_email_once_and_a_second_subject_makes_a_duplicate():
    assert situation([account("a")], [row("a")]) == ["in_sync"]
    lines = pairs([account("a"), account("b", email="A@mail.test")], [row("a"), row("b", email="a@mail.test")])
    duplicate = only(lines, situation="duplicate")
    assert (duplicate["twins"], duplicate["email"]) == (["a", "b"], "a@mail.test")
    assert duplicate["account_id"] is None
    assert duplicate["row_id"] is None


@pytest.mark.parametrize("twin", [row("x", deleted=True), row("x", notes=["deleted_not_boolean"])])
def test_soft_deleted_and_malformed_rows_make_no_duplicate(twin):
    twin = twin | {"email": "a@mail.test", "email_key": "a@mail.test"}
    assert "duplicate" not in situation([account("a")], [row("a"), twin])


def test_a_finding_lists_the_others_with_its_email_and_never_itself():
    lines = pairs([account("a")], [row("b", email="a@mail.test"), row("c", email="a@mail.test")])
    assert only(lines, account_id="a")["twins"] == ["b", "c"]
    assert only(lines, row_id="b")["twins"] == ["a", "c"]


def test_an_email_of_thousands_gives_each_finding_a_hundred_and_the_duplicate_all():
    lines = pairs([account(f"a{number:03}", email="x@m.test") for number in range(150)])
    assert len(only(lines, situation="duplicate")["twins"]) == 150
    assert max(len(line["twins"]) for line in lines if line["situation"] != "duplicate") == 100


ATTEMPT_CASES = [
    ({"outcome": "error"}, "trigger_error"),
    ({"logged_error": "Error: no"}, "trigger_error"),
    ({"outcome": "timeout"}, "trigger_timeout"),
    ({"outcome": "oom"}, "trigger_out_of_memory"),
    ({"outcome": "exit"}, "trigger_exit"),
    ({"outcome": "incomplete"}, "trigger_incomplete"),
    ({"outcome": "completed"}, "silent_failure"),
    ({"outcome": "error", "trigger_source": "PostAuthentication_Authentication"}, "not_invoked"),
    ({"outcome": "error", "username": "b"}, "not_invoked"),
    ({"outcome": "error", "started_at": LONG_AGO - 10 * SECOND}, "trigger_error"),
    ({"outcome": "error", "started_at": LONG_AGO - 11 * SECOND}, "not_invoked"),
]


def test_the_last_attempt_says_why_an_account_has_no_row():
    accounts = [made for number in range(len(ATTEMPT_CASES)) for made in apart(number, account("a"))]
    runs = [made for number, case in enumerate(ATTEMPT_CASES) for made in apart(number, run("a") | case[0])]
    assert cause(accounts, [], runs) == {f"{number:02}-a": case[1] for number, case in enumerate(ATTEMPT_CASES)}


def test_the_last_attempt_of_the_last_group_counts():
    runs = [run("a", LONG_AGO + n * 5 * SECOND, outcome=o) for n, o in enumerate(["error", "error", "timeout", "oom"])]
    line = only(pairs([account("a")], [], runs[:3]))
    assert (line["cause"], line["attempts"], line["last_outcome"]) == ("trigger_timeout", 3, "timeout")
    assert line["request_ids"] == [made["request_id"] for made in runs[:3]]
    line = only(pairs([account("a")], [], runs))
    assert (line["cause"], line["attempts"], line["request_ids"]) == (
        "trigger_out_of_memory",
        1,
        [runs[3]["request_id"]],
    )


@pytest.mark.parametrize(("gap_s", "attempts"), [(9, 2), (9.001, 1)])
def test_attempts_belong_together_up_to_nine_seconds_apart(gap_s, attempts):
    runs = [run("a"), run("a", LONG_AGO + timedelta(seconds=gap_s))]
    assert only(pairs([account("a")], [], runs))["attempts"] == attempts


def test_a_sign_up_whose_first_attempts_took_their_time_is_still_its_accounts_own():
    runs = [run("a", LONG_AGO - timedelta(seconds=s)) for s in (12, 7, 2)]
    assert only(pairs([account("a")], [], runs))["attempts"] == 3


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([("2026-11-20T05:00:00Z", "2026-11-22T06:00:00Z")], "api_key_expired"),
        ([("2026-11-20T05:00:00Z", "2026-11-19T06:00:00Z")], "api_key_expired"),
        ([("2026-11-20T06:00:00Z", "2026-11-22T06:00:00Z")], "silent_failure"),
        ([(None, "2026-11-22T06:00:00Z")], "silent_failure"),
        (
            [("2026-11-20T05:00:00Z", "2026-11-19T06:00:00Z"), ("2026-12-20T05:00:00Z", "2026-11-20T05:59:00Z")],
            "silent_failure",
        ),
        (
            [("2026-11-20T05:00:00Z", "2026-11-19T06:00:00Z"), ("2026-12-20T05:00:00Z", "2026-11-21T06:00:00Z")],
            "api_key_expired",
        ),
        (
            [("2026-11-20T05:00:00Z", "2026-11-20T06:00:00Z"), ("2026-12-20T05:00:00Z", "2026-11-21T06:00:00Z")],
            "api_key_expired",
        ),
        ([], "silent_failure"),
    ],
)
def test_a_key_had_expired_only_where_the_key_of_that_time_is_known_to_have(facts, expected):
    keys = [{"digest": "d", "expires_at": expires_at, "seen_at": seen_at} for expires_at, seen_at in facts]
    line = only(pairs([account("a")], [], [run("a")], keys=keys))
    assert line["cause"] == expected
    assert line["evidence"] == ("inferred" if expected == "api_key_expired" else "observed")


def test_a_silent_failure_reads_as_one_plain_sentence():
    keys = [{"digest": "d", "expires_at": "2026-11-20T03:00:00Z", "seen_at": "2026-11-22T06:00:00Z"}]
    line = only(pairs([account("a")], [], [run("a", request_id="374c1803-4f27")], keys=keys))
    assert line["reason"] == (
        "Sign-up at 2026-11-20 06:00 UTC ran the trigger (374c1803), which finished in 812 ms without an error; "
        "no row was written. The API key had expired 3 h before."
    )


KIND_CASES = [
    ({"status": "FORCE_CHANGE_PASSWORD"}, "admin_created"),
    ({"status": "RESET_REQUIRED"}, "imported"),
    ({"status": "EXTERNAL_PROVIDER"}, "federated"),
    ({"attributes": '{"identities":"[]"}'}, "federated"),
    ({"attributes": r'{"name":"\"identities\":"}'}, "not_invoked"),
    ({}, "not_invoked"),
]


def test_without_a_run_the_kind_of_account_says_why_but_only_where_the_log_reaches():
    accounts = [made for number, case in enumerate(KIND_CASES) for made in apart(number, account("a", **case[0]))]
    assert cause(accounts) == {f"{number:02}-a": case[1] for number, case in enumerate(KIND_CASES)}
    assert set(cause(accounts, log_from=iso(LONG_AGO + SECOND)).values()) == {"logs_unavailable"}


@pytest.mark.parametrize(
    "wiring",
    [
        {"log_from": None},
        {"logs_complete": False},
        {"retention_days": 1},
        {"group_created_at": iso(LONG_AGO + SECOND)},
    ],
)
def test_evidence_begins_with_the_latest_of_first_read_retention_and_group(wiring):
    line = only(pairs([account("a")], **wiring))
    assert (line["cause"], line["evidence"]) == ("logs_unavailable", "unknown")


def test_evidence_covers_its_first_moment():
    assert cause([account("a")], log_from=iso(LONG_AGO)) == {"a": "not_invoked"}


def test_without_a_whole_log_no_run_gives_a_cause():
    runs = [run("a"), run("b", took=6 * SECOND)]
    assert cause([account("a")], [row("b")], runs, logs_complete=False) == {"a": "logs_unavailable", "b": "unknown"}


def test_a_providers_prefix_compares_without_case_for_federated_accounts_only():
    runs = [run("google_1Ab", outcome="error")]
    assert cause([account("Google_1Ab", status="EXTERNAL_PROVIDER")], [], runs) == {"Google_1Ab": "trigger_error"}
    assert cause([account("Google_1Ab")], [], runs) == {"Google_1Ab": "not_invoked"}
    assert cause([account("Google_1aB", status="EXTERNAL_PROVIDER")], [], runs) == {"Google_1aB": "federated"}


def failure(at):
    return run(None, at, outcome="init_error", request_id=None, trigger_source=None)


def test_a_start_failure_explains_an_account_only_when_no_other_one_can_be_meant():
    near, far = account("a"), account("b", created_at=LONG_AGO + HOUR)
    assert cause([near, far], [], [failure(LONG_AGO + 10 * SECOND)]) == {"a": "trigger_init_error", "b": "not_invoked"}
    assert cause([near], [], [failure(LONG_AGO + 11 * SECOND)]) == {"a": "not_invoked"}
    rival = account("b", created_at=LONG_AGO - HOUR, modified_at=LONG_AGO + 15 * SECOND)
    assert set(cause([near, rival], [], [failure(LONG_AGO + 8 * SECOND)]).values()) == {"not_invoked"}
    assert cause([near, rival], [row("b")], [failure(LONG_AGO + 8 * SECOND)])["a"] == "trigger_init_error"
    had_a_row = cause([near, rival], [], [failure(LONG_AGO + 8 * SECOND)], [seen("row", "b")])
    assert had_a_row == {"a": "trigger_init_error", "b": "row_deleted"}
    young = account("y", modified_at=STARTED_AT - MINUTE, created_at=LONG_AGO)
    assert cause([near, young], [], [failure(LONG_AGO)]) == {"a": "not_invoked", "y": None}
    line = only(pairs([near], [], [failure(LONG_AGO)]))
    assert (line["last_outcome"], line["attempts"], line["evidence"]) == ("init_error", 1, "inferred")


def test_a_row_that_was_seen_was_deleted_unless_it_was_an_earlier_holders():
    runs = [run("a", outcome="error")]
    line = only(pairs([account("a")], [], runs, [seen("row", "a")]))
    assert (line["cause"], line["suggested_action"]) == ("row_deleted", None)
    assert cause([account("a")], [], runs, [seen("row", "a", LONG_AGO - HOUR)]) == {"a": "trigger_error"}
    assert cause([account("a")], [], runs, [seen("account", "a")]) == {"a": "trigger_error"}


ROW_CASES = [
    ([run("r", took=6 * SECOND)], [seen("account", "r")], [], "account_deleted"),
    ([run("r", LONG_AGO - 12 * SECOND, took=12 * SECOND)], [], [account("x", email="r@mail.test")], "late_write"),
    ([run("r", took=5 * SECOND)], [], [account("x", email="R@mail.test")], "repeat_sign_up"),
    ([run("r")], [], [], "sign_up_rejected"),
    ([], [], [account("x", email="r@mail.test")], "unknown"),
    ([run("r", LONG_AGO - HOUR)], [], [], "unknown"),
    ([run("r", trigger_source="PostAuthentication_Authentication")], [], [], "unknown"),
]


def test_why_a_row_has_no_account():
    runs, known, others, rows = [], [], [], []
    for number, case in enumerate(ROW_CASES):
        for world, records in zip((runs, known, others, rows), (*case[:3], [row("r")]), strict=True):
            world += apart(number, *records)
    found = cause(others, rows, runs, known)
    assert {name: why for name, why in found.items() if name.endswith("-r")} == {
        f"{number:02}-r": case[3] for number, case in enumerate(ROW_CASES)
    }


def test_a_row_matched_by_email_or_owner_finds_its_sign_up_all_the_same():
    runs = [run("bob", email="r@mail.test")]
    assert cause([], [row("r")], runs, correlation="email") == {"r": "sign_up_rejected"}
    assert cause([], [row("r", owner="s::bob")], runs, correlation="owner") == {"r": "sign_up_rejected"}


def test_a_row_written_anew_by_a_password_reset_is_noted_with_its_evidence():
    reset = run("a", LONG_AGO + DAY, trigger_source="PostConfirmation_ConfirmForgotPassword")
    rewritten = row("a", created_at=LONG_AGO + DAY + SECOND / 2)
    line = only(pairs([account("a")], [rewritten], [reset]))
    assert (line["situation"], line["notes"]) == ("in_sync", ["overwritten_by_password_reset"])
    assert line["request_ids"] == [reset["request_id"]]
    assert only(pairs([account("a")], [row("a")], [reset]))["notes"] == []
    soon = run("a", LONG_AGO, trigger_source="PostConfirmation_ConfirmForgotPassword")
    assert only(pairs([account("a")], [row("a")], [soon]))["notes"] == []


def test_every_line_names_a_known_situation_and_cause_and_each_finding_says_why():
    runs = [run("a", outcome="error"), failure(LONG_AGO)]
    lines = pairs([account("a"), account("b"), account("c")], [row("b", email="z@m.test"), row("d")], runs)
    assert {line["situation"] for line in lines} <= set(SITUATIONS)
    assert {line["cause"] for line in lines} <= {*CAUSES, None}
    assert all(line["reason"].endswith(".") for line in lines)


def test_findings_are_what_needs_somebody():
    world = reconcile.reconcile(**tables([account("a"), account("b")], [row("a")]), manifest=manifest())
    assert reconcile.findings(world)["account_id"].to_pylist() == ["b"]
