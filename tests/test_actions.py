"""Every action through both writers: what it writes, when it is refused, and that its undo takes it back."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repair_kit import Fault, Services

from lib import repair
from lib.aws import api_type
from lib.aws.api_type import ApiType
from lib.journal import Journal
from lib.model import now
from lib.repair.inverse import inverse
from lib.repair.plan import doubt, plan
from lib.repair.planner import ACTIONS
from lib.repair.step import Step

KINDS = [("dynamodb", False), ("dynamodb", True), ("appsync", True), ("appsync", False)]
NAMES = ["-".join((kind[0], "versioned" if kind[1] else "plain")) for kind in KINDS]
SERVICE = ("updatedAt", "_version", "_lastChangedAt", "_ttl")
GONE = {"_deleted": {"BOOL": True}, "_ttl": {"N": "1900000000"}}
EVERY = ["orphaned_account", "drift", "tombstone", "unversioned_row", "orphaned_row"]


@pytest.fixture(scope="module")
def services():
    running = Services()
    yield running
    running.stop()


@pytest.fixture(params=KINDS, ids=NAMES)
def town(request, services):
    return services.town(writer=request.param[0], versioned=request.param[1])


@pytest.fixture(params=KINDS[1:3], ids=NAMES[1:3])
def versioned(request, services):
    return services.town(writer=request.param[0], versioned=request.param[1])


@pytest.fixture
def journal(tmp_path):
    opened = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    yield opened
    opened.close()


def apply(town, journal, planned, **options):
    return repair.apply(planned, town.world, journal, who="ana", settings=town.settings, **({"records": 100} | options))


def undo(town, journal, run):
    return apply(town, journal, repair.undo_plan(journal, run.run_id), records=None)


def states(run):
    return [outcome.state for outcome in run.outcomes]


def unversioned_row(town, name, **attributes):
    item = town.row(name, **attributes)
    for field in ("_version", "_lastChangedAt"):
        item.pop(field)
    town.dynamodb.put_item(TableName=town.table, Item=item)


def kept(rows):
    """What an undo must bring back: everything but what the service itself sets."""
    return {id: {name: value for name, value in row.items() if name not in SERVICE} for id, row in rows.items()}


# Reviving


def test_a_revived_row_lives_with_the_accounts_values_and_its_undo_buries_it_as_it_was(versioned, journal):
    town = versioned
    town.account("a", "new@mail.test")
    town.row("a", nick={"S": "mine"}, **GONE)
    before = town.rows()
    planned = town.plan(situations=["tombstone"])
    [step] = planned.steps
    assert (step.action, step.condition) == ("revive_row", "every attribute is as it was read")
    assert step.changes() == {"_deleted": None, "_ttl": None, "email": {"S": "new@mail.test"}}
    run = apply(town, journal, planned)
    assert states(run) == ["done"]
    row = town.rows()["a"]
    assert (row["email"], row["nick"], row["_version"]) == ({"S": "new@mail.test"}, {"S": "mine"}, {"N": "2"})
    assert not {"_deleted", "_ttl"} & set(row)
    assert town.plan(situations=EVERY).steps == ()
    assert states(apply(town, journal, planned)) == ["already"]
    assert states(undo(town, journal, run)) == ["done"]
    assert kept(town.rows()) == kept(before)


def test_a_tombstone_is_revived_only_when_it_is_named_and_with_aws_warning(versioned):
    town = versioned
    town.account("a")
    town.row("a", **GONE)
    assert town.plan().steps == ()
    for named in ({"situations": ["tombstone"]}, {"ids": ["a"]}, {"ids": ["sub-a"]}):
        planned = town.plan(**named)
        assert [step.action for step in planned.steps] == ["revive_row"]
        assert any("errors or data loss" in note for note in planned.notes)
    own = town.plan(ids=["a"], own_tombstones=lambda rows: rows)
    assert not any("data loss" in note for note in own.notes)
    assert any("AppSync has no undelete" in note for note in own.notes)


def test_a_role_that_may_not_write_past_the_api_fails_that_step_and_no_other(services, journal):
    town = services.town(writer="appsync", versioned=True)
    town.account("a")
    town.row("a", **GONE)
    town.row("alone")
    town.gate.faults = [Fault(400, code="AccessDeniedException")]
    run = apply(town, journal, town.plan(situations=EVERY))
    assert [(outcome.number, outcome.state) for outcome in run.outcomes] == [(1, "failed"), (2, "done")]
    assert "dynamodb:UpdateItem" in run.outcomes[0].message


def test_a_tombstone_takes_an_unverified_email_only_by_id(versioned):
    town = versioned
    town.account("a", "new@mail.test", email_verified="false")
    town.row("a", **GONE)
    planned = town.plan(situations=["tombstone"])
    assert planned.steps == ()
    assert "not verified" in planned.warnings[0]
    assert len(town.plan(ids=["a"]).steps) == 1


@pytest.mark.parametrize(("meanwhile", "state"), [("gone", "refused"), ("changed", "refused"), ("revived", "already")])
def test_a_tombstone_that_moved_is_not_revived(versioned, journal, meanwhile, state):
    town = versioned
    town.account("a")
    town.row("a", **GONE)
    planned = town.plan(ids=["a"])
    if meanwhile == "gone":
        town.remove("a")
    elif meanwhile == "changed":
        town.change("a", "nick", {"S": "x"})
    else:
        town.row("a")
    before = town.rows()
    assert states(apply(town, journal, planned)) == [state]
    assert town.rows() == before


# Stamping


def test_a_stamped_row_has_a_version_and_is_otherwise_as_it_was(versioned, journal):
    town = versioned
    town.account("a")
    unversioned_row(town, "a", nick={"S": "mine"})
    before = town.rows()
    assert town.plan().steps == ()
    planned = town.plan(situations=["unversioned_row"])
    assert [step.action for step in planned.steps] == ["stamp_row"]
    run = apply(town, journal, planned)
    assert states(run) == ["done"]
    row = town.rows()["a"]
    assert row["_version"] == {"N": "1"}
    assert "_lastChangedAt" in row
    assert kept(town.rows()) == kept(before)
    assert town.plan(situations=EVERY).steps == ()
    assert states(apply(town, journal, planned)) == ["already"]
    assert any("cannot be undone" in note for note in planned.notes)
    undone = repair.undo_plan(journal, run.run_id)
    assert undone.steps == ()
    assert undone.notes == ("1 stamped row keeps its version.",)


def test_a_version_that_is_no_number_is_mended_by_a_direct_write_only(services, journal):
    for writer in ("appsync", "dynamodb"):
        town = services.town(writer=writer, versioned=True)
        town.account("a")
        town.row("a", _version={"S": "3"})
        planned = town.plan(ids=["a"])
        assert len(planned.steps) == (writer == "dynamodb")
        assert any("no number" in warning for warning in planned.warnings) is (writer == "appsync")
    assert states(apply(town, journal, planned)) == ["done"]
    assert town.rows()["a"]["_version"] == {"N": "1"}


def test_a_row_that_the_app_changed_before_its_stamp_is_refused(versioned, journal):
    town = versioned
    town.account("a")
    unversioned_row(town, "a")
    planned = town.plan(ids=["a"])
    town.change("a", "nick", {"S": "x"})
    assert states(apply(town, journal, planned)) == ["refused"]
    assert "_version" not in town.rows()["a"]


# Deleting


def test_a_deleted_row_leaves_what_the_table_leaves_and_its_undo_brings_it_back_whole(town, journal):
    town.account("fine")
    town.row("fine")
    town.row("alone", nick={"S": "mine"}, tags={"SS": ["a", "b"]}, big={"S": "x" * 20_000})
    before = town.rows()
    assert town.plan().steps == ()
    planned = town.plan(ids=["alone"])
    [step] = planned.steps
    assert (step.action, step.account) == ("delete_row", {})
    assert step.condition.startswith("no account has this row")
    run = apply(town, journal, planned)
    assert states(run) == ["done"]
    left = town.rows().get("alone")
    assert (left is not None and left["_deleted"] == {"BOOL": True}) if town.versioned else left is None
    if town.versioned:
        assert abs(int(left["_ttl"]["N"]) - now().timestamp() - 30 * 86400) < 60
    assert town.plan(situations=EVERY).steps == ()
    assert states(apply(town, journal, planned)) == ["already"]
    assert states(undo(town, journal, run)) == ["done"]
    assert kept(town.rows()) == kept(before)


def test_a_row_whose_account_has_come_is_not_deleted(town, journal):
    town.row("alone")
    planned = town.plan(situations=["orphaned_row"])
    town.account("alone")
    run = apply(town, journal, planned)
    assert states(run) == ["refused"]
    assert "An account has come" in run.outcomes[0].message
    assert "_deleted" not in town.rows()["alone"]


@pytest.mark.parametrize("moved", ["before", "during"])
def test_a_row_that_the_app_changed_is_not_deleted(town, journal, moved):
    town.row("alone")
    planned = town.plan(ids=["alone"])

    def app_writes():
        town.gate.before_write = None
        town.change("alone", "email", {"S": "app@mail.test"})

    if moved == "before":
        app_writes()
    else:
        town.gate.before_write = app_writes
    assert states(apply(town, journal, planned)) == ["refused"]
    assert town.rows()["alone"]["email"] == {"S": "app@mail.test"}


def test_by_sub_the_account_is_looked_for_by_its_sub(services, journal):
    town = services.town(writer="dynamodb", versioned=False)
    town.wiring = replace(town.wiring, correlation="sub")
    town.row("sub-late")
    planned = town.plan(situations=["orphaned_row"])
    town.account("late")
    assert states(apply(town, journal, planned)) == ["refused"]
    town.forget("late")
    assert states(apply(town, journal, planned)) == ["done"]


@pytest.mark.parametrize("correlation", ["email", "owner"])
def test_a_further_row_is_deleted_only_while_its_account_has_the_other(services, journal, correlation):
    town = services.town(writer="dynamodb", versioned=False)
    town.wiring = replace(town.wiring, correlation=correlation)
    town.account("a")
    same = {"email": {"S": "a@mail.test"}, "owner": {"S": "sub-a::a"}}
    town.row("first", **same, createdAt={"S": "2026-01-01T00:00:00.000Z"})
    town.row("second", **same)
    planned = town.plan(ids=["second"])
    [step] = planned.steps
    assert (step.account_id, step.account["kept_row"]) == ("a", "first")
    assert doubt(planned, town.snapshot(), town.settings) is None
    first = town.rows()["first"]
    town.remove("first")
    run = apply(town, journal, planned)
    assert states(run) == ["refused"]
    assert "its only one" in run.outcomes[0].message
    town.dynamodb.put_item(TableName=town.table, Item=first)
    run = apply(town, journal, planned)
    assert states(run) == ["done"]
    assert set(town.rows()) == {"first"}
    assert states(undo(town, journal, run)) == ["done"]
    assert set(town.rows()) == {"first", "second"}


@pytest.mark.parametrize(
    ("action", "before", "after", "inverse_action"),
    [
        ("create_row", None, {"id": {"S": "a"}}, "delete_row"),
        ("update_row", {"id": {"S": "a"}}, {"id": {"S": "a"}, "email": {"S": "x"}}, "update_row"),
        ("revive_row", {"id": {"S": "a"}, **GONE}, {"id": {"S": "a"}}, "delete_row"),
        ("delete_row", {"id": {"S": "a"}}, {"id": {"S": "a"}, **GONE}, "revive_row"),
        ("delete_row", {"id": {"S": "a"}}, None, "create_row"),
    ],
)
def test_what_takes_an_action_back_is_named_for_what_it_does(action, before, after, inverse_action):
    situation = next(name for name, does in ACTIONS.items() if does == action)
    step = Step(3, action, situation, None, None, "a", before, after, "", "", {"sub": "s"})
    back = inverse(step)
    assert (back.action, back.before, back.after) == (inverse_action, after, before)
    assert (back.account, back.needs_no_account) == ({}, False)
    assert back.deletes is (inverse_action == "delete_row")


# Duplicates


def test_of_duplicates_a_person_chooses_and_a_living_accounts_row_stays(town, journal):
    town.account("a")
    town.row("a")
    town.row("again", email={"S": "A@mail.test"})
    listed = town.plan(situations=["duplicate"])
    assert listed.steps == ()
    [sentence] = listed.warnings
    assert "2 holders" in sentence
    assert "row again without an account (delete it with --id)" in sentence
    assert "account sub-a (stays: its row belongs to a living account" in sentence
    assert "a@mail.test" not in sentence
    refused = town.plan(situations=["duplicate"], ids=["a"])
    assert refused.steps == ()
    assert "would be an orphaned account without it" in refused.warnings[0]
    planned = town.plan(situations=["duplicate"], ids=["again"])
    assert [(step.action, step.row_id) for step in planned.steps] == [("delete_row", "again")]
    assert states(apply(town, journal, planned)) == ["done"]
    assert town.plan(situations=["duplicate"]).warnings == ()


# Configured attributes


def test_a_drifted_row_takes_configured_attributes_of_the_account_but_no_plain_text(town, journal):
    town.settings = replace(town.settings, row={"owner": "{sub}::{username}", "__typename": "Person"})
    town.account("a", "new@mail.test")
    town.row("a", owner={"S": "somebody"})
    planned = town.plan()
    [step] = planned.steps
    assert step.changes() == {"email": {"S": "new@mail.test"}, "owner": {"S": "sub-a::a"}}
    run = apply(town, journal, planned)
    assert states(run) == ["done"]
    assert (town.rows()["a"]["owner"], town.rows()["a"]["__typename"]) == ({"S": "sub-a::a"}, {"S": "User"})
    assert states(undo(town, journal, run)) == ["done"]
    assert town.rows()["a"]["owner"] == {"S": "somebody"}


# What the API tells of itself


def test_a_mutation_selects_every_field_that_the_api_tells_of(services):
    town = services.town(writer="appsync", versioned=True)
    known = api_type.ask(town.aws, town.settings.graphql_url)
    assert set(known.fields) == {"id", "email", "owner", "createdAt", "updatedAt"}
    assert known.required == ()
    assert {"email", "owner", "updatedAt"} <= set(known.conditions)
    town.account("a")
    planned = town.plan(known=known, asked=True)
    assert any("select every field" in note and "owner" in note for note in planned.notes)
    assert any("does not tell its fields" in note for note in town.plan(asked=True).notes)


def test_a_field_that_the_api_requires_and_nothing_fills_is_named(services):
    town = services.town(writer="appsync", versioned=True)
    town.account("a")
    planned = town.plan(known=ApiType(fields=("id",), required=("nickname",)))
    assert planned.steps == ()
    assert "requires nickname" in planned.warnings[0]
    town.settings = replace(town.settings, row={"nickname": "{email}"})
    assert len(town.plan(known=ApiType(fields=("id",), required=("nickname",))).steps) == 1


@pytest.mark.parametrize(
    ("handler", "warned", "said"),
    [
        ("AUTOMERGE", False, "merges a stale version without an error"),
        ("OPTIMISTIC_CONCURRENCY", False, "refuses a stale version"),
        ("LAMBDA", True, "Lambda function of its own"),
        (None, True, "not known how the API resolves conflicts"),
    ],
)
def test_the_conflict_handler_is_named_and_an_uncertain_one_is_a_warning(services, handler, warned, said):
    town = services.town(writer="appsync", versioned=True)
    town.wiring = replace(town.wiring, conflict_handler=handler)
    town.account("a", "new@mail.test")
    town.row("a")
    planned = town.plan()
    assert any(said in text for text in (planned.warnings if warned else planned.notes))
    assert bool(planned.warnings) is warned


# Plans changed by hand


def test_a_plan_changed_by_hand_is_refused_whatever_its_digest(services, journal):
    town = services.town(writer="dynamodb", versioned=True)
    for name in ("lost", "moved", "dead"):
        town.account(name, f"new.{name}@mail.test")
    town.row("moved")
    town.row("dead", **GONE)
    town.row("alone")
    town.account("bare")
    unversioned_row(town, "bare")
    snapshot = town.snapshot()
    planned = plan(snapshot, town.settings, situations=EVERY)
    assert [step.action for step in planned.steps] == [
        *("create_row", "update_row", "revive_row", "stamp_row", "delete_row")
    ]
    assert doubt(planned, snapshot, town.settings) is None
    for place, step in enumerate(planned.steps):
        for changed in _forgeries(step):
            forged = replace(planned, steps=(*planned.steps[:place], changed, *planned.steps[place + 1 :]))
            assert doubt(forged, snapshot, town.settings), changed
    with pytest.raises(repair.Refused, match="changed after it was made"):
        apply(town, journal, planned, doubt="the plan was changed after it was made")
    assert journal.runs()[0]["state"] == "refused"


def _forgeries(step):
    after = step.after or {}
    yield replace(step, after=after | {"role": {"S": "admin"}})
    yield replace(step, situation="drift" if step.situation != "drift" else "tombstone")
    yield replace(step, row_id="moved" if step.row_id != "moved" else "dead")
    yield replace(step, after=None if step.action != "delete_row" else after | {"_deleted": {"BOOL": False}})
    if step.action in ("update_row", "create_row", "revive_row"):
        yield replace(step, after=after | {"email": {"S": "evil@mail.test"}})
    if step.action == "delete_row":
        yield replace(step, account={"sub": "sub-moved", "email": "new.moved@mail.test", "kept_row": "dead"})


# All of it at once


SITUATIONS = ["in_sync", "orphaned_account", "drift", "tombstone", "unversioned_row", "orphaned_row", "further"]
EXTRAS = st.dictionaries(st.sampled_from(["nick", "age"]), st.sampled_from([{"S": "x"}, {"N": "7"}, {"SS": ["q"]}]))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@given(people=st.lists(st.tuples(st.sampled_from(SITUATIONS), EXTRAS), min_size=3, max_size=7))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_actions_is_undone_to_every_attribute(services, tmp_path_factory, kind, people):
    town = services.town(writer=kind[0], versioned=kind[1])
    for number, (situation, extras) in enumerate(people):
        _settle(town, f"p{number}", situation, extras)
    before = town.rows()
    journal = Journal(f"sqlite:///{tmp_path_factory.mktemp('journal') / 'journal.db'}")
    planned = town.plan(situations=EVERY)
    run = apply(town, journal, planned)
    assert run.state == "done", [outcome.message for outcome in run.outcomes]
    assert len(town.gate.done) == len(planned.steps)
    assert town.plan(situations=EVERY).steps == ()
    assert undo(town, journal, run).state == "done"
    created = {step.row_id for step in planned.steps if step.action == "create_row"}
    after = town.rows()
    assert all(after[id]["_deleted"] == {"BOOL": True} for id in created & set(after))
    assert kept({id: row for id, row in after.items() if id not in created}) == kept(before)
    journal.close()


def _settle(town, name, situation, extras):
    if situation != "orphaned_row":
        town.account(name, f"new.{name}@mail.test" if situation in ("drift", "tombstone") else "")
    if situation == "further":
        town.row(f"{name}-again", email={"S": f"{name}@mail.test"}, **extras)
    if situation == "unversioned_row" and town.versioned:
        unversioned_row(town, name, **extras)
    elif situation != "orphaned_account":
        town.row(name, **extras, **(GONE if situation == "tombstone" and town.versioned else {}))
