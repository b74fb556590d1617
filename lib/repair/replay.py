"""Replays: the trigger's function run once more for an account without a row, with the event of its sign-up.

A function may do anything besides writing the row, so nothing here runs it twice: not for an answer that was lost,
not after a crash. Its own answer proves nothing either; only the row that is there afterwards does.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from lib.aws.errors import is_denied
from lib.aws.functions import name_of
from lib.aws.rows import is_tombstone
from lib.aws.writers import World
from lib.display import mask_emails
from lib.model import AwsError, CredentialsError, Item, Refused, Wiring, email_key
from lib.repair.carry_out import Outcome, judge, not_begun
from lib.repair.planner import among, records_by
from lib.repair.step import EVENT, FUNCTION, ORIGIN, Step, text_of

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

RECORDED, SYNTHESISED = "recorded", "synthesised"

# Not PostConfirmation_ConfirmForgotPassword, ever: a handler that puts without a condition erases the row with it.
_SOURCES = {
    "pre_sign_up": ("PreSignUp_SignUp", "PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider"),
    "post_confirmation": ("PostConfirmation_ConfirmSignUp",),
}
_OF_STATUS = {"FORCE_CHANGE_PASSWORD": "PreSignUp_AdminCreateUser", "EXTERNAL_PROVIDER": "PreSignUp_ExternalProvider"}
_CLIENTS_OWN = ("clientMetadata", "validationData")
_EARLY = timedelta(seconds=10)

# A handler may answer before its write has come through.
_PAUSES_S = (0.0, 0.5, 1.0, 2.0)
_LONGEST_RUN = timedelta(seconds=900 + 60)
_SKEW = timedelta(minutes=1)


def replayed(creates: Collection[Step], snapshot: "Snapshot") -> tuple[Step, ...]:
    """Return replays in the place of the steps that would create these rows.

    Raises ``Refused`` where the pool calls no function that could be run.
    """
    function = _function(snapshot.wiring)
    accounts = records_by(snapshot, "accounts", "username", [step.account_id for step in creates])
    events = _events(snapshot, accounts)
    return tuple(_replay(step, function, *events[str(step.account_id)]) for step in creates)


def notes(steps: Collection[Step]) -> Iterator[str]:
    """Yield what a person should know before replays are carried out."""
    replays = [step for step in steps if step.replays]
    if not replays:
        return
    yield (
        f"A replay runs the function {name_of(replays[0].account[FUNCTION] or '')} as Cognito would: all that it does "
        "besides happens again, such as mails and writes elsewhere. None of that can be undone; the row can, while it "
        "is as it was read back."
    )
    yield (
        "Each is run at most once, after a DryRun; what the function answers proves nothing, so the row is read back."
    )
    made = sum(step.account[ORIGIN] == SYNTHESISED for step in replays)
    yield f"{len(replays) - made} with the event as it was logged, {made} with one made from the account."
    if any(_lacks_values(step) for step in replays):
        yield "Logged events go without the values of clientMetadata and validationData, which are not kept."


def carry_out(world: World, step: Step, correlation: str) -> Outcome:
    """Run the function once if the account still has no row, and return what became of its row."""
    function, event = str(step.account[FUNCTION]), str(step.account[EVENT])
    try:
        verdict = judge(step, world.account(str(step.account_id)), world.row(step.row_id), correlation)
        if verdict:
            return Outcome(step.number, *verdict)
        world.run(function, event, dry_run=True)
    except AwsError as error:
        return _refused(step, error) if is_denied(error) else replace(not_begun(world, step, error), throttled=False)
    try:
        answer = world.run(function, event)
    except AwsError as error:
        if not error.maybe_done:
            # Told to wait, it would be run again from here: a person decides that.
            return replace(not_begun(world, step, error), throttled=False)
        return _read_back(world, step, error.request_id, f"{error} The function may still be running.", "unknown")
    said = f"The function ran, but no row came of it. {answer.error or 'It told of no error.'}"
    return _read_back(world, step, answer.request_id, said, "failed")


def settled(world: World, step: Step, tried_at: datetime, at: datetime) -> Outcome:
    """Return what became of a replay that was broken off, by reading back; the function is not run again."""
    found = world.row(step.row_id)
    if _is_met(step, found):
        if _is_older(found, tried_at):
            return Outcome(step.number, "already", "The row was there before the function was run.")
        return Outcome(step.number, "done", "Settled by reading back: the row is there.", after=found)
    if at - tried_at < _LONGEST_RUN:
        return Outcome(step.number, "unknown", "No row yet; the function may still be running.")
    return Outcome(step.number, "failed", "No row came of it. Nothing was run again: plan anew to do so.")


def follows(step: Step, created: Item, snapshot: "Snapshot") -> bool:
    """Return whether a replay is the one that its snapshot gives, for the row that its account would be given."""
    accounts = records_by(snapshot, "accounts", "username", [step.account_id])
    if not accounts or step.before is not None or step.after != _expected(created):
        return False
    event, origin = _events(snapshot, accounts)[str(step.account_id)]
    told = {EVENT: event, ORIGIN: origin, FUNCTION: snapshot.wiring.triggers.get(snapshot.wiring.trigger)}
    return step.row_id == text_of(created, "id") and told.items() <= step.account.items()


def _replay(step: Step, function: str, event: str, origin: str) -> Step:
    assert step.after is not None
    return replace(
        step,
        action="replay",
        after=_expected(step.after),
        condition="no row has this id, the account is as it was read, and DryRun says that the role may",
        account={**step.account, EVENT: event, FUNCTION: function, ORIGIN: origin},
    )


def _function(wiring: Wiring) -> str:
    function = wiring.triggers.get(wiring.trigger)
    if function is None:
        raise Refused("There is no replay: the pool calls no function at sign-up. Attach the trigger, then refresh.")
    return function


def _expected(created: Item) -> Item:
    return {name: created[name] for name in ("id", "email") if name in created}


def _events(snapshot: "Snapshot", accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return for each account the event to run the function with, and where it is from."""
    chosen = {name: (_synthesised(account, snapshot.wiring), SYNTHESISED) for name, account in accounts.items()}
    runs = snapshot.table("invocations")
    runs = runs.filter(pc.and_(pc.is_valid(runs["event"]), among(runs["username"], accounts)))
    for run in runs.select(["username", "started_at", "event"]).sort_by("started_at").to_pylist():
        account = accounts[run["username"]]
        if run["started_at"] >= account["created_at"] - _EARLY and _fits(run["event"], account, snapshot.wiring):
            chosen[run["username"]] = run["event"], RECORDED
    return chosen


