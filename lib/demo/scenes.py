"""The scenes of the demo's history: each tells some people's stories and knows what a first refresh makes of them.

A scene's `situation` and `cause` follow the rules for what can be known without an earlier snapshot: a row whose
account was deleted, for one, looks like a rejected sign-up until a snapshot has seen its account.
"""

import random
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lib.demo.people import HOSTILE, Person
from lib.demo.story import CONFIRMED, PASSWORD_RESET, Run, Story, identities

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Draft:
    """The history while it is being written: plain sign-ups to take stories from, and all stories so far."""

    rng: random.Random
    now: datetime
    logs_from: datetime
    key_expires_at: datetime
    people: Iterator[Person]
    scale: float
    versioned: bool
    plain: list[Story] = field(default_factory=list)
    special: list[Story] = field(default_factory=list)

    def count(self, of_3000: int) -> int:
        """Return how many there are of something in this world that a world of 3,000 has ``of_3000`` of."""
        return max(1, round(of_3000 * self.scale))

    def pick(self, of_3000: int, since: datetime, until: datetime) -> list[Story]:
        """Return some plain sign-ups of a time."""
        candidates = [story for story in self.plain if since <= story.at < until]
        return self.rng.sample(candidates, min(self.count(of_3000), len(candidates)))

    def take(self, of_3000: int, since: datetime | None = None, until: datetime | None = None) -> list[Story]:
        """Move some plain sign-ups of a time (default: within the logs, before the key expired) out and return them."""
        taken = self.pick(of_3000, since or self.logs_from + HOUR, until or self.key_expires_at - HOUR)
        chosen = {story.username for story in taken}
        self.plain = [story for story in self.plain if story.username not in chosen]
        self.special += taken
        return taken

    def story(self, at: datetime, person: Person | None = None, **facts: Any) -> Story:
        """Return a new story of somebody, or of the given person again, under a new id."""
        username = self.uuid()
        told = Story(person or next(self.people), at, username=username, sub=username, **facts)
        self.special.append(told)
        return told

    def uuid(self) -> str:
        """Return a random UUID that the seed decides."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def moment(self, since: datetime, until: datetime) -> datetime:
        """Return some moment between two."""
        return since + (until - since) * self.rng.random()

    def some_time(self, *, logged: bool) -> datetime:
        """Return some moment that the logs cover, while the key was valid; or one from before the logs."""
        if logged:
            return self.moment(self.logs_from + DAY, self.key_expires_at - DAY)
        return self.moment(self.now - 59 * DAY, self.logs_from - DAY)

    def quick(self) -> float:
        """Return how many milliseconds a healthy run takes."""
        return round(self.rng.lognormvariate(4.4, 0.45) + 20, 2)


def lost(stories: list[Story], cause: str) -> None:
    """Let these accounts have no row."""
    for story in stories:
        story.has_row, story.situation, story.cause = False, "orphaned_account", cause


def key_expired(draft: Draft) -> None:
    """The API key in the trigger's environment expired two days ago; every sign-up since lost its row in silence."""
    caught = [story for story in draft.plain if story.at >= draft.key_expires_at]
    draft.plain = [story for story in draft.plain if story.at < draft.key_expires_at]
    draft.special += caught
    lost(caught, "api_key_expired")


def in_flight(draft: Draft) -> None:
    """Sign-ups of the last minutes: nobody can judge them yet, on either side."""
    for _ in range(draft.count(4)):
        story = draft.story(draft.now - MINUTE * draft.rng.uniform(0.5, 6), confirmed_after=None, status="UNCONFIRMED")
        lost([story], "api_key_expired")
        story.later = (str(story.situation), str(story.cause))
        story.situation, story.cause = "in_flight", None
    # The staff's own tool writes the row first and signs its calls, so no expired key stops it.
    early = draft.story(draft.now - 2 * MINUTE, runs=[], has_account=False, row_at=draft.now - 2 * MINUTE)
    early.situation, early.later = "in_flight", ("orphaned_row", "unknown")
    running = Run(duration_ms=0, ending="incomplete")
    draft.story(draft.now - timedelta(seconds=2), runs=[running], has_account=False, has_row=False, situation=None)


def swallowed(draft: Draft) -> None:
    """Now and then the API answered 5xx and the handler kept it to itself."""
    lost(draft.take(12), "silent_failure")


