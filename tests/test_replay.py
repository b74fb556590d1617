"""Replays: at most one Invoke for each account, and never one whose answer is believed."""

import json
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import reconcile_kit as kit
from click.testing import CliRunner
from reconcile_kit import STARTED_AT

from lib.aws.functions import Ran, invoke
from lib.aws.session import Aws
from lib.aws.writers import DynamoWriter
from lib.cli import main
from lib.config import Settings, load
from lib.environment import Environment
from lib.model import AwsError, Refused, Wiring, iso
from lib.repair import replay
from lib.repair.plan import Plan
from lib.repair.step import EVENT, FUNCTION, ORIGIN, Step

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:sign-up"
POOL = "eu-west-1_Pool1"


class Snap:
    """As much of a snapshot as replays read."""

    def __init__(self, accounts, runs=(), trigger="pre_sign_up", triggers=None):
        self.wiring = Wiring(
            POOL, "eu-west-1", trigger=trigger, triggers={trigger: ARN} if triggers is None else triggers
        )
        self._tables = kit.tables(accounts, (), runs)

    def table(self, name):
        return self._tables[name]


def create(name="ann"):
    item = {"id": {"S": name}, "email": {"S": f"{name}@mail.test"}, "owner": {"S": "x"}}
    account = {"username": name, "sub": f"sub-{name}", "email": f"{name}@mail.test"}
    return Step(1, "create_row", "orphaned_account", name, f"sub-{name}", name, None, item, "", "", account)


def logged(source="PreSignUp_SignUp", email="ann@mail.test", pool=POOL, **request):
    request = {"userAttributes": {"email": email}} | request
    return json.dumps({"userPoolId": pool, "userName": "ann", "triggerSource": source, "request": request})


def planned(*runs, **how):
    facts = {"created_at": STARTED_AT - timedelta(days=3)}
    [step] = replay.replayed([create()], Snap([kit.account("ann", **facts)], runs, **how))
    return step


def test_a_logged_event_of_the_sign_up_is_what_is_replayed():
    step = planned(kit.run("ann", event=logged()))
    assert (step.action, step.account[FUNCTION], step.account[ORIGIN]) == ("replay", ARN, "recorded")
    assert step.account[EVENT] == logged()
    assert step.after == {"id": {"S": "ann"}, "email": {"S": "ann@mail.test"}}


@pytest.mark.parametrize(
    "event",
    [
        logged("PostConfirmation_ConfirmForgotPassword"),
        logged("PostConfirmation_ConfirmSignUp"),
        logged(email="old@mail.test"),
        logged(pool="eu-west-1_Other"),
        "[]",
        '{"userPoolId"',
        None,
    ],
)
def test_any_other_event_is_not_replayed_but_one_made_from_the_account_and_marked_so(event):
    step = planned(kit.run("ann", event=event))
    made = json.loads(step.account[EVENT])
    assert step.account[ORIGIN] == "synthesised"
    assert (made["userName"], made["triggerSource"], made["userPoolId"]) == ("ann", "PreSignUp_SignUp", POOL)
    assert any("1 with one made from the account" in note for note in replay.notes([step]))


def test_a_forgotten_password_is_replayed_at_no_trigger():
    forgot = kit.run("ann", event=logged("PostConfirmation_ConfirmForgotPassword"))
    made = json.loads(planned(forgot, trigger="post_confirmation").account[EVENT])
    assert made["triggerSource"] == "PostConfirmation_ConfirmSignUp"


def test_an_event_of_an_earlier_account_of_that_name_is_not_replayed():
    before = kit.run("ann", STARTED_AT - timedelta(days=4), event=logged())
    assert planned(before).account[ORIGIN] == "synthesised"


def test_values_that_the_log_does_not_keep_are_said_to_be_missing():
    lacking = planned(kit.run("ann", event=logged(clientMetadata={"token": None})))
    said = "Logged events go without the values"
    assert any(note.startswith(said) for note in replay.notes([lacking]))
    assert not any(note.startswith(said) for note in replay.notes([planned(kit.run("ann", event=logged()))]))


def test_a_pool_that_calls_no_function_gives_no_replay():
    with pytest.raises(Refused, match="calls no function"):
        planned(triggers={})


