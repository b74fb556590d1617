import os
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reconcile_kit import LONG_AGO, SECOND, STARTED_AT, account, manifest, row, run, seen, tables
from reconcile_oracle import Oracle

from lib import reconcile
from lib.model import CORRELATIONS, FINDINGS, iso

GRACE = timedelta(minutes=15)
LOG_FROM = LONG_AGO - timedelta(hours=1)
MS = timedelta(milliseconds=1)

NAMES = ["a", "A", "b", "c", "Google_1", "google_1"]
EMAILS = [None, "", " ", "x@m.test", "X@m.test", " x@m.test ", "y@m.test", "\u00e9@m.test", "e\u0301@m.test"]
STATUSES = ["CONFIRMED", "UNCONFIRMED", "FORCE_CHANGE_PASSWORD", "RESET_REQUIRED", "EXTERNAL_PROVIDER"]
NOTES = ["email_not_text", "owner_not_text", "id_not_text", "deleted_not_boolean", "ttl_in_milliseconds", "epoch_time"]
SOURCES = ["PreSignUp_SignUp", "PostConfirmation_ConfirmSignUp", "PostAuthentication_Authentication", None]
OUTCOMES = ["completed", "error", "timeout", "oom", "exit", "incomplete", "init_error"]

times = st.one_of(
    st.none(),
    st.sampled_from(
        [
            LOG_FROM - MS,
            LOG_FROM,
            LONG_AGO,
            LONG_AGO + 10 * SECOND,
            STARTED_AT - GRACE,
            STARTED_AT - GRACE + MS,
            STARTED_AT,
            STARTED_AT + SECOND,
        ]
    ),
)
starts = st.one_of(
    st.none(),
    st.sampled_from([-11, -10, -9, -1, 0, 4, 5, 8, 9, 10, 13, 18, 19, 27]).map(lambda s: LONG_AGO + s * SECOND),
    st.sampled_from([-1, 0, 1]).map(lambda ms: LONG_AGO + 10 * SECOND + ms * MS),
)


def sub_of(name):
    return st.sampled_from([name, f"s-{name}", None])


@st.composite
def accounts(draw):
    made = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6)):
        facts = {"sub": draw(sub_of(name)), "email": draw(st.sampled_from(EMAILS)), "created_at": draw(times)}
        facts |= {"modified_at": draw(times), "status": draw(st.sampled_from(STATUSES))}
        facts["attributes"] = draw(st.sampled_from([None, "{}", '{"identities":"[]"}', r'{"name":"\"identities\":"}']))
        made.append(account(name, **facts))
    return made


@st.composite
def rows(draw):
    made = []
    for row_id in draw(st.lists(st.sampled_from([*NAMES, "s-a", "s-b", "s-c", "other", ""]), unique=True, max_size=8)):
        name = draw(st.sampled_from(NAMES))
        facts = {"owner": draw(st.sampled_from([None, "", name, f"s-{name}::{name}", f"{name}::{name}"]))}
        facts |= {"email": draw(st.sampled_from(EMAILS)), "created_at": draw(times)}
        facts |= {"version": draw(st.sampled_from([None, 1])), "deleted": draw(st.sampled_from([None, False, True]))}
        facts["notes"] = draw(st.one_of(st.none(), st.lists(st.sampled_from(NOTES), unique=True, max_size=1)))
        made.append(row(row_id, **facts))
    return made


@st.composite
def invocations(draw):
    made = []
    for number in range(draw(st.integers(0, 10))):
        facts = {"trigger_source": draw(st.sampled_from(SOURCES)), "outcome": draw(st.sampled_from(OUTCOMES))}
        facts |= {"logged_error": draw(st.sampled_from([None, None, "Error: no"]))}
        facts |= {"email": draw(st.sampled_from(EMAILS)), "request_id": f"r{number}"}
        name, started_at = draw(st.sampled_from([*NAMES, None])), draw(starts)
        if name is None:
            facts["request_id"] = None
        took = draw(st.sampled_from([None, SECOND, 5 * SECOND, 5 * SECOND + MS]))
        made.append(run(name, LONG_AGO, took, **facts) | {"started_at": started_at})
        if started_at is not None and took is not None:
            made[-1]["ended_at"] = started_at + took
    return made


facts_seen = st.builds(
    seen,
    st.sampled_from(["account", "row"]),
    st.sampled_from([*NAMES, "s-a", "a::a", "s-a::a", "x@m.test"]),
    st.sampled_from([LONG_AGO - 11 * SECOND, LONG_AGO - 10 * SECOND, STARTED_AT]),
)
keys = st.lists(
    st.fixed_dictionaries(
        {
            "digest": st.just("d"),
            "expires_at": st.sampled_from([LONG_AGO - SECOND, LONG_AGO, LONG_AGO + SECOND]),
            "seen_at": st.sampled_from([LONG_AGO - SECOND, LONG_AGO, LONG_AGO + 6 * SECOND]),
        }
    ),
    max_size=3,
)
worlds = st.fixed_dictionaries(
    {
        "accounts": accounts(),
        "rows": rows(),
        "invocations": invocations(),
        "seen": st.lists(facts_seen, max_size=2),
        "correlation": st.sampled_from(CORRELATIONS),
        "trigger": st.sampled_from(["pre_sign_up", "post_confirmation"]),
        "versioned": st.booleans(),
        "log_from": st.sampled_from([None, LOG_FROM, LOG_FROM]),
        "keys": keys,
    }
)


def judged(world):
    named = {name: world[name] for name in ("correlation", "trigger", "versioned")}
    facts = manifest(
        **named,
        log_from=world["log_from"] and iso(world["log_from"]),
        keys=[
            {"digest": k["digest"], "expires_at": iso(k["expires_at"]), "seen_at": iso(k["seen_at"])}
            for k in world["keys"]
        ],
    )
    made = tables(world["accounts"], world["rows"], world["invocations"], world["seen"])
    return reconcile.reconcile(**made, manifest=facts)


def in_order(lines):
    return sorted(lines, key=lambda line: str((line["situation"], line["account_id"], line["row_id"], line["email"])))


@settings(max_examples=int(os.environ.get("POOLTABLE_WORLDS", "40")), deadline=None)
@given(worlds)
def test_the_statement_judges_every_small_world_as_the_plain_rules_do(world):
    compared = Oracle(**world, started_at=STARTED_AT, grace=GRACE).lines()
    names = list(compared[0]) if compared else []
    made = judged(world)
    assert made.schema == FINDINGS
    assert in_order([{name: line[name] for name in names} for line in made.to_pylist()]) == in_order(compared)


@settings(max_examples=8, deadline=None)
@given(worlds, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_of_the_input_change_what_is_found(world, random):
    shuffled = world | {name: random.sample(world[name], len(world[name])) for name in ("accounts", "rows", "seen")}
    first, second = judged(world), judged(shuffled)
    assert reconcile.findings(first).equals(reconcile.findings(second))


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_a_world_without_anything_gives_no_line(correlation):
    made = reconcile.reconcile(**tables(), manifest=manifest(correlation=correlation))
    assert made.num_rows == 0
    assert made.schema == FINDINGS


def test_large_strings_and_columns_of_nulls_are_read_as_well():
    made = tables([account("a")], [row("a")])
    made["accounts"] = made["accounts"].set_column(0, "username", pa.array(["a"], pa.large_string()))
    made["rows"] = made["rows"].set_column(8, "owner", pa.nulls(1))
    assert reconcile.reconcile(**made, manifest=manifest())["situation"].to_pylist() == ["in_sync"]
