"""What a run amounts to: how it ended, why, its figures, and whose sign-up it was."""

from typing import Any, NamedTuple

from lib.logparse import identity, lines
from lib.logparse.identity import EVENT_PREFIX, VARIABLES_PREFIX, Who
from lib.logparse.lines import Fault, Report
from lib.logparse.runs import INIT_ERRORS, Run

_LOGGED_ERROR_LENGTH = 500
_MESSAGE_LENGTH = 2000
_FAILED = ("error", "failure", "timeout")
_SUCCEEDED = (None, "success")
_UNREPORTED = Report()
_NO_FAULT = Fault("", "")


class Verdict(NamedTuple):
    """How a run ended; ``uncaught`` is the error that ended it, where the log holds it."""

    outcome: str
    error_type: str | None = None
    message: str | None = None
    uncaught: Fault | None = None


_COMPLETED = Verdict("completed")
_INCOMPLETE = Verdict("incomplete")


def record(run: Run, log_stream: str) -> tuple[Any, ...]:
    """Return one run as a record of ``model.INVOCATIONS``, times in epoch milliseconds."""
    report = lines.report(run.report) if run.report is not None else _UNREPORTED
    verdict = _verdict(run, report)
    who = _who(run)
    failed = verdict.outcome == "init_error"
    return (
        run.request_id,
        run.started_at,
        run.ended_at,
        None,  # the function and
        None,  # its log group: no event tells them
        log_stream,
        who.trigger_source,
        who.username,
        who.email,
        verdict.outcome,
        verdict.error_type,
        verdict.message[:_MESSAGE_LENGTH] if verdict.message else None,
        _logged_error(run, verdict.uncaught) if run.errors else None,
        report.duration_ms,
        report.billed_ms,
        report.memory_mb,
        report.max_memory_mb,
        _init_ms(run, report) if failed else report.init_ms,
        _cold_start(run) if failed else None if run.report is None else report.init_ms is not None,
        who.event,
        who.truncated,
        run.suspicious,
    )


def _verdict(run: Run, report: Report) -> Verdict:
    """Judge by precedence: init_error, timeout, oom, exit, error, completed, incomplete."""
    if run.calm and report.status in _SUCCEEDED:
        return _COMPLETED if run.ended_at is not None or run.hidden else _INCOMPLETE
    done = lines.report(run.done) if run.done is not None else _UNREPORTED
    status, error_type = report.status or done.status, report.error_type or done.error_type
    init = None if run.words or status == "success" else _init_fault(run, error_type)
    if init:
        return Verdict("init_error", error_type or init.type or None, init.message or None, init)
    if run.timed_out or status == "timeout" or error_type == "Sandbox.Timedout":
        return Verdict("timeout", "Sandbox.Timedout", run.timed_out)
    if error_type == "Runtime.OutOfMemory" or (error_type is None and run.exited and _killed(run.exited, report)):
        return Verdict("oom", "Runtime.OutOfMemory", run.exited)
    if error_type == "Runtime.ExitError" or run.exited:
        return Verdict("exit", error_type or "Runtime.ExitError", run.exited)
    fault = _uncaught(run, status, error_type) if run.errors or run.stray else None
    if fault or status in _FAILED:
        named = fault or _NO_FAULT
        return Verdict("error", error_type or named.type or None, named.message or None, fault)
    return _COMPLETED if run.ended_at is not None or run.hidden else _INCOMPLETE


def _init_fault(run: Run, error_type: str | None) -> Fault | None:
    """Return why the function could not be started, if that is what ended a run whose handler said nothing.

    One whose handler spoke was started after all: at the second attempt, or the failure was printed.
    """
    if run.stray and run.stray[1].type in INIT_ERRORS:
        return run.stray[1]
    faults = run.init.faults if run.init else []
    failed = [report for report in run.init.reports if report.status in _FAILED] if run.init else []
    types = [_type_of(report) for report in failed if _type_of(report)] or [fault.type for fault in faults]
    at_last = any(report.phase == "invoke" for report in failed) or (run.report is None and bool(faults))
    if error_type in INIT_ERRORS or at_last or (error_type is not None and error_type in types):
        return Fault(error_type or (types[-1] if types else ""), faults[-1].message if faults else "")
    return None


def _type_of(report: Report) -> str:
    return report.error_type or ("Sandbox.Timedout" if report.status == "timeout" else "")


def _killed(exited: str, report: Report) -> bool:
    """Return whether the system killed the process: for want of memory, unless the figures say it had some left."""
    full = report.max_memory_mb is None or report.memory_mb is None or report.max_memory_mb >= report.memory_mb
    return "signal: killed" in exited and full


def _uncaught(run: Run, status: str | None, error_type: str | None) -> Fault | None:
    if status == "success":
        return None
    faults = [fault for _, fault in run.errors or () if fault is not None]
    certain = [fault for fault in faults if fault.uncaught] + ([run.stray[1]] if run.stray else [])
    if certain:
        return certain[0]
    # JSON from Node looks the same whether the handler logged or raised: only the REPORT tells, or its absence.
    if status in _FAILED or (run.ended_at is None and not run.hidden):
        return next((fault for fault in reversed(faults) if error_type in (None, fault.type)), None)
    return None


def _logged_error(run: Run, uncaught: Fault | None) -> str | None:
    logged = (text for text, fault in run.errors or () if fault is None or fault is not uncaught)
    return next((text[:_LOGGED_ERROR_LENGTH] for text in logged), None)


def _init_ms(run: Run, report: Report) -> float | None:
    """Return how long an init took that failed: its own report tells, for the run's has no such figure."""
    if report.init_ms is not None or run.init is None:
        return report.init_ms
    return next((init.duration_ms for init in run.init.reports if init.phase != "invoke"), None)


def _cold_start(run: Run) -> bool | None:
    """Return whether a run whose init failed was its sandbox's first: only that one follows INIT_START."""
    if run.init is not None and run.init.cold:
        return True
    return None if run.first else False


def _who(run: Run) -> Who:
    found: list[tuple[int, Who]] = []
    variables = []
    for body in run.words:
        text = body if isinstance(body, str) else body.get("message")
        if isinstance(text, str) and text.startswith(EVENT_PREFIX):
            who = identity.logged_event(text[len(EVENT_PREFIX) :])
            if who.event and who.username and who.trigger_source:
                return who
            found.append((0, who))
        elif isinstance(text, str) and text.startswith(VARIABLES_PREFIX):
            variables.append(text[len(VARIABLES_PREFIX) :])
        else:
            found += identity.named(body, own=True)
    found += [(1, identity.logged_variables(text)) for text in variables]
    for body in run.notes or ():
        found += identity.named(body, own=False)
    return identity.best(found)
