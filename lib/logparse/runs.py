"""One log stream's lines, in order, become runs of the function: a stream holds one open run at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.logparse import lines
from lib.logparse.lines import Fault, Line, Report

# A runtime's last words may be written just after the platform's END.
_AFTER_END_MS = 3
_LOUD = frozenset(("ERROR", "FATAL", "CRITICAL"))

INIT_ERRORS = frozenset(
    (
        "Runtime.ImportModuleError",
        "Runtime.UserCodeSyntaxError",
        "Runtime.HandlerNotFound",
        "Runtime.MalformedHandlerName",
        "Runtime.InvalidEntrypoint",
    )
)
"""Errors that only loading the function's code can raise."""


@dataclass(slots=True)
class Init:
    """What was said of starting the function since the previous run began."""

    cold: bool = False
    after_another: bool = False
    faults: list[Fault] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)


@dataclass(slots=True)
class Run:
    """One run of the function: what its lines say, not yet judged.

    ``errors`` are lines that look like errors, with the fault where they are in a runtime's own form. ``stray`` is an
    uncaught error without a request id, with its time. ``words`` are the application's other lines (True: with the id).
    """

    request_id: str
    started_at: int
    last_at: int
    init: Init
    hidden: bool
    start_seen: bool = False
    ended_at: int | None = None
    report: Any = None
    done: Any = None
    timed_out: str | None = None
    exited: str | None = None
    said: bool = False
    stray: tuple[int, Fault] | None = None
    errors: list[tuple[str, Fault | None]] = field(default_factory=list)
    words: list[tuple[bool, Any]] = field(default_factory=list)
    suspicious: int = 0


def runs(stream: Sequence[Line]) -> tuple[list[Run], int]:
    """Return the runs of one stream, and how many of its suspicious lines belong to none of them."""
    reader = _Reader(stream)
    reader.read()
    return list(reader.runs.values()), reader.suspicious


class _Reader:
    """Reads a stream forwards, knowing where each request id occurs last.

    A run reaches from its first line to its last. Another id that begins and ends inside it can only be printed by the
    handler, on a user's behalf: it is counted as suspicious and ignored.
    """

    def __init__(self, stream: Sequence[Line]) -> None:
        self.stream = stream
        self.runs: dict[str, Run] = {}
        self.suspicious = 0
        self.current: Run | None = None
        self.until = -1
        self.init = Init()
        self.last: dict[str, int] = {}
        self.started: set[str] = set()
        self.midway: str | None = None
        for place, line in enumerate(stream):
            if line.request_id is not None:
                self.last[line.request_id] = place
                if line.kind == lines.START:
                    self.started.add(line.request_id)
                elif not self.started:
                    self.midway = line.request_id
        # With the system log level WARN neither a start nor a success is ever logged.
        self.hidden = not self.started and any(isinstance(line.body, dict) for line in stream)

    def read(self) -> None:
        for place, line in enumerate(self.stream):
            if line.request_id is None:
                self._nameless(place, line)
                continue
            run = self.runs.get(line.request_id) or self._opened(place, line)
            if run is None:
                self._suspect(place)
            else:
                _TAKE[line.kind](run, line)
                run.last_at = line.at

    def _opened(self, place: int, line: Line) -> Run | None:
        """Return the run that a line with a new id opens; None when the line cannot be genuine."""
        request_id = line.request_id
        assert request_id is not None
        if place < self.until and self.last[request_id] < self.until:
            return None
        if line.kind not in (lines.START, lines.APP) and not self._unstarted(request_id, line):
            return None
        run = Run(request_id, line.at, line.at, self.init, self.hidden)
        self.current, self.until = run, self.last[request_id]
        self.runs[request_id] = run
        self.init = Init(after_another=True)
        return run

    def _unstarted(self, request_id: str, line: Line) -> bool:
        """Return whether an id may show up by its end: its start comes in the same instant, or is not in this log."""
        if self.hidden:
            return isinstance(line.body, dict) and line.body.get("status") != "success"
        return request_id in self.started or (not self.runs and request_id == self.midway)

    def _suspect(self, place: int) -> None:
        if self.current is not None and place < self.until:
            self.current.suspicious += 1
        else:
            self.suspicious += 1

    def _nameless(self, place: int, line: Line) -> None:
        inside = self.current is not None and place < self.until
        if line.kind in (lines.INIT_START, lines.INIT_REPORT):
            self._starting(line, inside=inside, place=place)
            return
        run = self.current if inside or self._may_speak(line) else None
        if line.kind == lines.NOTE:
            if run is not None:
                _note(run, line)
        elif run is not None and (inside or line.body.type not in INIT_ERRORS):
            run.stray = run.stray or (line.at, line.body)
        else:
            self.init.faults.append(line.body)

    def _starting(self, line: Line, *, inside: bool, place: int) -> None:
        if inside:
            self._suspect(place)
        elif line.kind == lines.INIT_START:
            self.init.cold = True
        else:
            self.init.reports.append(lines.report(line.body))

    def _may_speak(self, line: Line) -> bool:
        """Return whether the run before may still write: it has not ended, or only just."""
        run = self.current
        return run is not None and (run.ended_at is None or line.at - run.ended_at <= _AFTER_END_MS)


def _start(run: Run, line: Line) -> None:
    if run.start_seen:
        run.suspicious += 1
    else:
        run.start_seen, run.started_at = True, line.at


def _close(run: Run, line: Line) -> None:
    run.ended_at = line.at if run.ended_at is None else min(run.ended_at, line.at)


def _report(run: Run, line: Line) -> None:
    _close(run, line)
    run.report = line.body


def _done(run: Run, line: Line) -> None:
    _close(run, line)
    run.done = line.body


def _timed_out(run: Run, line: Line) -> None:
    _close(run, line)
    run.timed_out = line.body


def _exited(run: Run, line: Line) -> None:
    _close(run, line)
    run.exited = line.body


def _app(run: Run, line: Line) -> None:
    run.said = True
    # A handler that goes on logging has not raised: the traceback was printed.
    if run.stray is not None and line.at > run.stray[0]:
        run.stray = None
        run.suspicious += 1
    body = line.body
    run.words.append((True, body))
    if line.level in _LOUD:
        run.errors.append((lines.text_of(body), lines.fault(line.level, body)))
    elif body.startswith("Error") if isinstance(body, str) else _says_error(body):
        run.errors.append((lines.text_of(body), None))


def _note(run: Run, line: Line) -> None:
    run.words.append((False, line.body))
    if line.level in _LOUD or lines.text_of(line.body).startswith("Error"):
        run.errors.append((lines.text_of(line.body), None))


def _says_error(record: dict[str, Any]) -> bool:
    message = record.get("message")
    return isinstance(message, str) and message.startswith("Error")


_TAKE = {
    lines.START: _start,
    lines.END: _close,
    lines.REPORT: _report,
    lines.DONE: _done,
    lines.TIMED_OUT: _timed_out,
    lines.EXITED: _exited,
    lines.APP: _app,
}
