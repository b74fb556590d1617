"""Whole runs at a glance: nearly all of a healthy function's log are runs whose lines stand together and hold no fault.

Such a run is one line of kind ``WHOLE``. All else is read line by line, which comes to the same for these runs too.
"""

from collections import Counter
from collections.abc import Sequence

from lib.logparse.lines import WHOLE, Line, classify

Event = tuple[int, int, str, str]
"""One log event of a stream: epoch milliseconds, length of its id, id, message."""

Whole = tuple[list[str], str, int, int]
"""What a whole run says: its lines with the request id, the rest of its REPORT, and the times of END and REPORT.

A bare tuple, for there are millions of them.
"""

PLATFORM_LINES = 3
"""How many lines a whole run has besides its words: START, END, REPORT."""


ERROR_SIGNS = ("Error", "{")
"""How a line begins that may tell of an error that the handler caught: in words, or as its own logger's JSON."""


def classified(events: Sequence[Event]) -> list[Line]:
    """Return a stream's events, in order and each but once, as lines."""
    found: list[Line] = []
    passed, wholes = 0, False
    for place, (at, _, _, message) in enumerate(events):
        if place < passed:
            continue
        whole = _whole(events, place) if message.startswith("START RequestId: ") else None
        if whole is None:
            found.append(classify(message, at))
        else:
            found.append((WHOLE, message[17:53], at, whole, ""))
            passed, wholes = place + len(whole[0]) + PLATFORM_LINES, True
    if wholes and _recurs(found):
        return [classify(message, at) for at, _, _, message in events]
    return found


def _recurs(found: Sequence[Line]) -> bool:
    """Return whether a whole run's id stands in another line too: then what belongs together is for the reader."""
    ids = [line[1] for line in found]
    if len(set(ids)) == len(ids):
        return False
    count = Counter(ids)
    return any(line[0] == WHOLE and count[line[1]] > 1 for line in found)


def _whole(events: Sequence[Event], place: int) -> Whole | None:
    """Return the whole run that begins with the START at a place, if one does."""
    start = events[place][3]
    if start[53:] != " Version: $LATEST\n":
        return None
    request_id = start[17:53]
    said = f"Z\t{request_id}\tINFO\t"
    words: list[str] = []
    for following in range(place + 1, len(events) - 1):
        ended_at, _, _, message = events[following]
        if message[23:67] == said and message[0] == "2" and not message.startswith(ERROR_SIGNS, 67):
            words.append(message[67:])
            continue
        reported_at, _, _, report = events[following + 1]
        if message == f"END RequestId: {request_id}\n" and report[:55] == f"REPORT RequestId: {request_id}\t":
            return words, report[55:], ended_at, reported_at
        break
    return None
