"""The embedded world: the same for one seed, for every process, and true to what it says of itself."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib import config, logparse
from lib.aws import logs, pool, table
from lib.aws.session import Aws
from lib.demo import history, loglines, running
from lib.demo.sign_up import FAILURES, sign_up
from lib.demo.world import World, attach, resolved
from lib.model import CAUSES, SITUATIONS, iso, now

ROOT = Path(__file__).parents[1]
MOMENT = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
PLACE = history.Place("ap-southeast-1", "ap-southeast-1_AbCdEf123", "client")


@pytest.fixture(scope="module")
def world():
    with World(accounts=400) as world:
        yield world


@pytest.fixture(scope="module")
def aws(world):
    return Aws(world.settings())


# The history


def told(seed=7, accounts=400, at=MOMENT, versioned=True):
    made = history.make(seed, accounts, at, versioned=versioned)
    return made.accounts(), made.rows(), made.events(PLACE), made.truth().to_dict("records")


def test_a_seed_and_a_moment_tell_the_same_history_every_time():
    assert told() == told()


@pytest.mark.parametrize("other", [{"seed": 8}, {"at": MOMENT + timedelta(hours=1)}], ids=str)
def test_another_seed_or_moment_shares_no_id_with_it(other):
    ids = {account.username for account in told()[0]}
    assert not ids & {account.username for account in told(**other)[0]}


@pytest.mark.parametrize("accounts", [300, 3000])
@pytest.mark.parametrize("versioned", [True, False])
def test_every_situation_and_cause_that_a_first_refresh_can_know_occurs(accounts, versioned):
    truth = history.make(7, accounts, MOMENT, versioned=versioned).truth()
    needs_versions = set() if versioned else {"tombstone", "unversioned_row"}
    # Under PreSignUp every account is promised a row, and two causes need an earlier snapshot.
    assert set(truth["situation"]) == set(SITUATIONS) - needs_versions - {"out_of_scope"}
    assert set(truth["cause"].dropna()) == set(CAUSES) - {"row_deleted", "account_deleted"}


@pytest.mark.parametrize("accounts", [1, 40, 300, 3000])
def test_a_history_is_about_as_large_as_asked(accounts):
    made = history.make(7, accounts, MOMENT)
    assert len(made.accounts()) == pytest.approx(accounts, rel=0.05, abs=60)
    assert len({account.username for account in made.accounts()}) == len(made.accounts())


def test_every_sign_up_since_the_key_expired_lost_its_row_in_silence():
    made = history.make(7, 3000, MOMENT)
    since = [
        story
        for story in made.stories
        if story.runs and made.key_expires_at < story.at < MOMENT - timedelta(minutes=15)
    ]
    assert len(since) > 50
    assert {(story.cause, story.has_row) for story in since} == {("api_key_expired", False)}
    assert {(run.ending, run.logged) for story in since for run in story.runs} == {("completed", None)}


def test_an_unversioned_table_holds_no_version_field():
    names = {name for row in told(versioned=False)[1] for name in row}
    assert not names & {"_version", "_lastChangedAt"}


def test_the_young_become_orphans_once_they_are_older_than_the_grace_period():
    made = history.make(7, 400, MOMENT)
    young = made.truth().query("situation == 'in_flight'")
    later = made.truth(MOMENT + timedelta(minutes=20)).set_index("id").loc[young["id"]]
    assert set(later["situation"]) == {"orphaned_account", "orphaned_row"}
    assert "in_flight" not in set(made.truth(MOMENT + timedelta(minutes=20))["situation"])


def test_nobody_could_be_written_to():
    for account in told(accounts=3000)[0]:
        assert account.attributes["email"].rpartition("@")[2] in ("mail.test", "example.org", "example.com")


# The log lines


def test_the_parser_finds_each_run_as_it_was():
    made = history.make(7, 3000, MOMENT)
    invocations = logparse.invocations(made.events(PLACE), now=MOMENT)
    runs = [(story, run, story.at + timedelta(seconds=run.after_s)) for story in made.stories for run in story.runs]
    wanted = sorted(
        (
            int(at.timestamp() * 1000),
            run.ending,
            None if run.ending == "init_error" else run.username or story.username,
            None if run.ending in ("init_error", "error") else story.person.email,
            run.logged,
        )
        for story, run, at in runs
        if at >= made.logs_from and not (run.ending == "incomplete" and at > MOMENT - timedelta(minutes=1))
    )
    named = invocations.astype(object).where(invocations.notna(), None)
    closed = named[~((named["outcome"] == "incomplete") & (invocations["started_at"] > MOMENT - timedelta(minutes=1)))]
    found = [
        (int(at.timestamp() * 1000), outcome, username, email, logged)
        for at, outcome, username, email, logged in zip(
            invocations.loc[closed.index, "started_at"],
            closed["outcome"],
            closed["username"],
            closed["email"],
            closed["logged_error"],
            strict=True,
        )
    ]
    assert [line[1:] for line in sorted(found, key=str)] == [line[1:] for line in sorted(wanted, key=str)]
    assert invocations["suspicious"].sum() == 0
    assert not invocations["truncated"].any()


def test_event_ids_have_56_digits_and_grow_with_time_in_each_stream():
    events = history.make(7, 3000, MOMENT).events(PLACE)
    assert {len(event["eventId"]) for event in events} == {56}
    assert len({event["eventId"] for event in events}) == len(events)
    for _, stream in history.by_stream(events):
        in_time = sorted(stream, key=lambda event: (event["timestamp"], int(event["eventId"])))
        assert [event["eventId"] for event in in_time] == sorted(event["eventId"] for event in stream)


@pytest.mark.parametrize(
    ("username", "email", "printed"),
    [
        (
            "8" * 36,
            "user1@example.org",
            "{\n  input: {\n    id: '%s',\n    email: 'user1@example.org'\n  }\n}" % ("8" * 36),
        ),
        ("8" * 36, None, "{\n  input: { id: '%s', email: undefined }\n}" % ("8" * 36)),
        ("8" * 36, "ab@mail.test", "{\n  input: { id: '%s', email: 'ab@mail.test' }\n}" % ("8" * 36)),
        ("8" * 36, "abc@mail.test", "{\n  input: {\n    id: '%s',\n    email: 'abc@mail.test'\n  }\n}" % ("8" * 36)),
        ("Google_1", "a@mail.test", "{ input: { id: 'Google_1', email: 'a@mail.test' } }"),
        ("x", "o'b@mail.test", "{ input: { id: 'x', email: \"o'b@mail.test\" } }"),
        ("x", "o'\"b@mail.test", "{ input: { id: 'x', email: `o'\"b@mail.test` } }"),
        ("x", "o'\"`b@mail.test", "{ input: { id: 'x', email: 'o\\'\"`b@mail.test' } }"),
    ],
)
def test_debug_variables_are_printed_as_node_inspects_them(username, email, printed):
    assert loglines.debug_variables(username, email) == printed


def test_a_report_is_written_as_lambda_writes_it():
    warm = loglines.Execution("e8296705-0531-43da-9152-7dd2305d9304", 1795154410745, 55.0, used_mb=72)
    assert loglines.end_lines(warm)[-1].message == (
        "REPORT RequestId: e8296705-0531-43da-9152-7dd2305d9304\tDuration: 55.00 ms\tBilled Duration: 55 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 72 MB\t\n"
    )
    hung = dataclasses.replace(warm, duration_ms=25000.0, ending="timeout")
    assert loglines.end_lines(hung)[0].message == (
        "2026-11-20T06:00:35.745Z e8296705-0531-43da-9152-7dd2305d9304 Task timed out after 25.00 seconds\n\n"
    )
    assert loglines.end_lines(hung)[-1].message.endswith("Max Memory Used: 72 MB\tStatus: timeout\n")


# The services


def test_the_quick_scan_gives_what_motos_own_gives(world):
    dynamodb = world.client("dynamodb")
    odd = {
        "id": {"S": "odd-row"},
        "bytes": {"B": b"\x00\xff"},
        "deep": {"M": {"list": {"L": [{"B": b"\x01"}, {"N": "1"}, {"NULL": True}, {"M": {}}]}}},
        "sets": {"BS": [b"\x02", b"\x03"]},
        "words": {"SS": ["a", "b"]},
        "yes": {"BOOL": True},
    }
    dynamodb.put_item(TableName=world.facts.table, Item=odd)
    try:
        quick = whole_table(dynamodb, world.facts.table)
        assert quick == whole_table(dynamodb, world.facts.table, Select="ALL_ATTRIBUTES")
        assert quick["odd-row"] == odd
    finally:
        dynamodb.delete_item(TableName=world.facts.table, Key={"id": odd["id"]})


def whole_table(dynamodb, name, **how):
    pages = dynamodb.get_paginator("scan").paginate(TableName=name, **how)
    items = [item for page in pages for item in page["Items"]]
    assert len({item["id"]["S"] for item in items}) == len(items)
    return {item["id"]["S"]: item for item in items}


def test_segments_and_pages_of_a_scan_part_the_table_without_gap_or_overlap(world):
    dynamodb = world.client("dynamodb")
    parts = [whole_table(dynamodb, world.facts.table, Segment=n, TotalSegments=3, Limit=7) for n in range(3)]
    assert sum(map(len, parts)) == len(parts[0] | parts[1] | parts[2])
    assert parts[0] | parts[1] | parts[2] == whole_table(dynamodb, world.facts.table)


def test_a_scan_goes_on_where_it_stopped_though_that_row_is_gone(world):
    dynamodb = world.client("dynamodb")
    for name in ("gone-1", "gone-2", "gone-3"):
        dynamodb.put_item(TableName=world.facts.table, Item={"id": {"S": name}})
    before = whole_table(dynamodb, world.facts.table)
    order = [item["id"]["S"] for item in dynamodb.scan(TableName=world.facts.table)["Items"]]
    last = order.index("gone-2")
    page = dynamodb.scan(TableName=world.facts.table, Limit=last + 1)
    for name in ("gone-1", "gone-2", "gone-3"):
        dynamodb.delete_item(TableName=world.facts.table, Key={"id": {"S": name}})
    rest = dynamodb.scan(TableName=world.facts.table, ExclusiveStartKey=page["LastEvaluatedKey"])["Items"]
    seen = {item["id"]["S"] for item in page["Items"] + rest}
    assert seen | {"gone-1", "gone-2", "gone-3"} == set(before)


def test_the_quick_list_of_users_gives_what_motos_own_gives(world):
    cognito = world.client("cognito-idp")
    names = ["sub", "email", "email_verified", "name", "identities"]
    quick = whole_pool(cognito, world.facts.pool)
    for username, user in whole_pool(cognito, world.facts.pool, AttributesToGet=names).items():
        for name in ("UserCreateDate", "UserLastModifiedDate", "Enabled", "UserStatus", "Attributes"):
            assert quick[username][name] == user[name]
    assert len(quick) == len(world.history.accounts()) or any("guest" in str(user) for user in quick.values())


def whole_pool(cognito, pool_id, **how):
    pages = cognito.get_paginator("list_users").paginate(UserPoolId=pool_id, **how)
    users = [user for page in pages for user in page["Users"]]
    assert len({user["Username"] for user in users}) == len(users)
    return {user["Username"]: user for user in users}


def test_a_list_of_users_loses_nobody_when_the_last_one_of_a_page_is_deleted(world):
    cognito = world.client("cognito-idp")
    email = "leaves-soon@mail.test"
    created = cognito.admin_create_user(UserPoolId=world.facts.pool, Username=email)["User"]["Username"]
    everybody = whole_pool(cognito, world.facts.pool)
    place = sorted(everybody).index(created)
    seen, token = [], {}
    while len(seen) <= place:
        page = cognito.list_users(UserPoolId=world.facts.pool, Limit=min(60, place + 1 - len(seen)), **token)
        seen += [user["Username"] for user in page["Users"]]
        token = {"PaginationToken": page["PaginationToken"]}
    assert seen[-1] == created
    cognito.admin_delete_user(UserPoolId=world.facts.pool, Username=created)
    while token:
        page = cognito.list_users(UserPoolId=world.facts.pool, **token)
        seen += [user["Username"] for user in page["Users"]]
        token = {"PaginationToken": page["PaginationToken"]} if "PaginationToken" in page else {}
    assert sorted(seen) == sorted(everybody)


@pytest.mark.parametrize(
    "asked", [{"Limit": 61}, {"PaginationToken": "bm90IG91cnM="}, {"PaginationToken": "WyJvdGhlciIsICJ4Il0="}], ids=str
)
def test_a_list_of_users_refuses_what_cognito_refuses(world, asked):
    cognito = world.client("cognito-idp")
    with pytest.raises(cognito.exceptions.InvalidParameterException):
        cognito.list_users(UserPoolId=world.facts.pool, **asked)


def test_the_trigger_the_log_group_and_the_keys_can_be_described(world, aws):
    function = aws.client("lambda").get_function_configuration(FunctionName=world.facts.function)
    variables = function["Environment"]["Variables"]
    assert (function["Runtime"], function["Timeout"]) == ("nodejs22.x", 25)
    assert variables["API_POOLTABLE_GRAPHQLAPIIDOUTPUT"] == world.facts.api_id
    assert variables["API_POOLTABLE_GRAPHQLAPIENDPOINTOUTPUT"] == world.facts.graphql_url
    listed = {
        key["id"]: key["expires"] for key in aws.client("appsync").list_api_keys(apiId=world.facts.api_id)["apiKeys"]
    }
    expired = now() - datetime.fromtimestamp(listed.pop(variables["API_POOLTABLE_GRAPHQLAPIKEYOUTPUT"]), UTC)
    assert timedelta(days=2) <= expired <= timedelta(days=2, hours=2)
    assert all(datetime.fromtimestamp(expires, UTC) > now() for expires in listed.values())
    described = aws.client("cognito-idp").describe_user_pool(UserPoolId=world.facts.pool)["UserPool"]
    assert described["LambdaConfig"]["PreSignUp"] == function["FunctionArn"]
    group = logs.group(aws, world.facts.log_group)
    assert (group.retention_days, (world.history.now - group.created_at).days) == (None, 45)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/_demo/facts", {"Host": "evil.example.org", "Content-Type": "application/json"}),
        ("/_demo/sign-up", {"Content-Type": "text/plain"}),
        ("/moto-api/reset", {}),
    ],
)
def test_the_server_refuses_foreign_pages_and_motos_own_controls(world, path, headers):
    request = urllib.request.Request(world.facts.url + path, data=b"{}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    with refused.value as answer:
        assert answer.code in (403, 415)


# Live sign-ups


def parsed(aws, world, username):
    events, _ = logs.read_events(aws, world.facts.log_group, now() - timedelta(minutes=5), now() + timedelta(minutes=1))
    invocations = logparse.invocations(events)
    return invocations[invocations["username"] == username].to_dict("records")


def test_a_live_sign_up_makes_the_row_then_the_account_and_logs_both(world, aws):
    joined = sign_up(world.settings())
    account = pool.account(aws, joined.username)
    row = table.item(aws, world.facts.table, joined.username)
    assert joined.outcome == "in_sync"
    assert row["email"]["S"] == account["email"] == joined.email
    assert row["createdAt"]["S"] <= iso(account["created_at"])
    [invocation] = parsed(aws, world, joined.username)
    assert (invocation["outcome"], invocation["email"]) == ("completed", joined.email)
    assert invocation["trigger_source"] == "PreSignUp_SignUp"


@pytest.mark.parametrize("fail", FAILURES)
def test_a_failing_live_sign_up_leaves_an_account_without_row_and_says_why_in_the_log(world, aws, fail):
    joined = sign_up(world.facts, email=f"guest-{fail}@mail.test", fail=fail)
    assert joined == dataclasses.replace(joined, email=f"guest-{fail}@mail.test", outcome="no_row")
    assert pool.account(aws, joined.username)["status"] == "UNCONFIRMED"
    assert table.item(aws, world.facts.table, joined.username) is None
    [invocation] = parsed(aws, world, joined.username)
    assert invocation["outcome"] == "completed"
    word = {"key_expired": "401", "time_out": "in time", "api_error": "500"}[fail]
    assert word in invocation["logged_error"]


def test_signing_up_again_leaves_a_second_row_and_no_second_account(world, aws):
    first = sign_up(world.facts, email="guest-again@mail.test")
    again = sign_up(world.facts, email="Guest-Again@mail.test")
    assert (first.outcome, again.outcome) == ("in_sync", "refused")
    assert table.item(aws, world.facts.table, again.username) is not None
    assert pool.account(aws, again.username) is None


# One world for all processes

OPEN = """
import sys
from pathlib import Path
from lib.demo.world import attach
print(attach(Path(sys.argv[1]), accounts=20).pool, flush=True)
sys.stdin.read()
"""


def opened(home):
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"AWS_PROFILE": "nobody-there"},
    )


def test_processes_that_open_the_demo_at_once_share_one_world_and_its_owner_takes_it_along(home):
    both = [opened(home), opened(home)]
    pools = [process.stdout.readline().strip() for process in both]
    assert pools[0] == pools[1] == attach(home).pool
    assert (home / "demo.json").stat().st_mode & 0o777 == 0o600
    said = [process.communicate(timeout=30)[1] for process in both]
    assert sum("started one" in words for words in said) == 1
    assert not (home / "demo.json").exists()


def test_a_world_whose_owner_was_killed_is_not_found_again(home):
    owner = opened(home)
    owner.stdout.readline()
    assert running.find(home)
    owner.kill()
    owner.communicate()
    assert (home / "demo.json").exists()
    assert running.find(home) is None


def test_a_world_is_not_mistaken_for_another_that_got_its_port(home, world):
    running.tell(home, dataclasses.replace(world.facts, pool="ap-southeast-1_another11"))
    assert running.find(home) is None
    running.tell(home, world.facts)
    assert running.find(home) == world.facts


@pytest.mark.parametrize("content", ["", "[]", '{"pid": 1}', '{"endpoints": 3'])
def test_a_damaged_demo_json_is_no_world(home, content):
    home.mkdir()
    (home / "demo.json").write_text(content)
    assert running.find(home) is None


def test_only_the_demo_is_filled_in_and_it_leads_to_the_running_world(home, world):
    running.tell(home, world.facts)
    demo = config.load().settings("demo")
    filled = resolved(demo, home)
    assert (filled.user_pool_id, filled.log_groups) == (world.facts.pool, (world.facts.log_group,))
    assert config.is_loopback(filled.endpoint_url)
    assert filled.grace_minutes == demo.grace_minutes
    other = config.Settings("prod", user_pool_id="eu-west-1_AbCdEf123", region="eu-west-1")
    assert resolved(other, home) is other


def test_worlds_of_one_seed_still_differ_in_their_pool(world):
    with World(accounts=20, seed=world.facts.seed) as other:
        assert other.facts.pool != world.facts.pool
        assert other.client("dynamodb").scan(TableName=other.facts.table)["Count"] < 60


@pytest.mark.parametrize("setting", ["AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "HTTP_PROXY"])
def test_what_this_machine_has_set_up_for_aws_does_not_reach_the_world(world, monkeypatch, setting):
    monkeypatch.setenv(setting, "http://127.0.0.1:1")
    assert world.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert running.ask(world.facts.url, "facts")["pool"] == world.facts.pool


SERVE = "import sys; from pathlib import Path; from lib.demo.world import serve; serve(Path(sys.argv[1]), accounts=20)"


def test_a_served_world_prints_a_configuration_that_leads_to_it_and_ends_on_sigterm(home):
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as served:
        try:
            lines = []
            while not lines or not lines[-1].startswith("list_users_rps"):
                lines.append(served.stdout.readline())
            Path("pooltable.toml").write_text("".join(lines))
            settings = config.load().settings("local")
            facts = running.find(home)
            assert (settings.user_pool_id, settings.graphql_url) == (facts.pool, facts.graphql_url)
            again = subprocess.run(
                [sys.executable, "-c", SERVE, str(home)], capture_output=True, text=True, cwd=ROOT, check=False
            )
            assert "runs already" in again.stderr
        finally:
            served.send_signal(signal.SIGTERM)
    assert served.returncode == 0
    assert not (home / "demo.json").exists()


def test_the_truth_can_be_asked_from_another_process(world):
    assert running.ask(world.facts.url, "truth") == json.loads(
        json.dumps(world.truth().to_dict("records"), default=str)
    )
    assert os.getpid() == world.facts.pid
