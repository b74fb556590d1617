"""A refresh against an AWS that answers as a test scripts it: what is read, in which order, and what is not known."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from aws_kit import Answer, Hasty, described_table, error, page, scripted_aws, settings

from lib.journal import Journal
from lib.model import Refused, now
from lib.refresh import refresh
from lib.repair.plan import plan
from lib.snapshot import Store
from lib.views import failures

LONG_AGO = now() - timedelta(days=3)
FIRST, SECOND = "e7197558-4df6-413b-84b1-3001c68e634c", "f7197558-4df6-413b-84b1-3001c68e634c"


@pytest.fixture(scope="module")
def server():
    with scripted_aws() as fake:
        yield fake


class Place:
    """One scripted pool, table and log group, and the store that its refreshes go to."""

    def __init__(self, fake, folder):
        self.fake = fake
        self.accounts, self.rows, self.unscanned, self.events = [], [], [], []
        self.journal = Journal(f"sqlite:///{folder}/journal.db")
        self.store = Store(str(folder / "snapshots"), "test", 30)
        fake.reset()
        fake.script("DescribeUserPool", page(UserPool={"Id": "p", "LambdaConfig": {}}))
        fake.script("DescribeTable", described_table())
        fake.script("DescribeLogGroups", page(logGroups=[{"logGroupName": "/aws/lambda/f", "creationTime": 0}]))
        fake.script_by("ListUsers", lambda _: page(Users=self.accounts))
        fake.script_by("Scan", lambda body: page(Items=self.rows if body.get("Segment", 0) == 0 else []))
        fake.script_by("BatchGetItem", self._found)
        fake.script_by("FilterLogEvents", self._logged)

    def refresh(self, **changed):
        chosen = settings(self.fake.url, table="User", log_groups=("/aws/lambda/f",), **changed)
        self.settings = chosen
        return refresh(Hasty(chosen), self.store, self.journal)

    def _found(self, body):
        asked = {key["id"]["S"] for key in body["RequestItems"]["User"]["Keys"]}
        found = [row for row in [*self.rows, *self.unscanned] if row["id"]["S"] in asked]
        return page(Responses={"User": found}, UnprocessedKeys={})

    def _logged(self, body):
        inside = [event for event in self.events if body["startTime"] <= event["timestamp"] <= body["endTime"]]
        return page(events=inside)


@pytest.fixture
def place(server, tmp_path):
    made = Place(server, tmp_path)
    yield made
    made.journal.close()


def account(name, created_at=LONG_AGO):
    return {
        "Username": name,
        "Attributes": [{"Name": "sub", "Value": name}, {"Name": "email", "Value": f"{name}@mail.test"}],
        "UserCreateDate": created_at.timestamp(),
        "UserLastModifiedDate": created_at.timestamp(),
        "Enabled": True,
        "UserStatus": "CONFIRMED",
    }


def row(name):
    return {"id": {"S": name}, "email": {"S": f"{name}@mail.test"}, "createdAt": {"S": "2026-01-01T00:00:00.000Z"}}


def ran(request_id, name, at):
    """The events of one run of the trigger that finished."""
    event = {"userPoolId": "p", "userName": name, "triggerSource": "PreSignUp_SignUp", "request": {}}
    moment = int(at.timestamp() * 1000)
    said = [
        f"START RequestId: {request_id} Version: $LATEST\n",
        f"2026-11-20T06:00:00.358Z\t{request_id}\tINFO\tdebug cognito EVENT: {json.dumps(event)}\n",
        f"END RequestId: {request_id}\n",
        f"REPORT RequestId: {request_id}\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\t\n",
    ]
    return [
        {"logStreamName": "s", "timestamp": moment + i, "message": text, "eventId": f"{moment + i:056d}"}
        for i, text in enumerate(said)
    ]


def situations(snapshot):
    return {line["account_id"] or line["row_id"]: line["situation"] for line in snapshot.table("pairs").to_pylist()}


def causes(snapshot):
    return {line["account_id"] or line["row_id"]: line["cause"] for line in snapshot.table("pairs").to_pylist()}


def test_accounts_are_read_to_their_end_before_the_first_row(place):
    place.accounts = [account("anna")]
    place.refresh()
    order = [name for name, body in place.fake.requests if name == "ListUsers" or "Segment" in body]
    assert order.count("ListUsers") == 1
    assert order[0] == "ListUsers"


def test_a_row_that_the_scan_missed_is_found_by_a_consistent_read(place):
    place.accounts, place.rows, place.unscanned = [account("anna"), account("bob")], [row("anna")], [row("bob")]
    assert situations(place.refresh()) == {"anna": "in_sync", "bob": "in_sync"}
    [asked] = place.fake.asked("BatchGetItem")
    assert asked["RequestItems"]["User"]["ConsistentRead"] is True
    assert [key["id"]["S"] for key in asked["RequestItems"]["User"]["Keys"]] == ["bob"]


def test_where_rows_are_not_matched_by_id_the_whole_scan_is_consistent(place):
    place.accounts, place.rows = [account("anna")], [row("anna")]
    place.refresh(correlation="email")
    assert {scan["ConsistentRead"] for scan in place.fake.asked("Scan") if "Segment" in scan} == {True}
    assert place.fake.asked("BatchGetItem") == []


def test_an_account_of_this_minute_is_not_called_an_orphan(place):
    place.accounts = [account("anna", now()), account("bob")]
    assert situations(place.refresh()) == {"anna": "in_flight", "bob": "orphaned_account"}


@pytest.mark.parametrize(
    ("operation", "source", "action"),
    [("ListUsers", "accounts", "ListUsers"), ("Scan", "rows", "Scan"), ("FilterLogEvents", "invocations", "Filter")],
)
def test_a_source_that_is_denied_is_named_and_gives_no_plan(place, operation, source, action):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna"), row("carl")]
    place.fake.script(operation, error("AccessDeniedException", "no"))
    snapshot = place.refresh()
    assert snapshot.manifest["complete"] is False
    assert [name for name, read in snapshot.manifest["sources"].items() if not read["complete"]] == [source]
    assert action in snapshot.manifest["sources"][source]["why_not"]
    with pytest.raises(Refused, match="not everything was read"):
        plan(snapshot, place.settings)


def test_without_all_rows_no_account_is_called_an_orphan(place):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna")]
    place.fake.script("Scan", error("AccessDeniedException", "no"))
    snapshot = place.refresh()
    assert snapshot.findings.empty
    assert len(snapshot.accounts) == 2


def test_without_all_accounts_no_row_is_called_an_orphan(place):
    place.rows = [row("anna")]
    place.fake.script("ListUsers", error("TooManyRequestsException", "slow down"))
    assert place.refresh().findings.empty


def test_without_the_log_situations_stand_and_causes_are_withheld(place):
    place.accounts = [account("anna")]
    place.fake.script("FilterLogEvents", error("AccessDeniedException", "no"))
    snapshot = place.refresh()
    assert situations(snapshot) == {"anna": "orphaned_account"}
    assert causes(snapshot) == {"anna": "logs_unavailable"}
    assert "the log that was read" in snapshot.findings["reason"][0]
    assert "logs:FilterLogEvents" in snapshot.manifest["sources"]["invocations"]["why_not"]


def test_credentials_that_expire_in_mid_read_leave_the_last_good_snapshot(place):
    place.accounts, place.rows = [account("anna")], [row("anna")]
    good = place.refresh()
    place.fake.script_by("Scan", lambda _: error("ExpiredTokenException", "expired"))
    assert place.refresh().manifest["complete"] is False
    assert place.store.last_complete().stamp == good.stamp


def test_an_html_page_in_place_of_rows_is_not_an_empty_table(place):
    place.accounts = [account("anna")]
    place.fake.script("Scan", Answer(b"<html>maintenance</html>"))
    assert place.refresh().manifest["sources"]["rows"]["complete"] is False


def test_an_empty_table_against_a_full_pool_is_suspicious_and_two_empty_sides_are_not(place):
    assert place.refresh().manifest["suspicious"] is False
    place.accounts = [account("anna")]
    assert place.refresh().manifest["suspicious"] is True


def test_the_second_refresh_reads_only_the_new_part_of_the_log_and_keeps_the_rest(place):
    place.accounts = [account("anna")]
    place.events = ran(FIRST, "anna", LONG_AGO)
    first = place.refresh()
    place.events += ran(SECOND, "bob", now() - timedelta(seconds=1))
    second = place.refresh()
    assert sorted(second.invocations["request_id"]) == [FIRST, SECOND]
    windows = [timedelta(milliseconds=ask["endTime"] - ask["startTime"]) for ask in place.fake.asked("FilterLogEvents")]
    assert windows[0] == timedelta(days=30)
    assert windows[1] < timedelta(hours=2)
    assert second.wiring.log_from == first.wiring.log_from
    assert causes(second) == {"anna": "silent_failure"}


def test_a_line_that_no_run_can_have_written_is_counted_once_however_often_it_is_read(place):
    def forged(at):
        moment = int(at.timestamp() * 1000)
        text = "END RequestId: 00000000-0000-4000-8000-000000000000\n"
        return [{"logStreamName": "s", "timestamp": moment, "message": text, "eventId": f"{moment:056d}"}]

    def suspicious(snapshot):
        return snapshot.manifest["sources"]["invocations"]["suspicious"]

    place.accounts = [account("anna")]
    place.events = ran(FIRST, "anna", now() - timedelta(minutes=9)) + forged(now() - timedelta(minutes=8))
    assert [suspicious(place.refresh()), suspicious(place.refresh())] == [1, 1]
    place.events += forged(now() - timedelta(milliseconds=1))
    snapshot = place.refresh()
    assert suspicious(snapshot) == 2
    assert failures.evidence(snapshot).suspicious_outside == 2
    assert "suspicious" not in snapshot.manifest["sources"]["rows"]


def test_a_log_group_that_does_not_exist_proves_nothing(place):
    place.accounts = [account("anna")]
    place.fake.script("FilterLogEvents", error("ResourceNotFoundException", "no such group"))
    snapshot = place.refresh()
    assert snapshot.manifest["complete"] is True
    assert causes(snapshot) == {"anna": "logs_unavailable"}


def test_a_log_that_could_not_be_read_leaves_no_gap_behind_it(place):
    first = place.refresh()
    place.fake.script("FilterLogEvents", error("AccessDeniedException", "no"))
    place.refresh()
    place.fake.script_by("FilterLogEvents", place._logged)
    third = place.refresh()
    started = datetime.fromisoformat(first.manifest["sources"]["invocations"]["started_at"])
    asked = datetime.fromtimestamp(place.fake.asked("FilterLogEvents")[-1]["startTime"] / 1000, UTC)
    assert asked < started
    assert third.wiring.log_from == first.wiring.log_from


def test_a_row_that_an_earlier_snapshot_had_was_deleted(place):
    place.accounts, place.rows = [account("anna")], [row("anna")]
    place.refresh()
    place.rows = []
    assert causes(place.refresh()) == {"anna": "row_deleted"}


def test_an_account_that_an_earlier_snapshot_had_was_deleted(place):
    place.accounts, place.rows = [account("anna")], [row("anna")]
    place.refresh()
    place.accounts = []
    assert causes(place.refresh()) == {"anna": "account_deleted"}


def wrote(place, item, *, undone=False):
    """A run of ours that created a row, and where ``undone`` the run that took it back."""
    run = {"environment": "test", "pool": place.settings.user_pool_id, "table": "User", "kind": "apply", "who": "ana"}
    run |= {"snapshot": "s", "digest": "d", "plan": {}, "plan_digest": "p", "undo_of": None, "why": None}
    step = {"number": 1, "action": "create_row", "situation": "orphaned_account", "row_id": item["id"]["S"]}
    for after in [item, None] if undone else [item]:
        run_id = place.journal.begin(run, [step])
        place.journal.outcome(run_id, 1, "done", after=after)


def test_a_row_that_the_journal_wrote_and_that_is_gone_was_deleted(place):
    place.accounts = [account("anna")]
    place.refresh()
    wrote(place, row("anna"))
    assert causes(place.refresh()) == {"anna": "row_deleted"}


def test_a_row_that_an_undo_took_back_was_not_deleted_by_anybody(place):
    place.accounts = [account("anna")]
    place.refresh()
    wrote(place, row("anna"), undone=True)
    assert causes(place.refresh()) == {"anna": "not_invoked"}


@pytest.mark.parametrize("correlation", ["email", "owner"])
def test_what_the_journal_wrote_is_known_by_what_matches_it(place, correlation):
    place.accounts = [account("anna")]
    place.refresh(correlation=correlation)
    wrote(place, row("anna") | {"id": {"S": "another-id"}, "owner": {"S": "anna::anna"}})
    assert causes(place.refresh(correlation=correlation)) == {"anna": "row_deleted"}


def test_a_correlation_learnt_by_owner_makes_the_scan_consistent_at_once_and_alone_the_next_time(place):
    place.accounts = [account("anna"), account("bob")]
    place.rows = [row("r1") | {"owner": {"S": "anna::anna"}}, row("r2") | {"owner": {"S": "bob"}}]
    first = place.refresh()
    assert (first.wiring.correlation, first.wiring.correlation_source) == ("owner", "learnt")
    scans = [scan["ConsistentRead"] for scan in place.fake.asked("Scan") if "Segment" in scan]
    assert (scans.count(False), scans.count(True)) == (4, 4)
    assert [line["situation"] for line in first.table("pairs").to_pylist()] == ["drift", "drift"]
    place.refresh()
    scans = [scan["ConsistentRead"] for scan in place.fake.asked("Scan") if "Segment" in scan]
    assert (scans.count(False), scans.count(True)) == (4, 8)


def test_without_a_clear_correlation_there_is_a_snapshot_and_no_plan(place):
    place.accounts, place.rows = [account("anna"), account("bob")], [row("anna"), row("x")]
    snapshot = place.refresh()
    assert (snapshot.manifest["complete"], snapshot.wiring.correlation) == (True, None)
    assert situations(snapshot) == {"anna": "in_sync", "bob": "orphaned_account", "x": "orphaned_row"}
    with pytest.raises(Refused, match="Set correlation"):
        plan(snapshot, place.settings)


def test_the_first_read_of_an_empty_table_can_be_accepted_and_planned_whole(place):
    place.accounts = [account("anna"), account("bob")]
    snapshot = place.refresh()
    assert snapshot.manifest["suspicious"] is True
    assert any("no living row" in warning for warning in snapshot.wiring.warnings)
    made = plan(snapshot, place.settings, accepted=True)
    assert sorted(step.row_id for step in made.steps) == ["anna", "bob"]
