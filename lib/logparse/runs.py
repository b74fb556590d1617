"""One log stream's lines, in order, become runs of the function: a stream holds one open run at a time."""

from collections.abc import Callable, Sequence
from typing import Any

from lib.logparse import lines
from lib.logparse.decode import loads
from lib.logparse.lines import Fault, Line, Report
from lib.logparse.whole import ERROR_SIGNS, PLATFORM_LINES, Whole

# A runtime's last words may be written just after the platform's END.
_AFTER_END_MS = 3
_LOUD = frozenset(("ERROR", "FATAL", "CRITICAL"))
_PINO_ERROR = 50

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


class Init:
    """What was said of starting the function since the previous run began."""

    __slots__ = ("cold", "faults", "reports")

    def __init__(self) -> None:
        self.cold = False
        self.faults: list[Fault] = []
        self.reports: list[Report] = []


class Run:
    """One run of the function: what its lines say, not yet judged.

    ``words`` are the application's lines with the request id, ``notes`` those without. ``errors`` are the ones of both
    that look like errors, with the fault where they are in a runtime's own form. ``stray`` is an uncaught error without
    a request id, with its time.
    """

    init: Init | None = None
    first = False
    hidden = False
    start_seen = False
    ended_at: int | None = None
    report: Any = None
    done: Any = None
    timed_out: str | None = None
    exited: str | None = None
    stray: tuple[int, Fault] | None = None
    errors: list[tuple[str, Fault | None]] | None = None
    notes: list[Any] | None = None
    suspicious = 0

    def __init__(self, request_id: str, at: int) -> None:
        self.request_id = request_id
        self.started_at = self.last_at = at
        self.words: list[Any] = []

    @property
    def calm(self) -> bool:
        """Whether nothing was said that could make it anything but completed."""
        return not (self.errors or self.stray or self.timed_out or self.exited or self.done or self.init)


def runs(stream: Sequence[Line]) -> tuple[list[Run], list[int]]:
    """Return the runs of one stream, and when (epoch milliseconds) a suspicious line came that is of none."""
    reader = _Reader(stream)
    reader.read()
    return list(reader.runs.values()), reader.strays


class _Reader:
    """Reads a stream forwards, knowing where each request id occurs last.

    A run reaches from its first line to its last. Another id that begins and ends inside it can only be printed by the
    handler, on a user's behalf: it is counted as suspicious and ignored.
    """

    def __init__(self, stream: Sequence[Line]) -> None:
        self.stream = stream
        self.runs: dict[str, Run] = {}
        self.strays: list[int] = []
        self.current: Run | None = None
        self.until = -1
        self.init: Init | None = None
        self.last = {line[1]: place for place, line in enumerate(stream)}
        self.started = {line[1] for line in stream if line[0] in (lines.START, lines.WHOLE)}
        self.hidden = not self.started and _hides_success(stream)

    def read(self) -> None:
        known = self.runs.get
        for place, line in enumerate(self.stream):
            kind, request_id, at, body, level = line
            if request_id is None:
                self._nameless(place, kind, at, body, level)
                continue
            run = known(request_id) or self._opened(place, request_id, line)
            if run is None:
                self._suspect(place, len(body[0]) + PLATFORM_LINES if kind == lines.WHOLE else 1)
                continue
            run.last_at = at
            if kind != lines.APP:
                _TAKE[kind](run, at, body)
            else:
                run.words.append(body)
                if level != "INFO" or run.stray is not None or _says_error(body):
                    _speak(run, at, body, level)

    def _opened(self, place: int, request_id: str, line: Line) -> Run | None:
        """Return the run that a line with a new id opens; None when the line cannot be genuine."""
        if not lines.REQUEST_ID.fullmatch(request_id) or self.last[request_id] < self.until:
            return None
        if line[0] not in _OPENING and not self._unstarted(request_id, line):
            return None
        run = Run(request_id, line[2])
        run.init, run.first, run.hidden = self.init, not self.runs, self.hidden
        self.current, self.until = run, self.last[request_id]
        self.runs[request_id] = run
        self.init = None
        return run

    def _unstarted(self, request_id: str, line: Line) -> bool:
        """Return whether an id may show up by its end: its start comes in the same instant, or is not in this log."""
        if request_id in self.started or (not self.runs and request_id == self._midway()):
            return True
        if self.hidden:
            return isinstance(line[3], dict) and line[3].get("status") != "success"
        # Nothing but a run can follow a failed init.
        return self.init is not None and bool(self.init.faults or self.init.reports)

    def _midway(self) -> str | None:
        """Return the id that was running when the window opened: the last one before the first start."""
        found = None
        for kind, request_id, *_ in self.stream:
            if kind in (lines.START, lines.WHOLE):
                break
            found = request_id or found
        return found

    def _suspect(self, place: int, count: int = 1) -> None:
        if self.current is not None and place < self.until:
            self.current.suspicious += count
        else:
            self.strays += [self.stream[place][2]] * count

    def _nameless(self, place: int, kind: int, at: int, body: Any, level: str) -> None:
        inside = place < self.until
        if kind in (lines.INIT_START, lines.INIT_REPORT):
            if inside:
                self._suspect(place)
            else:
                self._starting(kind, body)
            return
        run = self.current if inside or self._may_speak(at) else None
        if kind == lines.NOTE:
            if run is not None:
                _note(run, body, level)
        elif run is not None and (inside or body.type not in INIT_ERRORS):
            run.stray = run.stray or (at, body)
        else:
            self._starting(kind, body)

    def _starting(self, kind: int, body: Any) -> None:
        init = self.init = self.init or Init()
        if kind == lines.INIT_START:
            init.cold = True
        elif kind == lines.INIT_REPORT:
            init.reports.append(lines.report(body))
        else:
            init.faults.append(body)

    def _may_speak(self, at: int) -> bool:
        """Return whether the run before may still write: it has not ended, or only just."""
        run = self.current
        return run is not None and (run.ended_at is None or at - run.ended_at <= _AFTER_END_MS)


