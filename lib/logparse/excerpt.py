"""The log lines of one invocation as they stand, picked from the events of its stream."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.logparse.lines import DONE, END, REPORT, START, Line, classify

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENDS = (END, REPORT, DONE)
# A runtime's last words may be written just after the platform's END.
_AFTER_END_MS = 3

# What a client sent along with a sign-up may hold secrets: in JSON and as Node's inspect prints it, cut off or not.
_SENT_ALONG = re.compile(
    r"""((?:clientMetadata|validationData)["'\\]*\s*:\s*)\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^{}"'])*(?:\}|.*$)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class RawLine:
    """One event's time and text. ``suspicious``: it names another run, though only this one could write it."""

    at: datetime
    text: str
    suspicious: bool = False


@dataclass(frozen=True)
class RawLog:
    """What the log still holds of one invocation, in order; ``more`` when not all of its window was read."""

    lines: tuple[RawLine, ...]
    more: bool


def excerpt(events: Iterable[Mapping[str, Any]], request_id: str | None) -> list[RawLine]:
    """Return the lines of one invocation, oldest first, from events of its one stream in any order, repeated or not.

    Its lines are those with its request id, those without any between its first and its end, the runtime's last words
    right after that, and what was said of starting the function before. Without a request id (a run that never
    started) they are what stands before the first line of any other.
    """
    ordered = _ordered(events)
    read = [classify(message, at) for at, message in ordered]
    if request_id is None:
        first = next((place for place, line in enumerate(read) if line[1] is not None), len(read))
        return [_line(ordered[place]) for place in range(first)]
    own = [place for place, line in enumerate(read) if line[1] == request_id]
    if not own:
        return []
    until = next((place for place in own if read[place][0] in _ENDS), own[-1])
    inside = range(own[0], until + 1)
    taken = {*_starting(read, own[0]), *inside, *own, *_last_words(read, until)}
    return [_line(ordered[place], suspicious=read[place][1] not in (None, request_id)) for place in sorted(taken)]


def without_secrets(text: str) -> str:
    """Return a line with the values of clientMetadata and validationData left out."""
    return _SENT_ALONG.sub(r"\1{…}", text)


def _ordered(events: Iterable[Mapping[str, Any]]) -> list[tuple[int, str]]:
    unique = {event["eventId"]: event for event in events}
    # As numbers, event ids sort by length first.
    ordered = sorted(unique.values(), key=lambda event: (event["timestamp"], len(event["eventId"]), event["eventId"]))
    return [(event["timestamp"], event["message"]) for event in ordered]


def _starting(read: list[Line], first: int) -> Iterable[int]:
    place = first - 1
    while place >= 0 and read[place][1] is None:
        place -= 1
    ended = read[place][2] if place >= 0 else None
    return (each for each in range(place + 1, first) if ended is None or read[each][2] - ended > _AFTER_END_MS)


def _last_words(read: list[Line], until: int) -> Iterable[int]:
    for place in range(until + 1, len(read)):
        if read[place][0] == START or read[place][2] - read[until][2] > _AFTER_END_MS:
            return
        if read[place][1] is None:
            yield place


def _line(event: tuple[int, str], *, suspicious: bool = False) -> RawLine:
    return RawLine(_EPOCH + timedelta(milliseconds=event[0]), event[1].rstrip("\r\n"), suspicious)
