"""One person's story in the demo: what is left of it in the pool, in the table and in the logs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lib.demo.people import Person
from lib.model import Item, email_key, iso

SIGN_UP = "PreSignUp_SignUp"
CONFIRMED = "PostConfirmation_ConfirmSignUp"
PASSWORD_RESET = "PostConfirmation_ConfirmForgotPassword"  # noqa: S105 - a trigger source


@dataclass(frozen=True)
class Account:
    """A user of the pool; ``attributes`` as Cognito lists them."""

    username: str
    attributes: Mapping[str, str]
    status: str
    enabled: bool
    created_at: datetime
    modified_at: datetime


@dataclass
class Run:
    """One run of the trigger: how long after the story's start it began, and how it went.

    ``ending`` and ``logged`` as in ``loglines.Execution``; ``username`` where the trigger was told another one;
    ``source`` where something else than the story's own beginning called it, once the account was there.
    """

    after_s: float = 0.0
    duration_ms: float = 60.0
    ending: str = "completed"
    logged: str | None = None
    username: str | None = None
    source: str | None = None


@dataclass
class Story:
    """A sign-up, an import or whatever else brought an account, a row or both into being.

    ``situation`` and ``cause`` are what one first refresh can know of it, ``None`` where it leaves no line at all;
    ``later`` is the same once it is no longer young. ``row_patch`` overrides attributes of the row (None removes one).
    """

    person: Person
    at: datetime
    username: str
    sub: str
    runs: list[Run] = field(default_factory=lambda: [Run()])
    source: str = SIGN_UP
    has_account: bool = True
    has_row: bool = True
    status: str = "CONFIRMED"
    enabled: bool = True
    verified: bool = True
    attributes: dict[str, str] = field(default_factory=dict)
    confirmed_after: timedelta | None = timedelta(minutes=3)
    email: str | None = None  # the account's present one, where it is no longer the person's first
    row_at: datetime | None = None
    row_email: str | None = None
    row_patch: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    modified_at: datetime | None = None
    situation: str | None = "in_sync"
    cause: str | None = None
    later: tuple[str, str] | None = None
    is_overwritten: bool = False

    @property
    def created_at(self) -> datetime:
        """When Cognito made the account: once the trigger had answered, as PreSignUp runs before there is one."""
        before = [run for run in self.runs if run.source is None]
        if not before:
            return self.at
        last = before[-1]
        # A run that ended badly after its answer had reached Cognito held nobody up: the answer itself was quick.
        answered_s = last.duration_ms / 1000 if last.ending == "completed" else 0.9
        return self.at + timedelta(seconds=last.after_s + answered_s + 0.12)

    def account(self) -> Account | None:
        """Return the account, or None where the story has none (any more)."""
        if not self.has_account:
            return None
        attributes = {"sub": self.sub, "email": self.email or self.person.email, "email_verified": "false"}
        attributes |= {"name": self.person.name} if self.person.name else {}
        confirmed = self.status not in ("UNCONFIRMED", "FORCE_CHANGE_PASSWORD")
        attributes["email_verified"] = "true" if self.verified and confirmed else "false"
        created = self.created_at
        modified = self.modified_at or (created + (self.confirmed_after or timedelta()) if confirmed else created)
        return Account(
            username=self.username,
            attributes=attributes | self.attributes,
            status=self.status,
            enabled=self.enabled,
            created_at=created,
            modified_at=modified,
        )

    def row(self, *, versioned: bool) -> Item | None:
        """Return the item as Amplify's createUser writes it, plus what happened to it since."""
        if not self.has_row:
            return None
        written = self.row_at or self.at + timedelta(milliseconds=self._write_ms())
        moment = {"S": iso(written)}
        item: dict[str, dict[str, Any] | None] = {
            "id": {"S": self.username},
            "email": {"S": self.row_email or self.person.email},
            "__typename": {"S": "User"},
            "createdAt": moment,
            "updatedAt": moment,
        }
        if versioned:
            item |= {"_version": {"N": "1"}, "_lastChangedAt": {"N": str(int(written.timestamp() * 1000))}}
        return {name: value for name, value in (item | self.row_patch).items() if value is not None}

    def _write_ms(self) -> float:
        """Return how long after the start the first run that finished wrote the row."""
        finished = next((run for run in self.runs if run.ending == "completed"), Run())
        return finished.after_s * 1000 + finished.duration_ms * 0.7

    def email_keys(self) -> set[str]:
        """Return the keys under which this story counts as a holder of an e-mail address."""
        keys = {email_key(self.email or self.person.email)} if self.has_account else set()
        alive = self.situation not in ("tombstone", "malformed_row")
        keys |= {email_key(self.row_email or self.person.email)} if self.has_row and alive else set()
        return {key for key in keys if key}


def identities(user_id: str, at: datetime) -> dict[str, str]:
    """Return the attribute by which Cognito marks an account that signs in with Google."""
    identity = {
        "userId": user_id,
        "providerName": "Google",
        "providerType": "Google",
        "issuer": None,
        "primary": True,
        "dateCreated": int(at.timestamp() * 1000),
    }
    return {"identities": json.dumps([identity], separators=(",", ":"))}
