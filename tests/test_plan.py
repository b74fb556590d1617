import io
import json
import stat
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
import trends_kit as kit
from hypothesis import given
from hypothesis import strategies as st

from lib.cli import repairing
from lib.config import Settings
from lib.model import ConfigError, Refused
from lib.repair.plan import Plan, Step, plan
from lib.repair.step import EVENT, FUNCTION, ORIGIN, is_written, same, typed_item

AT = kit.NOW - timedelta(days=2)
HOSTILE = "a'\"; $(touch x) `id` \u202e\n😀@mail.test"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def settings(**changed):
    return Settings("test", "eu-west-1_Test", "eu-west-1", **{"max_repair_percent": 100} | changed)


def snapshot_of(*tables, **wiring):
    snapshot = kit.snapshot(*tables, **wiring)
    snapshot.manifest["digest"] = "d1"
    return snapshot


def row(name, **more):
    owner = more.pop("owner", f"sub-{name}::{name}")
    item = {"id": name, "email": more.get("email", f"{name}@mail.test"), "owner": owner, "__typename": "User"}
    item |= more.pop("attributes", {})
    return kit.row(name, AT, owner=owner, typename="User", item=json.dumps(item), **more)


def world(lost=("lost",), healthy=2, **wiring):
    names = [f"user{number}" for number in range(healthy)]
    accounts = [kit.account(name, AT, email_verified=True) for name in (*names, *lost)]
    return snapshot_of(accounts, [row(name) for name in names], **wiring)


def test_a_created_row_takes_the_accounts_values_and_the_form_of_healthy_rows():
    made = plan(world(), settings())
    [step] = made.steps
    assert (step.number, step.action, step.situation) == (1, "create_row", "orphaned_account")
    assert step.before is None
    assert step.after == {
        "id": {"S": "lost"},
        "email": {"S": "lost@mail.test"},
        "owner": {"S": "sub-lost::lost"},
        "__typename": {"S": "User"},
    }
    assert made.cost == {"admin_get_user": 1, "writes": 1}
    assert made.warnings == ()
    assert not made.over_threshold


def test_in_a_versioned_table_a_created_row_begins_at_version_one():
    names = ["user0"]
    snapshot = snapshot_of(
        [kit.account(name, AT) for name in (*names, "lost")], [row(name, version=1) for name in names], versioned=True
    )
    [step] = plan(snapshot, settings()).steps
    assert step.after["_version"] == {"N": "1"}
    wanted = step.wanted(None, AT)
    assert wanted["createdAt"] == wanted["updatedAt"] == {"S": "2026-11-20T18:30:00.000Z"}
    assert wanted["_lastChangedAt"] == {"N": "1795199400000"}


def test_the_writer_is_the_api_where_one_is_known_and_never_a_silent_fallback():
    assert plan(world(), settings()).writer == "dynamodb"
    found = plan(world(graphql_url="https://x/graphql"), settings())
    assert (found.writer, found.api) == ("appsync", "https://x/graphql")
    assert plan(world(graphql_url="https://x/graphql"), settings(writer="dynamodb")).api is None
    with pytest.raises(Refused, match="no API is known"):
        plan(world(), settings(writer="appsync"))


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        (["sub-{0}::{0}"] * 100, "sub-lost::lost"),
        (["sub-{0}::{0}"] * 99 + [None], "sub-lost::lost"),
        (["{0}"] * 100, "lost"),
        (["sub-{0}"] * 100, "sub-lost"),
        ([None] * 100, None),
        (["sub-{0}::{0}"] * 98 + [None] * 2, None),
        ([], None),
    ],
)
def test_the_owner_form_is_that_of_99_percent_of_healthy_rows(owners, expected):
    accounts = [kit.account(name, AT) for name in (*(f"u{number}" for number in range(len(owners))), "lost")]
    rows = [row(f"u{number}", owner=owner and owner.format(f"u{number}")) for number, owner in enumerate(owners)]
    made = plan(snapshot_of(accounts, rows), settings())
    assert made.steps[0].after.get("owner") == (expected and {"S": expected})
    assert any("no common form of owner" in warning for warning in made.warnings) == (owners.count(None) == 2)


def test_the_typename_is_that_of_most_rows():
    accounts = [kit.account(name, AT) for name in ("a", "b", "c", "lost")]
    rows = [row(name) | {"typename": "Member"} for name in ("a", "b")] + [row("c")]
    assert plan(snapshot_of(accounts, rows), settings()).steps[0].after["__typename"] == {"S": "Member"}