def _fits(text: str, account: Mapping[str, Any], wiring: Wiring) -> bool:
    """Return whether a logged event is a sign-up of this very account, as it is now."""
    try:
        event = json.loads(text)
        attributes = event["request"]["userAttributes"] or {}
        named = (event["userPoolId"], event["userName"], email_key(attributes.get("email")))
        is_sign_up = event["triggerSource"] in _SOURCES[wiring.trigger]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    wanted = (wiring.pool, account["username"], account["email_key"])
    return is_sign_up and named == wanted and attributes.get("sub") in (None, account["sub"])


def _synthesised(account: Mapping[str, Any], wiring: Wiring) -> str:
    attributes = json.loads(account["attributes"] or "{}")
    is_new = wiring.trigger == "pre_sign_up"
    if is_new:
        # Cognito gives the sub only once the account is there.
        attributes.pop("sub", None)
    else:
        attributes = {"sub": account["sub"], "cognito:user_status": account["status"]} | attributes
    response = dict.fromkeys(("autoConfirmUser", "autoVerifyEmail", "autoVerifyPhone"), False) if is_new else {}
    source = _OF_STATUS.get(account["status"], "PreSignUp_SignUp") if is_new else "PostConfirmation_ConfirmSignUp"
    event = {
        "version": "1",
        "region": wiring.region,
        "userPoolId": wiring.pool,
        "userName": account["username"],
        "callerContext": {"awsSdkVersion": "pooltable-replay", "clientId": "CLIENT_ID_NOT_APPLICABLE"},
        "triggerSource": source,
        "request": {"userAttributes": attributes},
        "response": response,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _lacks_values(step: Step) -> bool:
    request = json.loads(step.account[EVENT] or "{}").get("request") or {}
    return step.account[ORIGIN] == RECORDED and any(request.get(name) for name in _CLIENTS_OWN)


def _refused(step: Step, error: AwsError) -> Outcome:
    return Outcome(step.number, "refused", f"The function was not run. {error}", request_id=error.request_id)


def _read_back(world: World, step: Step, request_id: str, without_row: str, state: str) -> Outcome:
    """Return the outcome that the row tells, given a few seconds; ``state`` where there is none."""
    found = None
    try:
        for pause in _PAUSES_S:
            time.sleep(pause)
            found = world.row(step.row_id)
            if _is_met(step, found):
                return Outcome(step.number, "done", after=found, request_id=request_id)
    except AwsError as error:
        said = f"The function ran, but its row could not be read back. {error}"
        stops = isinstance(error, CredentialsError) or is_denied(error)
        return Outcome(step.number, "unknown", mask_emails(said), request_id=request_id, stops=stops)
    if found is not None:
        without_row = "The function ran, and the row that is there has another e-mail, or is soft-deleted."
        state = "failed"
    return Outcome(step.number, state, mask_emails(without_row), request_id=request_id)


def _is_met(step: Step, found: Item | None) -> bool:
    """Return whether the account has its row: alive, with its e-mail."""
    if found is None or is_tombstone(found):
        return False
    return email_key(text_of(found, "email")) == email_key(step.account.get("email"))


def _is_older(found: Item | None, tried_at: datetime) -> bool:
    try:
        created_at = datetime.fromisoformat(text_of(found or {}, "createdAt") or "")
    except ValueError:
        return False
    return created_at.replace(tzinfo=created_at.tzinfo or UTC) < tried_at - _SKEW
