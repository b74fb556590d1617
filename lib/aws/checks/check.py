"""What a check is, what it may look at, and how a read that failed becomes an answer: never a green one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from lib.aws import errors, functions, keys, pool, table
from lib.aws.functions import FunctionFacts
from lib.aws.session import Aws
from lib.aws.table import TableFacts
from lib.model import AwsError, ConfigError, CredentialsError, NotReadable, Wiring

Fact = TypeVar("Fact")

STATUSES = ("problem", "warning", "unknown", "ok")
"""The states of a check, the worst first."""


@dataclass(frozen=True)
class Check:
    """What was asked of one link, and what to do about the answer; ``status`` is ok, warning, problem or unknown."""

    name: str
    status: str
    title: str
    cause: str = ""
    fix: str = ""
    impact: str = ""


@dataclass(frozen=True)
class Runs:
    """What the log shows of the trigger's runs between two full hours; ``named`` tell whom they ran for."""

    since: datetime
    until: datetime
    count: int
    failed: int
    named: int


@dataclass(frozen=True)
class Seen:
    """What the latest snapshot knows of the chain; None is what nothing is known of."""

    sign_ups_a_day: str | None = None  # in words, with the interval
    unversioned_rows: int | None = None
    runs: Runs | None = None


class Look:
    """One look at a chain: each fact is read once, however many checks ask for it, and so is each failure.

    ``known`` are facts that were read just before, by the same keys as in ``once``.
    """

    def __init__(self, aws: Aws, wiring: Wiring, seen: Seen, known: Mapping[object, Any]) -> None:
        self.aws = aws
        self.wiring = wiring
        self.seen = seen
        self.denied: set[str] = set()
        self._read = dict(known)

    def once(self, key: object, read: Callable[[], Fact]) -> Fact:
        """Return what a read gave the first time, or raise what it raised."""
        if key not in self._read:
            try:
                self._read[key] = read()
            except (AwsError, NotReadable, ConfigError) as error:
                self._read[key] = error
        found = self._read[key]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]  # what the same read gave before

    def pool(self) -> Mapping[str, Any]:
        """Return what DescribeUserPool says."""
        return self.once("pool", lambda: pool.describe(self.aws))

    def functions(self) -> list[FunctionFacts]:
        """Return the facts of each trigger function; raise ``NotReadable`` where none is known."""
        if not self.wiring.functions:
            raise NotReadable("No trigger function is known")
        return [self.once(("function", name), partial(self._function, name)) for name in self.wiring.functions]

    def variables(self) -> dict[str, str]:
        """Return the variables of all trigger functions, secrets among them; raise where one is not readable."""
        found: dict[str, str] = {}
        for each in self.functions():
            if each.variables is None:
                raise NotReadable(f"The environment of {each.name} cannot be decrypted: {each.environment_error}")
            found |= each.variables
        return found

    def digests(self) -> set[str]:
        """Return the digests of the API's keys."""
        return {key.digest for key in self.once("keys", partial(keys.listed, self.aws, self.api_id()))}

    def table_facts(self) -> TableFacts:
        """Return what DynamoDB says of the table."""
        return self.once("table", partial(table.describe, self.aws, self.table()))

    def api_id(self) -> str:
        """Return the API's id; raise ``NotReadable`` where it is not known."""
        if not self.wiring.api_id:
            raise NotReadable("The API's id is not known. Set api_id")
        return self.wiring.api_id

    def table(self) -> str:
        """Return the table's name; raise ``NotReadable`` where it is not known."""
        if not self.wiring.table:
            raise NotReadable("The User table is not known. Set table")
        return self.wiring.table

    def _function(self, name: str) -> FunctionFacts:
        return functions.facts("", name, functions.configuration(self.aws, name))


Judge = Callable[[Look], Check]


@dataclass(frozen=True)
class Link:
    """One thing that is checked: the name of its check, what it is called, and what it costs when it is not right."""

    name: str
    subject: str
    impact: str = ""

    def ok(self, title: str, cause: str = "") -> Check:
        """Return that it is as it should be."""
        return Check(self.name, "ok", title, cause)

    def problem(self, title: str, cause: str, fix: str) -> Check:
        """Return that it is broken."""
        return Check(self.name, "problem", title, cause, fix, self.impact)

    def warning(self, title: str, cause: str, fix: str) -> Check:
        """Return that it soon will be, or that something about it should be otherwise."""
        return Check(self.name, "warning", title, cause, fix, self.impact)

    def unknown(self, cause: str, fix: str = "") -> Check:
        """Return that it cannot be told."""
        return Check(self.name, "unknown", f"{self.subject} cannot be checked", cause, fix, self.impact)

    def judged(self, look: Look, judge: Judge, *, itself: bool = False) -> Check:
        """Return what ``judge`` says; a read that fails makes it unknown, and a problem where it is ``itself`` asked.

        What is only built on another link is not to blame for it: that link's own check says so.
        """
        try:
            return judge(look)
        except (AwsError, NotReadable, ConfigError) as error:
            return self._failed(look, error, itself)

    def _failed(self, look: Look, error: AwsError | NotReadable | ConfigError, itself: bool) -> Check:
        if isinstance(error, AwsError) and not isinstance(error, CredentialsError) and errors.is_denied(error):
            # It may well work: only this role may not look.
            look.denied.add(error.action)
            return Check(
                self.name,
                "unknown",
                f"{self.subject} cannot be looked at",
                str(error),
                f"Allow {error.action} (see: python -m lib policy).",
                self.impact,
            )
        cause, _, fix = str(error).partition(". ")
        if not itself:
            return self.unknown(f"{cause.rstrip('.')}.", fix)
        return self.problem(f"{self.subject} does not answer", f"{cause.rstrip('.')}.", fix)