def test_configured_attributes_are_filled_from_the_account():
    accounts = [kit.account("lost", AT, attributes=json.dumps({"custom:plan": "gold", "name": "{sub}"}))]
    form = {"owner": "{username}", "plan": "{custom:plan}/{name}", "kind": "app"}
    [step] = plan(snapshot_of(accounts), settings(row=form)).steps
    assert step.after["owner"] == {"S": "lost"}
    assert step.after["plan"] == {"S": "gold/{sub}"}
    assert step.after["kind"] == {"S": "app"}
    assert step.account["custom:plan"] == "gold"


def test_a_missing_attribute_stops_the_step_and_names_it():
    accounts = [kit.account("lost", AT), kit.account("found", AT, attributes='{"name": "x"}')]
    made = plan(snapshot_of(accounts), settings(row={"name": "{name}"}))
    assert [step.account_id for step in made.steps] == ["found"]
    assert made.steps[0].number == 1
    assert made.warnings == ("Account sub-lost is left out: it has no name, which its row needs.",)


def test_an_account_without_an_email_gets_a_row_without_one():
    [step] = plan(snapshot_of([kit.account("phone", AT, email=None)]), settings()).steps
    assert step.after == {"id": {"S": "phone"}, "__typename": {"S": "User"}}


def test_drift_takes_the_accounts_email_and_leaves_all_else():
    accounts = [kit.account("user0", AT, email="new@mail.test", email_verified=True)]
    extra = {"list": [1, 2.5, None, True], "map": {"deep": "x"}, "n": 12345678901234567890}
    [step] = plan(snapshot_of(accounts, [row("user0", attributes=extra)]), settings()).steps
    assert step.action == "update_row"
    assert step.changes() == {"email": {"S": "new@mail.test"}}
    assert step.before["n"] == {"N": "12345678901234567890"}
    assert {**step.before, "email": step.after["email"]} == step.after


def test_drift_to_an_unverified_email_is_planned_only_by_id():
    for verified in (False, None):
        accounts = [kit.account("user0", AT, email="new@mail.test", email_verified=verified)]
        snapshot = snapshot_of(accounts, [row("user0")])
        left_out = plan(snapshot, settings())
        assert left_out.steps == ()
        assert "not verified" in left_out.warnings[0]
        assert [step.action for step in plan(snapshot, settings(), ids=["sub-user0"]).steps] == ["update_row"]


def test_a_deleted_row_is_planned_only_by_id():
    seen = [{"kind": "row", "id": "lost", "first_seen": AT, "last_seen": AT, "source": "snapshot"}]
    snapshot = snapshot_of([kit.account("lost", AT)], seen=seen)
    assert snapshot.findings["cause"].tolist() == ["row_deleted"]
    left_out = plan(snapshot, settings())
    assert left_out.steps == ()
    assert "somebody may have meant" in left_out.warnings[0]
    for id in ("lost", "sub-lost"):
        assert len(plan(snapshot, settings(), ids=[id]).steps) == 1


def test_situations_causes_and_ids_narrow_the_plan():
    accounts = [kit.account(name, AT, email=f"{name}@new.test", email_verified=True) for name in ("a", "b", "drifted")]
    snapshot = snapshot_of(accounts, [row("drifted"), row("alone")])
    assert [step.action for step in plan(snapshot, settings()).steps] == ["create_row", "create_row", "update_row"]
    assert [step.account_id for step in plan(snapshot, settings(), ids=["sub-b"]).steps] == ["b"]
    assert [step.action for step in plan(snapshot, settings(), situations=["drift"]).steps] == ["update_row"]
    assert plan(snapshot, settings(), causes=["trigger_timeout"]).steps == ()
    assert len(plan(snapshot, settings(), causes=["not_invoked"]).steps) == 2
    assert [step.action for step in plan(snapshot, settings(), situations=["orphaned_row"]).steps] == ["delete_row"]
    unknown = plan(snapshot, settings(), ids=["nobody@mail.test"])
    assert unknown.steps == ()
    assert unknown.warnings == ("n•••y@mail.test is left out: the snapshot has no such finding about it.",)


def test_an_empty_environment_gives_an_empty_plan():
    assert plan(snapshot_of(), settings()).steps == ()


@pytest.mark.parametrize(
    ("manifest", "accepted", "message"),
    [
        ({"complete": False}, True, "not everything was read: rows \\(AccessDenied"),
        ({"suspicious": True, "reasons": ["The table is empty."]}, False, "suspicious: The table is empty"),
    ],
)
def test_a_snapshot_that_cannot_be_trusted_gives_no_plan(manifest, accepted, message):
    snapshot = world()
    snapshot.manifest.update(manifest)
    if not snapshot.manifest["complete"]:
        snapshot.manifest["sources"]["rows"]["why_not"] = "AccessDenied"
    with pytest.raises(Refused, match=message):
        plan(snapshot, settings(), accepted=accepted)