def errors_printed(draft: Draft) -> None:
    """For one day a debugging deploy printed the error that it caught."""
    printed = draft.take(6)
    start = draft.now - 17 * DAY
    lost(printed, "trigger_error")
    for story in printed:
        story.at = draft.moment(start, start + DAY)
        story.runs[0].logged = "Error creating user: Error: Request failed with status code 503"
        story.runs[0].duration_ms = 900 + draft.quick()


def slow_deploy(draft: Draft) -> None:
    """A deploy of twelve days ago hung: time-outs, refused sign-ups, late writes; three hours until it was undone."""
    start, end = draft.now - 12 * DAY, draft.now - 12 * DAY + 3 * HOUR
    hung, attempts = 25_000.0, (0.0, 5.05, 10.1)
    for _ in range(draft.count(22)):  # three attempts timed out: Cognito refuses the sign-up, nothing is left of it
        runs = [Run(after, hung, "timeout") for after in attempts]
        draft.story(draft.moment(start, end), runs=runs, has_account=False, has_row=False, situation=None)
    for story in draft.take(9):
        story.at, story.runs = draft.moment(start, end), [Run(0.0, hung, "timeout"), Run(5.05, draft.quick())]
    for story in (swallowed_at_last := draft.take(3)):
        story.at, story.runs = draft.moment(start, end), [Run(0.0, hung, "timeout"), Run(5.05, draft.quick())]
    lost(swallowed_at_last, "silent_failure")
    for index in range(draft.count(6)):  # the row was written after Cognito had given up
        runs = [Run(after, 1000 * draft.rng.uniform(6.5, 9)) for after in attempts]
        late = draft.story(draft.moment(start, end), runs=runs, has_account=False)
        late.situation, late.cause = "orphaned_row", "late_write"
        if index % 3 == 0:
            draft.story(late.at + 4 * HOUR, late.person)
    # The new telemetry layer outlived the handler: Cognito had its answer, the sandbox then ended badly.
    for cause, ending, number in (
        ("trigger_timeout", "timeout", 14),
        ("trigger_out_of_memory", "oom", 4),
        ("trigger_exit", "exit", 5),
        ("trigger_incomplete", "incomplete", 2),
    ):
        ended_badly = draft.take(number)
        lost(ended_badly, cause)
        for story in ended_badly:
            took = hung if ending == "timeout" else 900 + draft.quick()
            story.at, story.runs = draft.moment(start, end), [Run(0.0, took, ending)]


def broken_deploy(draft: Draft) -> None:
    """Eight days ago a package without its modules was live for twenty minutes."""
    start = draft.now - 8 * DAY
    for _ in range(draft.count(5)):
        runs = [Run(after, 130.0, "init_error") for after in (0.0, 5.1, 10.2)]
        at = draft.moment(start, start + 10 * MINUTE)
        draft.story(at, runs=runs, has_account=False, has_row=False, situation=None)
    # The attempt that let these in left no lines: its stream was lost with its sandbox.
    let_in = draft.take(3)
    lost(let_in, "trigger_init_error")
    for index, story in enumerate(let_in):
        # A failed start names nobody: it explains an account only where no other one came or changed near it.
        story.at = start + 20 * MINUTE * (index + 0.5) / len(let_in)
        story.runs, story.modified_at = [Run(0.0, 130.0, "init_error")], story.at + 3 * HOUR + index * MINUTE


def trigger_detached(draft: Draft) -> None:
    """Thirty-three days ago a push took the trigger off the pool for an hour."""
    start = draft.now - 33 * DAY
    unseen = draft.take(6)
    lost(unseen, "not_invoked")
    for story in unseen:
        story.at, story.runs = draft.moment(start, start + HOUR), []


def before_the_logs(draft: Draft) -> None:
    """Losses from before the log group was created: nothing is left that could say why."""
    start = draft.now - 59 * DAY
    lost(draft.take(13, start, draft.logs_from - HOUR), "logs_unavailable")


def imported(draft: Draft) -> None:
    """A partner's 120 users came by CSV, which runs no trigger."""
    at = draft.now - 25 * DAY
    for index in range(draft.count(120)):
        moment = at + timedelta(milliseconds=410 * index)
        story = draft.story(moment, runs=[], status="RESET_REQUIRED", confirmed_after=None)
        lost([story], "imported")


def by_staff(draft: Draft) -> None:
    """Accounts that the staff created; their tool mostly writes the row too."""
    for index in range(draft.count(40)):
        logged = index % 8 != 7
        story = draft.story(draft.some_time(logged=logged), source="PreSignUp_AdminCreateUser")
        story.status = "FORCE_CHANGE_PASSWORD"
        story.runs[0].duration_ms = draft.quick()
        if index % 4 == 0 or not logged:
            story.runs = []
            lost([story], "admin_created" if logged else "logs_unavailable")


