"""Bulk answers past botocore's parser, and chains of pages that never end in silence.

botocore keeps sessions, signing and retries. Its parser, which takes most of the time of a large read, is handed an
empty body instead; the real one is decoded by orjson.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson
from botocore.parsers import ResponseParserError

from lib.model import AwsError, Progress, Source, now

Part = TypeVar("Part")

_BULK = ("ListUsers", "Scan", "FilterLogEvents")
_BODY = "PooltableBody"
# What AWS says of a page token that it does not take (any more); botocore itself refuses one of a wrong type.
_BAD_TOKEN_CODES = {
    "InvalidParameterException",
    "ValidationException",
    "InvalidNextTokenException",
    "ExpiredNextTokenException",
    "ParamValidationError",
}


def watch_answers(client: Any, *, keep_bulk: bool) -> None:
    """Make a new client refuse answers that are no JSON and, with ``keep_bulk``, leave bulk answers undecoded.

    ``body`` takes those. Call before sharing the client.
    """
    service = client.meta.service_model
    if service.resolved_protocol not in ("json", "rest-json"):
        return
    event = f"before-parse.{service.service_id.hyphenize()}"
    client.meta.events.register(event, _refuse_pages)
    for operation in set(_BULK) & set(service.operation_names) if keep_bulk else ():
        client.meta.events.register(f"{event}.{operation}", _keep_raw_answer)


def body(answer: dict[str, Any]) -> bytes:
    """Return the undecoded body of a bulk answer."""
    return bytes(answer[_BODY])


def decoded(content: bytes) -> Any:
    """Return JSON as Python values, lone surrogates replaced; raise ``ValueError`` where it is none."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # orjson refuses lone surrogates, which AWS passes through; Arrow and UTF-8 cannot hold them either.
        return without_surrogates(json.loads(content))


def without_surrogates(value: Any) -> Any:
    """Return a value of JSON with every lone surrogate in its texts replaced by `?`."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_surrogates(inner) for inner in value]
    return value


@dataclass(frozen=True)
class Chain(Generic[Part]):
    """A chain of pages as far as it could be read; ``why_not`` is None when AWS ended it."""

    parts: list[Part]
    pages: int
    why_not: str | None


class Tally:
    """Counts records and pages over all threads of one read, and tells the progress callback, one call at a time."""

    def __init__(self, source: str, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self._lock = threading.Lock()
        self._count = 0
        self.stopped = threading.Event()

    def add(self, count: int) -> None:
        """Count records; a negative count takes back what a restart reads again."""
        with self._lock:
            self._count += count
            if self._progress:
                self._progress(self._source, self._count)


def read_chain(
    ask: Callable[[Any], bytes],
    take: Callable[[dict[str, Any]], tuple[Part, int]],
    *,
    records: str,
    following: str,
    source: str,
    tally: Tally,
) -> Chain[Part]:
    """Read pages until AWS gives no further token, or say why not, with what was read until then.

    ``ask(token or None)`` returns a page's body, ``take`` what is kept of a page and how many records that is;
    ``records`` and ``following`` name the answer's members with the list and the next token. A token that AWS
    refuses in mid-chain restarts the read, once. Raises nothing of AWS's.
    """

    def page(current: Any) -> dict[str, Any]:
        return _page(ask, current, records, source)

    first = _one_pass(page, take, following, source, tally)
    if first.refused:
        tally.add(-first.count)
        again = _one_pass(page, take, following, source, tally)
        return Chain(again.parts, first.pages + again.pages, again.why_not)
    return Chain(first.parts, first.pages, first.why_not)


def source_of(started_at: datetime, count: int, *chains: Chain[Any]) -> Source:
    """Return how a read of one or more chains ended, just now."""
    why_not = next((chain.why_not for chain in chains if chain.why_not), None)
    return Source(why_not is None, why_not, sum(chain.pages for chain in chains), count, started_at, now())


class Pace:
    """Lets at most ``per_second`` calls begin a second, after a first burst of one second's worth."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._burst = 1.0
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next call may begin."""
        moment = time.monotonic()
        self._next = max(self._next, moment - self._burst) + self._interval
        if self._next > moment:
            time.sleep(self._next - moment)


@dataclass
class _Pass(Generic[Part]):
    parts: list[Part]
    pages: int = 0
    count: int = 0
    why_not: str | None = None
    refused: bool = False  # the token, in mid-chain


def _one_pass(
    page_of: Callable[[Any], dict[str, Any]],
    take: Callable[[dict[str, Any]], tuple[Part, int]],
    following: str,
    source: str,
    tally: Tally,
) -> _Pass[Part]:
    done: _Pass[Part] = _Pass([])
    current: Any = None
    while not tally.stopped.is_set():
        try:
            page = page_of(current)
        except AwsError as error:
            done.why_not = str(error)
            done.refused = current is not None and error.code in _BAD_TOKEN_CODES
            return done
        part, count = take(page)
        done.parts.append(part)
        done.pages += 1
        done.count += count
        tally.add(count)
        # A short or even empty page says nothing: only a missing token ends a chain.
        token = page.get(following)
        if not token:
            return done
        if token == current:
            done.why_not = f"Cannot read {source} to the end: AWS gave the same page token twice. Refresh again."
            return done
        current = token
    done.why_not = f"Reading {source} was stopped."
    return done


def _page(ask: Callable[[Any], bytes], current: Any, records: str, source: str) -> dict[str, Any]:
    # urllib3 takes a body that was cut off, and a proxy may answer for the service: such a page is asked for once more.
    for _ in range(2):
        try:
            page = decoded(ask(current))
        except ValueError:
            continue
        if isinstance(page, dict) and isinstance(page.get(records), list):
            return page
    raise AwsError(
        f"Cannot read {source}: what answered is no page of them (an HTML page, or half an answer). "
        "Check the endpoint and any proxy on the way.",
        action="",
        code="UnreadableAnswer",
    )


def _keep_raw_answer(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    # The hook also runs for errors, which botocore must parse to know what to retry.
    if response_dict["status_code"] == 200:
        customized_response_dict[_BODY] = response_dict["body"]
        response_dict["body"] = b"{}"


def _refuse_pages(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    # botocore takes a proxy's page with status 200 for an empty answer: a missing row, or a write that succeeded.
    if response_dict["status_code"] != 200 or operation_model.name in _BULK or operation_model.output_shape is None:
        return
    if operation_model.has_streaming_output:  # what a function answers is its own affair, and not read yet
        return
    try:
        answer = json.loads(response_dict["body"])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ResponseParserError(f"{operation_model.name} was answered with something that is no JSON object")