def test_an_accepted_suspicious_snapshot_gives_a_plan():
    snapshot = world()
    snapshot.manifest.update(suspicious=True, reasons=["x"])
    assert plan(snapshot, settings(), accepted=True).accepted


def test_without_a_known_correlation_there_is_no_plan():
    snapshot = world()
    snapshot.wiring = replace(snapshot.wiring, correlation=None)
    with pytest.raises(Refused, match="not known how rows are matched"):
        plan(snapshot, settings())


def test_by_sub_the_id_is_the_sub():
    snapshot = snapshot_of([kit.account("lost", AT)], correlation="sub")
    assert plan(snapshot, settings()).steps[0].row_id == "sub-lost"
    with pytest.raises(Refused, match="row] id makes another id"):
        plan(snapshot, settings(row={"id": "{username}"}))


def test_by_email_the_id_is_of_the_form_of_healthy_rows_or_configured():
    accounts = [kit.account(name, AT) for name in ("a", "b", "lost")]
    rows = [row(name) | {"id": f"sub-{name}"} for name in ("a", "b")]
    assert plan(snapshot_of(accounts, rows, correlation="email"), settings()).steps[0].row_id == "sub-lost"
    odd = snapshot_of(accounts, [rows[0], rows[1] | {"id": "odd"}], correlation="email")
    with pytest.raises(Refused, match="no common form of id"):
        plan(odd, settings())
    assert plan(odd, settings(row={"id": "x-{username}"})).steps[0].row_id == "x-lost"


def test_by_owner_a_created_row_must_have_one():
    accounts = [kit.account(name, AT) for name in ("a", "lost")]
    snapshot = snapshot_of(accounts, [row("a")], correlation="owner")
    assert plan(snapshot, settings()).steps[0].after["owner"] == {"S": "sub-lost::lost"}
    alone = snapshot_of(accounts[1:], correlation="owner")
    with pytest.raises(Refused, match="no common form"):
        plan(alone, settings(row={"id": "{username}"}))
    assert plan(alone, settings(row={"id": "{sub}", "owner": "{username}"})).steps[0].after["owner"] == {"S": "lost"}


@pytest.mark.parametrize(
    ("steps", "healthy", "changed", "over"),
    [
        (3, 0, {"max_repairs": 3}, False),
        (4, 0, {"max_repairs": 3}, True),
        (1, 0, {"max_repairs": 0}, True),
        (10, 0, {"max_repair_percent": 10}, False),
        (11, 99, {"max_repair_percent": 10}, False),
        (11, 98, {"max_repair_percent": 10}, True),
        (11, 0, {"max_repair_percent": 100}, False),
    ],
)
def test_one_step_over_a_threshold_is_over_it(steps, healthy, changed, over):
    made = plan(world([f"lost{number}" for number in range(steps)], healthy), settings(**changed))
    assert len(made.steps) == steps
    assert made.over_threshold is over
    assert any(f"--release {steps}" in warning for warning in made.warnings) is over


def test_a_plan_survives_its_file_which_is_for_its_owner_only(tmp_path):
    made = plan(world(("lost", HOSTILE)), settings())
    path = tmp_path / "plan.json"
    path.write_text("an older plan")
    path.chmod(0o644)
    made.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Plan.load(path) == made
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"plan": 1}', '{"plan": 2}', '{"plan": 1, "steps": [{}]}'])
def test_what_is_no_plan_is_said_to_be_none(text):
    with pytest.raises(ConfigError, match="plan"):
        Plan.from_json(text)


def test_a_plan_file_that_cannot_be_read_or_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read the plan"):
        Plan.load(tmp_path / "missing.json")
    with pytest.raises(ConfigError, match="Cannot write"):
        plan(world(), settings()).save(tmp_path / "missing" / "plan.json")


def test_the_text_of_a_plan_masks_emails_and_stays_on_its_lines():
    accounts = [kit.account(HOSTILE, AT), kit.account("anna.lost@mail.test", AT)]
    made = plan(snapshot_of(accounts), settings())
    text = made.text()
    assert "a•••t@mail.test" in text
    assert "anna.lost@mail.test" not in text
    assert "\u202e" not in text
    assert len(text.splitlines()) == 2 + 4 * len(made.steps)
    assert "and 1 more" in made.text(1)
    assert repr(made) == made.text(20)