def federated(draft: Draft) -> None:
    """People who sign in with Google; some have a password account with the same e-mail besides."""
    natives = [story for story in draft.plain if story.at > draft.now - 50 * DAY]
    for index in range(draft.count(60)):
        twin = natives[index] if index % 10 == 5 and index < len(natives) else None
        logged = index % 15 != 14
        at = draft.some_time(logged=logged)
        google = str(draft.rng.randrange(10**20, 10**21))
        story = draft.story(at, twin.person if twin else None, source="PreSignUp_ExternalProvider")
        story.username, story.attributes = f"Google_{google}", identities(google, at)
        story.status, story.verified = "EXTERNAL_PROVIDER", False
        story.runs[0].duration_ms = draft.quick()
        if index % 8 == 0 or not logged:
            story.runs = []
            lost([story], "federated" if logged else "logs_unavailable")
    # Cognito is known to show the trigger the provider's name in lower case.
    healthy = [told for told in draft.special if told.status == "EXTERNAL_PROVIDER" and told.situation == "in_sync"]
    for story in healthy[:1]:
        story.runs[0].username = story.username.lower()
        lost([story], "silent_failure")


def repeated(draft: Draft) -> None:
    """In an e-mail pool a second sign-up gets a new id, writes a second row, and is refused only then."""
    seen = draft.pick(18, draft.logs_from + HOUR, draft.key_expires_at - 4 * DAY)
    unseen = draft.pick(3, draft.now - 60 * DAY, draft.logs_from - 4 * DAY)
    for first in seen + unseen:
        again = draft.story(first.at + 3 * DAY * draft.rng.uniform(0.01, 1), first.person, has_account=False)
        again.runs[0].duration_ms = draft.quick()
        again.situation, again.cause = "orphaned_row", "repeat_sign_up" if first in seen else "unknown"


def rejected(draft: Draft) -> None:
    """The row was written, then Cognito refused the sign-up: its e-mail could not be delivered."""
    for story in draft.take(8):
        story.has_account, story.situation, story.cause = False, "orphaned_row", "sign_up_rejected"


def deleted_accounts(draft: Draft) -> None:
    """Accounts that were deleted since; their rows stay. On a first refresh nothing tells so."""
    for story in draft.take(26):
        story.has_account, story.situation, story.cause = False, "orphaned_row", "sign_up_rejected"
    for story in draft.take(14, draft.now - 59 * DAY, draft.logs_from - HOUR):
        story.has_account, story.situation, story.cause = False, "orphaned_row", "unknown"


def no_email_in_event(draft: Draft) -> None:
    """A client sent no attributes at all: the handler threw, Cognito refused."""
    for _ in range(draft.count(4)):
        at = draft.moment(draft.logs_from + DAY, draft.key_expires_at)
        draft.story(at, runs=[Run(0.0, 24.0, "error")], has_account=False, has_row=False, situation=None)


def changed_emails(draft: Draft) -> None:
    """E-mails that were changed in Cognito only; a few differ in case only, one only to a computer."""
    for index, story in enumerate(draft.take(26)):
        newcomer = next(draft.people)
        story.email, story.row_email = newcomer.email, story.person.email
        story.modified_at = draft.moment(story.at + 2 * HOUR, draft.now - HOUR)
        story.verified, story.situation = index % 4 != 3, "drift"
    for story in draft.take(6):
        local, _, domain = story.person.email.partition("@")
        story.row_email = f"{local.title()}@{domain}"
    for story in draft.take(1):
        composed = "jos\u00e9." + story.person.email
        story.email, story.row_email = composed, unicodedata.normalize("NFD", composed)
        story.situation = "drift"


def deleted_rows(draft: Draft) -> None:
    """Rows deleted in Amplify Studio: a versioned table keeps them for 30 days."""
    if not draft.versioned:
        return
    month_ago = draft.now - 29 * DAY
    for index, story in enumerate(draft.take(14, month_ago)):
        deleted_at = draft.moment(story.at + HOUR, draft.now - HOUR)
        story.row_patch = tombstone(deleted_at)
        story.situation, story.has_account = "tombstone", index % 3 != 2
        if not story.has_account:
            story.situation = None