def test_a_replay_that_was_edited_does_not_follow_from_its_snapshot():
    snapshot = Snap([kit.account("ann")], [kit.run("ann", event=logged())])
    [step] = replay.replayed([create()], snapshot)
    created = create().after
    assert replay.follows(step, created, snapshot)
    for name, value in ((EVENT, logged(email="mallory@mail.test")), (FUNCTION, ARN + "2"), (ORIGIN, "synthesised")):
        assert not replay.follows(replace(step, account={**step.account, name: value}), created, snapshot)
    assert not replay.follows(replace(step, row_id="bob"), created, snapshot)


# Carried out


class World:
    """An account without a row, and a function that does what a test says."""

    pool, table, api, writer = POOL, "User-x", None, "dynamodb"

    def __init__(self, answer=None, dry=None, row=None, writes=None):
        self.answer, self.dry, self.found, self.writes = answer or Ran("r"), dry, row, writes
        self.ran = []

    def account(self, username):
        attributes = {"sub": f"sub-{username}", "email": f"{username}@mail.test"}
        return kit.account(username) | {"attributes": json.dumps(attributes)}

    def row(self, _id):
        return self.found

    def run(self, function, event, *, dry_run=False):
        self.ran.append("dry" if dry_run else "run")
        wanted = self.dry if dry_run else self.answer
        if not dry_run:
            self.found = self.writes or self.found
        if isinstance(wanted, Exception):
            raise wanted
        return wanted


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(replay, "_PAUSES_S", (0.0, 0.0))


ROW = {"id": {"S": "ann"}, "email": {"S": "Ann@mail.test "}, "createdAt": {"S": iso(STARTED_AT)}}
LOST = AwsError("no answer", action="lambda:InvokeFunction", code="ReadTimeoutError", maybe_done=True)
DENIED = AwsError("The role needs lambda:InvokeFunction", action="lambda:InvokeFunction", code="AccessDeniedException")
BUSY = AwsError("slow down", action="lambda:InvokeFunction", code="TooManyRequestsException")

CASES = {
    "the row came": (World(writes=ROW), "done", ["dry", "run"]),
    "200 and no row": (World(), "failed", ["dry", "run"]),
    "the function raised": (World(Ran("r", "Unhandled: TypeError: no.")), "failed", ["dry", "run"]),
    "raised, and the row came": (World(Ran("r", "Unhandled: x."), writes=ROW), "done", ["dry", "run"]),
    "another e-mail": (World(writes=ROW | {"email": {"S": "bob@mail.test"}}), "failed", ["dry", "run"]),
    "a tombstone": (World(writes=ROW | {"_deleted": {"BOOL": True}}), "failed", ["dry", "run"]),
    "no answer, no row": (World(LOST), "unknown", ["dry", "run"]),
    "no answer, but the row": (World(LOST, writes=ROW), "done", ["dry", "run"]),
    "throttled": (World(BUSY), "failed", ["dry", "run"]),
    "DryRun denied": (World(dry=DENIED), "refused", ["dry"]),
    "the row is there already": (World(row=ROW), "already", []),
}


@pytest.mark.parametrize("name", CASES)
def test_a_replay_is_judged_by_the_row_and_runs_the_function_at_most_once(name):
    world, state, ran = CASES[name]
    outcome = replay.carry_out(world, planned(), "username")
    assert (outcome.state, world.ran, outcome.throttled) == (state, ran, False)
    assert (outcome.after == world.found) == (state == "done") or world.found is None


def test_a_changed_account_is_refused_before_anything_is_asked_of_the_function():
    world = World()
    step = planned()
    outcome = replay.carry_out(world, replace(step, account={**step.account, "email": "old@mail.test"}), "username")
    assert (outcome.state, world.ran) == ("refused", [])


@pytest.mark.parametrize(
    ("row", "later", "state"),
    [
        (ROW, timedelta(seconds=5), "done"),
        (ROW | {"createdAt": {"S": iso(STARTED_AT - timedelta(hours=1))}}, timedelta(seconds=5), "already"),
        (None, timedelta(seconds=5), "unknown"),
        (None, timedelta(hours=1), "failed"),
    ],
)
def test_a_replay_that_was_broken_off_is_settled_by_reading_back_alone(row, later, state):
    world = World(row=row)
    outcome = replay.settled(world, planned(), STARTED_AT, STARTED_AT + later)
    assert (outcome.state, world.ran) == (state, [])


# At the wire