def test_the_command_of_a_step_is_one_word_per_argument_in_a_shell():
    accounts = [kit.account(HOSTILE, AT), kit.account("user0", AT, email="'; rm -rf / #@x", email_verified=True)]
    made = plan(snapshot_of(accounts, [row("user0")]), settings())
    create, update = (
        subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {made.aws_cli(step)}"], capture_output=True, check=True)
        .stdout.decode()
        .split("\0")
        for step in made.steps
    )
    assert create[:3] == ["aws", "dynamodb", "put-item"]
    assert json.loads(create[create.index("--item") + 1])["id"] == {"S": HOSTILE}
    assert "attribute_not_exists(id)" in create
    assert update[2] == "update-item"
    values = json.loads(update[update.index("--expression-attribute-values") + 1])
    assert {"S": "'; rm -rf / #@x"} in values.values()
    held = update[update.index("--condition-expression") + 1]
    assert (held.count(" = "), held.count("attribute_not_exists")) == (4, 1)


ITEMS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=5,
)


@given(ITEMS)
def test_an_item_read_from_a_snapshot_is_the_same_as_the_row_it_came_from(values):
    item = typed_item(json.dumps(values | {"id": "a"}))
    assert same(item, item)
    assert not same(item, item | {"another": {"S": "x"}})
    assert is_written(item, item, created=False)


@given(ITEMS, ITEMS)
def test_what_a_step_wants_then_its_inverse_is_the_row_it_began_with(before, after):
    before, after = (typed_item(json.dumps(values | {"id": "a"})) for values in (before, after))
    step = Step(1, "update_row", "drift", "a", "s", "a", before, after, "", "")
    there = step.wanted(before, AT)
    back = replace(step, before=there, after=before).wanted(there, AT)
    assert {name: value for name, value in back.items() if name != "updatedAt"} == {
        name: value for name, value in before.items() if name != "updatedAt"
    }
    assert is_written(there, after | {"updatedAt": {"S": "any"}}, created=False)


def test_a_row_of_another_version_is_not_what_was_written_whatever_its_times():
    wanted = {"id": {"S": "a"}, "_version": {"N": "2"}, "updatedAt": {"S": "x"}}
    assert is_written(wanted | {"updatedAt": {"S": "y"}, "_lastChangedAt": {"N": "1"}}, wanted, created=False)
    assert not is_written(wanted | {"_version": {"N": "8"}}, wanted, created=False)
    assert not is_written(wanted | {"_deleted": {"BOOL": True}}, wanted, created=False)
    assert not is_written(wanted | {"more": {"S": "x"}}, wanted, created=False)
    assert is_written(wanted | {"more": {"S": "x"}}, wanted, created=True)
    assert not is_written(None, wanted, created=True)
    assert is_written(wanted | {"_deleted": {"BOOL": True}}, None, created=False)
    assert not is_written(wanted, None, created=False)


def test_a_notebook_shows_a_table_in_which_nothing_runs_and_no_address_stands():
    planned = plan(world(), settings())
    hostile = replace(planned, warnings=("<img src=x onerror=alert(1)> anna@mail.test",))._repr_html_()
    assert "<img" not in hostile
    assert "anna@mail.test" not in hostile
    assert "<table" in hostile


def test_a_plan_edited_by_hand_is_refused_as_a_whole(tmp_path):
    made = plan(world(), settings())
    made.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == made
    content = json.loads((tmp_path / "plan.json").read_text())
    content["steps"][0]["after"]["email"] = {"S": "evil@mail.test"}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(Refused, match="was changed after it was made"):
        Plan.load(tmp_path / "plan.json")


class Terminal(io.StringIO):
    """A person at a terminal, who answers with what is in it."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("lost", "action", "answers", "agreed"),
    [
        (25, "create_row", "y\n", True),
        (25, "create_row", "n\n", False),
        (26, "create_row", "26\n", True),
        (26, "create_row", "25\n", False),
        (1, "delete_row", "1\n", True),
        (1, "delete_row", "2\n", False),
        (1, "replay", "1\n", True),
        (1, "replay", "2\n", False),
    ],
)
def test_deletes_replays_and_many_writes_are_agreed_to_by_their_count(monkeypatch, lost, action, answers, agreed):
    made = plan(world([f"lost{number}" for number in range(lost)]), settings())
    steps = tuple(
        replace(step, action=action, before=step.after, after=None)
        if action == "delete_row"
        else replace(step, action=action, account={**step.account, FUNCTION: "f", EVENT: "{}", ORIGIN: "recorded"})
        for step in made.steps
    )
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    with nullcontext() if agreed else pytest.raises(Refused, match="Nothing was written"):
        repairing._agreed(replace(made, steps=steps), yes=False)