def tombstone(at: datetime) -> dict[str, dict[str, Any] | None]:
    """Return the attributes by which AppSync marks a row as deleted, for 30 more days."""
    return {
        "_deleted": {"BOOL": True},
        "_version": {"N": "2"},
        "_lastChangedAt": {"N": str(int(at.timestamp() * 1000))},
        "_ttl": {"N": str(int((at + 30 * DAY).timestamp()))},
    }


def written_by_script(draft: Draft) -> None:
    """Rows that a script put straight into DynamoDB, without the version fields."""
    for index, story in enumerate(draft.take(14)):
        story.row_patch = {"_version": None, "_lastChangedAt": None}
        story.situation = "unversioned_row" if draft.versioned else "in_sync"
        if index % 4 == 0:
            without_zone = {"S": story.at.replace(tzinfo=None).isoformat(timespec="milliseconds")}
            story.row_patch |= {"createdAt": without_zone, "updatedAt": without_zone}


def malformed(draft: Draft) -> None:
    """Rows whose attributes have the wrong type."""
    patches: list[dict[str, dict[str, Any] | None]] = [
        {"email": None},
        {"email": {"N": "42"}},
        {"_deleted": {"S": "true"}},
        {"_ttl": {"N": str(int((draft.now + 20 * DAY).timestamp() * 1000))}},
    ]
    for patch in patches:
        for story in draft.take(1):
            story.row_patch, story.situation = patch, "malformed_row"
    for story in draft.take(1):
        story.row_patch, story.situation, story.has_account = {"email": {"N": "7"}}, "malformed_row", False


def hostile(draft: Draft) -> None:
    """Names and e-mails that try to be more than text; half of them belong to the key incident."""
    incident = [story for story in draft.special if story.cause == "api_key_expired"]
    for index, (local, name) in enumerate(HOSTILE):
        stories = incident if index % 2 else draft.plain
        if len(stories) > index:
            stories[-1 - index].person = Person(f"{local}@mail.test", name)


def habits(draft: Draft) -> None:
    """Some never confirm, some were disabled."""
    for story in draft.plain + draft.special:
        if story.status == "CONFIRMED" and story.modified_at is None:
            waited = MINUTE * draft.rng.uniform(0.4, 9)
            story.confirmed_after = waited
            too_late = story.at + waited > draft.now - 16 * MINUTE
            if draft.rng.random() < 0.08 or too_late:
                story.status = "UNCONFIRMED"
        story.enabled = draft.rng.random() > 0.012


def put_after_confirmation(draft: Draft) -> None:
    """For four hours the function also ran after confirmation, and put the row whole, whatever the table held.

    Cognito calls that trigger after a password reset too: the row then began anew, and what the app had kept in it
    was gone. In a small world the hours are some in which nobody else confirmed: the put would have made their row.
    """
    held = [_confirmed_at(story) for story in draft.special if story.status == "CONFIRMED"]
    starts = [draft.now - 21 * DAY - hours * HOUR for hours in range(20 * 24)]
    start = next((at for at in starts if not any(at <= moment < at + 4 * HOUR for moment in held)), starts[0])
    for story in draft.plain:
        if story.status == "CONFIRMED" and start <= _confirmed_at(story) < start + 4 * HOUR:
            _put(draft, story, _confirmed_at(story), CONFIRMED)
    forgetful = [story for story in draft.plain if story.status == "CONFIRMED" and story.at < start - DAY]
    for story in draft.rng.sample(forgetful, min(draft.count(4), len(forgetful))):
        story.enabled, story.is_overwritten = True, True
        story.modified_at = draft.moment(start, start + 4 * HOUR)
        _put(draft, story, story.modified_at, PASSWORD_RESET)


def _confirmed_at(story: Story) -> datetime:
    return story.created_at + (story.confirmed_after or timedelta())


def _put(draft: Draft, story: Story, at: datetime, source: str) -> None:
    run = Run((at - story.at).total_seconds(), draft.quick(), source=source)
    story.runs.append(run)
    story.row_at = at + timedelta(milliseconds=run.duration_ms * 0.7)


SCENES: tuple[Callable[[Draft], None], ...] = (
    key_expired,
    hostile,
    in_flight,
    swallowed,
    errors_printed,
    slow_deploy,
    broken_deploy,
    trigger_detached,
    before_the_logs,
    imported,
    by_staff,
    federated,
    rejected,
    deleted_accounts,
    no_email_in_event,
    changed_emails,
    deleted_rows,
    written_by_script,
    malformed,
    repeated,
    habits,
    put_after_confirmation,
)
