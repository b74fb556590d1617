"""One step carried out: both sides read again, judged, one conditional write, and the row read back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lib.aws.errors import is_throttled
from lib.aws.rows import is_tombstone
from lib.aws.writers import World
from lib.display import mask_emails
from lib.model import AwsError, CredentialsError, Item, email_key
from lib.repair.step import (
    KEPT_ROW,
    NO_FACTS,
    SERVICE_SET,
    Step,
    differing,
    facts,
    is_written,
    same,
    text_of,
    version_of,
)

_REFUSED_BY_AWS = ("AccessDenied", "AccessDeniedException", "Unauthorized", "UnauthorizedException", "403")
_SKEW = timedelta(minutes=1)
_MOVED = ("ConditionalCheckFailed", "ConflictUnhandled")
_NO_ANSWER = ("TimeoutError", "ConnectionError", "ConnectionClosedError", "HTTPClientError", "IncompleteReadError")
WAYS_OUT = (
    "Three ways out: an API key that is valid (POOLTABLE_<ENVIRONMENT>_API_KEY), the role's name in Amplify's "
    'custom-roles.json, or writer = "dynamodb" in pooltable.toml.'
)


@dataclass(frozen=True)
class Outcome:
    """What became of a step: done, already, refused, failed or unknown; `planned` where it never began.

    ``stops`` is true when no later step could fare better: somebody must sign in or give a permission first;
    ``throttled`` when nothing was done because the service asks for fewer requests.
    """

    number: int
    state: str
    message: str = ""
    before: Item | None = None
    after: Item | None = None
    request_id: str = ""
    stops: bool = False
    throttled: bool = False


def carry_out(world: World, step: Step, at: datetime, correlation: str, *, resent: bool = False) -> Outcome:
    """Write what a step wants unless the world has moved on, and return what became of it.

    ``at`` is the time the row is given; ``resent`` says that an earlier try may have been done without an answer.
    """
    try:
        account = _account(world, step, correlation)
        kept = _is_kept(world, step)
        row = world.row(step.row_id)
    except AwsError as error:
        return not_begun(world, step, error)
    verdict = judge(step, account, row, correlation)
    if verdict is None and not kept:
        verdict = "refused", "The account's other row is gone, so this is its only one."
    if verdict:
        return Outcome(step.number, *verdict)
    wanted = step.wanted(row, at)
    try:
        written, request_id = _send(world, step, row, wanted)
    except AwsError as error:
        return _Unsure(world, step, at, correlation, account, row, wanted, error, resent).settled()
    if not is_written(written, _as_versioned(step, wanted, written), created=row is None):
        return Outcome(
            step.number, "refused", "The row was changed by somebody else during the write; it is not as planned."
        )
    return _confirmed(world, step, row, written, request_id)


def judge(step: Step, account: dict[str, Any] | None, row: Item | None, correlation: str) -> tuple[str, str] | None:
    """Return the state and the reason why a step must not be carried out, None where it may. Pure."""
    changed = _account_moved(step, account)
    if changed:
        return "refused", changed
    if step.before is None:
        return None if row is None else _occupied(step, row, correlation)
    met = _met(step, row)
    if met:
        return met
    moved = differing(row, step.before)
    return None if not moved else ("refused", f"The row was changed meanwhile: {', '.join(moved)}.")


def _met(step: Step, row: Item | None) -> tuple[str, str] | None:
    """Return the verdict where a row that was there is gone, or is as the step wants it already."""
    is_gone = row is None or is_tombstone(row)
    if step.deletes:
        return ("already", "The row is gone.") if is_gone else None
    if row is None:
        return "refused", "The row was deleted meanwhile."
    if step.revives:
        return None if is_gone else ("already", "The row is there.")
    if is_gone:
        return "refused", "The row was deleted meanwhile."
    if step.stamps:
        return ("already", "The row has a version.") if version_of(row) is not None else None
    return ("already", "The row has these values.") if _is_met(step, row) else None


def is_ours(world: World, found: Item | None, wanted: Item | None, *, created: bool) -> bool:
    """Return whether a row is the work of a write whose answer was lost."""
    if world.writer == "dynamodb":
        # Recognised by the very times that the write gave it.
        return same(found, wanted)
    return is_written(found, wanted, created=created) and not (created and _is_older(found, wanted))


def _is_older(found: Item | None, wanted: Item | None) -> bool:
    """Return whether a row was created before the write began, so by somebody else: AppSync gives the time itself."""
    times = [text_of(item or {}, "createdAt") for item in (found, wanted)]
    try:
        created, tried = (datetime.fromisoformat(time or "") for time in times)
        return created < tried - _SKEW
    except (ValueError, TypeError):
        return True


def _account(world: World, step: Step, correlation: str) -> dict[str, Any] | None:
    if step.account and step.account_id:
        return world.account(step.account_id)
    return world.holder(step.before, correlation) if step.needs_no_account and step.before else None


def _is_kept(world: World, step: Step) -> bool:
    """Return whether the row that an account is to keep is still there; true where none is named."""
    kept = step.account.get(KEPT_ROW)
    if not kept:
        return True
    row = world.row(kept)
    return row is not None and not is_tombstone(row)


def _account_moved(step: Step, account: dict[str, Any] | None) -> str | None:
    if not step.account:
        return "An account has come to this row meanwhile." if account is not None else None
    if account is None:
        return "The account is gone."
    current = facts(account)
    if current["sub"] != step.account.get("sub"):
        return "The account is gone; another one has its username now."
    taken = {name: value for name, value in step.account.items() if name not in NO_FACTS}
    moved = [name for name, value in taken.items() if (current.get(name) or None) != (value or None)]
    return f"The account was changed meanwhile: {', '.join(moved)}." if moved else None


def _occupied(step: Step, row: Item, correlation: str) -> tuple[str, str]:
    if is_tombstone(row):
        return "refused", "A soft-deleted row has this id. Refresh, then plan again: reviving it is a step of its own."
    if "_deleted" in row and row["_deleted"] not in ({"BOOL": False}, {"NULL": True}):
        return "refused", "A malformed row has this id."
    if step.restores and set(differing(row, step.after)) - {*SERVICE_SET}:
        return "refused", "Another row has this id now."
    if not _is_of_account(step, row, correlation):
        return "refused", "A row that is not this account's has this id."
    return "already", "The row is there."


def _is_of_account(step: Step, row: Item, correlation: str) -> bool:
    if correlation == "email":
        return email_key(text_of(row, "email")) == email_key(step.account.get("email"))
    if correlation == "owner":
        return text_of(row, "owner") in (step.account_id, f"{step.sub}::{step.account_id}")
    return True


def _is_met(step: Step, row: Item) -> bool:
    return all(_has(step, row, name, value) for name, value in step.changes().items())


def _has(step: Step, row: Item, name: str, value: dict[str, Any] | None) -> bool:
    if name == "email" and step.account and step.after:
        # Case and spaces are no drift.
        return email_key(text_of(row, "email")) == email_key(text_of(step.after, "email"))
    return row.get(name) == value


def _send(world: World, step: Step, row: Item | None, wanted: Item | None) -> tuple[Item | None, str]:
    if wanted is None:
        assert row is not None
        return world.delete(row)
    if row is None:
        return world.restore(wanted) if step.restores else world.create(wanted)
    return world.update(row, wanted)


def _as_versioned(step: Step, wanted: Item | None, written: Item | None) -> Item | None:
    """Return the wanted row; one that is only stamped may begin at whichever version the service gives it."""
    if step.stamps and wanted and written and version_of(written) is not None:
        return wanted | {"_version": written["_version"]}
    return wanted


def _confirmed(world: World, step: Step, row: Item | None, written: Item | None, request_id: str) -> Outcome:
    try:
        found = world.row(step.row_id)
    except AwsError as error:
        said = f"The write was acknowledged, but could not be read back. {error}"
        return Outcome(step.number, "unknown", said, request_id=request_id, stops=_is_hopeless(error))
    wanted = None if step.after is None else written
    if is_written(found, wanted, created=row is None):
        return Outcome(step.number, "done", before=row, after=found, request_id=request_id)
    said = "The row was changed again by somebody else right after."
    return Outcome(step.number, "done", said, before=row, after=written, request_id=request_id)


@dataclass(frozen=True)
class _Unsure:
    """A write that ended in an error: what the error says, and the row read back, settle what became of it."""

    world: World
    step: Step
    at: datetime
    correlation: str
    account: dict[str, Any] | None
    row: Item | None
    wanted: Item | None
    error: AwsError
    resent: bool

    def settled(self) -> Outcome:
        moved = any(code in self.error.code for code in _MOVED)
        if not moved and not self.error.maybe_done:
            return not_begun(self.world, self.step, self.error)
        try:
            found = self.world.row(self.step.row_id)
        except AwsError as error:
            said = f"{self.error} It could not be read back either. {error}"
            return self._outcome("unknown", said, stops=_is_hopeless(error))
        if self._is_ours(found):
            said = "Settled by reading back: the answer to the write was lost."
            return self._outcome("done", said, before=self.row, after=found)
        if same(found, self.row) and not moved:
            return self._not_there()
        return self._outcome(*(self._verdict(found) or ("refused", "The row was changed during the write.")))

    def _is_ours(self, found: Item | None) -> bool:
        may_be = self.world.writer == "dynamodb" or self.error.maybe_done or self.resent
        return may_be and is_ours(self.world, found, self.wanted, created=self.row is None)

    def _not_there(self) -> Outcome:
        if isinstance(self.error, CredentialsError):
            return not_begun(self.world, self.step, self.error)
        if not self.resent:
            return carry_out(self.world, self.step, self.at, self.correlation, resent=True)
        # Without any answer it may still be on its way.
        if self.error.code.endswith(_NO_ANSWER):
            return self._outcome("unknown", str(self.error))
        return self._outcome("failed", str(self.error), throttled=is_throttled(self.error))

    def _verdict(self, found: Item | None) -> tuple[str, str] | None:
        return judge(self.step, self.account, found, self.correlation)

    def _outcome(self, state: str, message: str, **more: Any) -> Outcome:
        return Outcome(self.step.number, state, message, request_id=self.error.request_id, **more)


def not_begun(world: World, step: Step, error: AwsError) -> Outcome:
    """Return the outcome of a step of which AWS says that nothing was done."""
    said = mask_emails(str(error))
    # Who may not write to the table may well call the API: a later step can fare better.
    is_past_the_api = world.writer == "appsync" and step.goes_past_the_api and not isinstance(error, CredentialsError)
    if is_past_the_api or not _is_hopeless(error):
        throttled = is_throttled(error)
        return Outcome(step.number, "failed", said, request_id=error.request_id, throttled=throttled)
    if world.writer == "appsync" and error.action == "appsync:GraphQL":
        said = f"{said} {WAYS_OUT}"
    return Outcome(step.number, "planned", said, request_id=error.request_id, stops=True)


def _is_hopeless(error: AwsError) -> bool:
    return isinstance(error, CredentialsError) or error.code in _REFUSED_BY_AWS