@pytest.fixture
def wire():
    """A Lambda endpoint; `asked` is what reached it, `answer` what it does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.server.asked.append(self.headers.get("X-Amz-Invocation-Type"))
            self.server.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def lambda_at(server):
    url = f"http://127.0.0.1:{server.server_port}"
    return Aws(Settings("test", POOL, "eu-west-1", endpoint_url=url, credentials=("testing", "testing")))


def answers(status, content=b"{}", **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def drops(handler):
    handler.close_connection = True
    handler.connection.shutdown(2)


@pytest.mark.parametrize("answer", [drops, answers(500), answers(503), answers(429)])
def test_one_request_is_all_that_is_ever_sent_whatever_is_answered(wire, answer):
    wire.answer = answer
    with pytest.raises(AwsError):
        invoke(lambda_at(wire), ARN, "{}")
    assert wire.asked == ["RequestResponse"]


def test_what_a_function_raised_is_told_masked(wire):
    raised = {"errorType": "TypeError", "errorMessage": "no row for ann@mail.test with da2-abcdefghijklmnopqrstuvwxyz"}
    wire.answer = answers(200, json.dumps(raised).encode(), X_Amz_Function_Error="Unhandled")
    told = invoke(lambda_at(wire), ARN, "{}").error
    assert told.startswith("Unhandled: TypeError: no row for a•••n@mail.test")
    assert "da2-" not in told


def test_a_dry_run_runs_nothing(wire):
    wire.answer = answers(204, b"")
    assert invoke(lambda_at(wire), ARN, "{}", dry_run=True).error is None
    assert wire.asked == ["DryRun"]


# In the demo's world


def test_a_replay_in_the_demo_runs_the_trigger_and_its_row_can_be_taken_back(world, home):
    env = Environment(load(), world.settings())
    lost = env.refresh().findings.query("cause == 'silent_failure'")["sub"].tolist()[:2]
    refused = env.apply(env.replay_plan(ids=lost[:1]))
    assert (refused.state, refused.outcomes[0].state) == ("partial", "failed")  # its key has expired
    env.rescue()
    plan = env.replay_plan(ids=lost)
    run = env.apply(Plan.from_json(plan.to_json()), why="after the rescue")
    assert [(outcome.state, outcome.message) for outcome in run.outcomes] == [("done", "")] * 2
    ids = [step.row_id for step in plan.steps]
    assert set(ids) <= set(env.refresh().rows["id"])
    assert env.apply(plan).record["already"] == 2
    since = env.latest().invocations.query("started_at > @plan.at")
    assert sorted(since["username"]) == sorted(ids)
    assert env.undo(run).record["done"] == 2
    assert not set(ids) & set(env.refresh().rows.query("deleted != True")["id"])


def test_a_plan_of_a_replay_that_was_edited_in_its_file_is_refused(world, home):
    env = Environment(load(), world.settings())
    env.refresh()
    plan = env.replay_plan()
    step = plan.steps[0]
    for forged in (
        replace(step, account={**step.account, FUNCTION: ARN}),
        replace(step, action="delete_everything"),
        replace(step, situation="drift"),
    ):
        with pytest.raises(Refused, match="is not what its snapshot"):
            env.apply(replace(plan, steps=(forged,)), release=1)


def test_a_crash_between_intent_and_outcome_never_runs_the_function_again(world, home, monkeypatch):
    env = Environment(load(), world.settings())
    sub = env.refresh().findings.query("cause == 'silent_failure'")["sub"].tolist()[-1]
    plan, ran = env.replay_plan(ids=[sub]), []

    def dies(*_, dry_run=False, **__):
        ran.append(dry_run)
        if not dry_run:
            raise KeyboardInterrupt
        return Ran("r")

    with monkeypatch.context() as patch:
        patch.setattr(DynamoWriter, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            env.apply(plan)
        again = env.apply(plan)
    assert ran == [True, False]
    assert again.state == "partial"
    assert again.outcomes[0].message == "An earlier replay for this account may still be running."


def test_the_command_plans_replays_of_orphaned_accounts_alone(world, tmp_path):
    Environment(load(), world.settings()).refresh()
    file = tmp_path / "plan.json"
    arguments = ["plan", "--env", "demo", "--action", "replay", "-o", str(file)]
    planned = CliRunner().invoke(main, arguments)
    assert planned.exit_code == 0, planned.output
    assert {step.action for step in Plan.load(file).steps} == {"replay"}
    assert "by running the trigger again" in planned.output
    assert "written through" not in planned.output
    assert f"Cost: {len(Plan.load(file).steps)} runs of the trigger" in planned.output
    assert CliRunner().invoke(main, [*arguments, "--situation", "drift"]).exit_code == 2