def _hides_success(stream: Sequence[Line]) -> bool:
    """Return whether a stream without a start is one of a JSON function at system log level WARN."""
    in_text = any(line[0] == lines.END or (line[0] == lines.REPORT and isinstance(line[3], str)) for line in stream)
    return not in_text and any(isinstance(line[3], dict) for line in stream)


def _whole(run: Run, _: int, body: Whole) -> None:
    run.start_seen = True
    run.words, run.report, run.ended_at, run.last_at = body


def _start(run: Run, at: int, _: Any) -> None:
    if run.start_seen:
        run.suspicious += 1
    else:
        run.start_seen, run.started_at = True, at


def _close(run: Run, at: int, _: Any) -> None:
    if run.ended_at is None or at < run.ended_at:
        run.ended_at = at


def _report(run: Run, at: int, body: Any) -> None:
    _close(run, at, None)
    run.report = body


def _done(run: Run, at: int, body: Any) -> None:
    _close(run, at, None)
    run.done = body


def _timed_out(run: Run, at: int, body: str) -> None:
    _close(run, at, None)
    run.timed_out = body


def _exited(run: Run, at: int, body: str) -> None:
    _close(run, at, None)
    run.exited = body


def _speak(run: Run, at: int, body: Any, level: str) -> None:
    # A handler that goes on logging has not raised: the traceback was printed.
    if run.stray is not None and at > run.stray[0]:
        run.stray = None
        run.suspicious += 1
    if level in _LOUD:
        _add_error(run, body, lines.fault(level, body))
    elif _says_error(body):
        _add_error(run, body, None)


def _note(run: Run, body: Any, level: str) -> None:
    run.notes = run.notes or []
    run.notes.append(body)
    if level in _LOUD or _says_error(body):
        _add_error(run, body, None)


def _add_error(run: Run, body: Any, fault: Fault | None) -> None:
    run.errors = run.errors or []
    run.errors.append((lines.text_of(body), fault))


def _says_error(body: Any) -> bool:
    text = body if isinstance(body, str) else body.get("message")
    return isinstance(text, str) and text.startswith(ERROR_SIGNS) and (text[0] == "E" or _is_loud(loads(text)))


def _is_loud(record: Any) -> bool:
    """Return whether what a handler's own logger wrote as JSON is an error; pino's levels are numbers."""
    level = record.get("level") if isinstance(record, dict) else None
    return level.upper() in _LOUD if isinstance(level, str) else isinstance(level, int) and level >= _PINO_ERROR


_OPENING = (lines.WHOLE, lines.START, lines.APP)
_TAKE: dict[int, Callable[[Run, int, Any], None]] = {
    lines.WHOLE: _whole,
    lines.START: _start,
    lines.END: _close,
    lines.REPORT: _report,
    lines.DONE: _done,
    lines.TIMED_OUT: _timed_out,
    lines.EXITED: _exited,
}
