"""The trigger's log events."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.aws import bulk
from lib.aws.session import Aws
from lib.model import AwsError, Progress, Source, now

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MISSING = "ResourceNotFoundException"


@dataclass(frozen=True)
class GroupFacts:
    """Since when a log group exists, and how long it keeps events (None: for ever)."""

    name: str
    created_at: datetime
    retention_days: int | None


def read_events(
    aws: Aws, log_group: str, start: datetime, end: datetime, progress: Progress | None = None
) -> tuple[list[dict[str, Any]], Source]:
    """Return a log group's events from ``start`` to ``end`` as FilterLogEvents gives them, and how they were read.

    Keys: logStreamName, timestamp, message, ingestionTime, eventId. They come in no dependable order. A group that
    does not exist is a function that never ran: no events, read completely.
    """
    started_at = now()
    missing = False

    def ask(token: str | None) -> bytes:
        nonlocal missing
        following = {"nextToken": token} if token else {}
        try:
            with aws.calling(f"read the log group {log_group}", action="logs:FilterLogEvents"):
                # No filter pattern: emulators answer most of them with everything, and the parser needs every line.
                answer = aws.client("logs").filter_log_events(
                    logGroupName=log_group, startTime=_ms(start), endTime=_ms(end), limit=10_000, **following
                )
                return bulk.body(answer)
        except AwsError as error:
            missing = error.code == _MISSING and token is None
            raise

    def take(page: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        return page["events"], len(page["events"])

    tally = bulk.Tally("invocations", progress)
    chain = bulk.read_chain(ask, take, records="events", following="nextToken", source="log events", tally=tally)
    if missing:
        return [], Source(True, None, 0, 0, started_at, now())
    events = [event for part in chain.parts for event in part]
    return events, bulk.source_of(started_at, len(events), chain)


def stream_events(
    aws: Aws, log_group: str, stream: str, start: datetime, end: datetime, *, most_pages: int = 10
) -> tuple[list[dict[str, Any]], bool]:
    """Return one stream's events from ``start`` to ``end`` as ``read_events`` does, and whether there are more.

    Reads at most so many pages, each 10,000 events or 1 MB. A group or stream that is gone has none. Raises
    ``AwsError`` for any other failure: half of a run's log would mislead.
    """
    events: list[dict[str, Any]] = []
    token: str | None = None
    for _ in range(most_pages):
        try:
            page, token = _stream_page(aws, log_group, stream, start, end, token)
        except AwsError as error:
            if error.code == _MISSING:
                return [], False
            raise
        events += page
        if not token:
            return events, False
    return events, True


def _stream_page(
    aws: Aws, log_group: str, stream: str, start: datetime, end: datetime, token: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    following = {"nextToken": token} if token else {}
    with aws.calling(f"read the log group {log_group}", action="logs:FilterLogEvents"):
        answer = aws.client("logs").filter_log_events(
            logGroupName=log_group,
            logStreamNames=[stream],
            startTime=_ms(start),
            endTime=_ms(end),
            limit=10_000,
            **following,
        )
        page = bulk.decoded(bulk.body(answer))
        return list(page["events"]), page.get("nextToken")


def group(aws: Aws, name: str) -> GroupFacts | None:
    """Return what CloudWatch says of one log group, or None when there is none of that name."""
    with aws.calling(f"describe the log group {name}", action="logs:DescribeLogGroups"):
        pages = aws.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        found = [each for page in pages for each in page["logGroups"] if each["logGroupName"] == name]
    if not found:
        return None
    created_at = _EPOCH + timedelta(milliseconds=found[0]["creationTime"])
    return GroupFacts(name, created_at, found[0].get("retentionInDays"))


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MS
