"""What a run amounts to: how it ended, why, its figures, and whose sign-up it was."""

from typing import Any, NamedTuple

from lib.logparse import identity, lines
from lib.logparse.identity import EVENT_PREFIX, VARIABLES_PREFIX, Who
from lib.logparse.lines import Fault, Report
from lib.logparse.runs import INIT_ERRORS, Run

_LOGGED_ERROR_LENGTH = 500
_MESSAGE_LENGTH = 2000
_FAILED = ("error", "failure", "timeout")


class Verdict(NamedTuple):
    """How a run ended; ``uncaught`` is the error that ended it, where the log holds it."""

    outcome: str
    error_type: str | None = None
    message: str | None = None
    uncaught: Fault | None = None


def record(run: Run) -> dict[str, Any]:
    """Return one run as a record of ``model.INVOCATIONS``, times in epoch milliseconds."""
    report = lines.report(run.report) if run.report is not None else Report()
    verdict = _verdict(run, report)
    who = _who(run.words)
    return {
        "request_id": run.request_id,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "trigger_source": who.trigger_source,
        "username": who.username,
        "email": who.email,
        "outcome": verdict.outcome,
        "error_type": verdict.error_type,
        "error_message": verdict.message[:_MESSAGE_LENGTH] if verdict.message else None,
        "logged_error": _logged_error(run, verdict.uncaught),
        "duration_ms": report.duration_ms,
        "billed_ms": report.billed_ms,
        "memory_mb": report.memory_mb,
        "max_memory_mb": report.max_memory_mb,
        "init_ms": _init_ms(run, report, verdict),
        "cold_start": _cold_start(run, report, verdict),
        "event": who.event,
        "truncated": who.truncated,
        "suspicious": run.suspicious,
    }


def _verdict(run: Run, report: Report) -> Verdict:
    """Judge by precedence: init_error, timeout, oom, exit, error, completed, incomplete."""
    done = lines.report(run.done) if run.done is not None else Report()
    status, error_type = report.status or done.status, report.error_type or done.error_type
    init = _init_fault(run, status, error_type)
    if init:
        return Verdict("init_error", error_type or init.type, init.message, init)
    if run.timed_out or status == "timeout" or error_type == "Sandbox.Timedout":
        return Verdict("timeout", "Sandbox.Timedout", run.timed_out)
    if error_type == "Runtime.OutOfMemory" or (error_type is None and _killed(run, report)):
        return Verdict("oom", "Runtime.OutOfMemory", run.exited)
    if error_type == "Runtime.ExitError" or run.exited:
        return Verdict("exit", error_type or "Runtime.ExitError", run.exited)
    fault = _uncaught(run, status, error_type)
    if fault or status in _FAILED:
        return Verdict("error", error_type or (fault and fault.type), fault and fault.message, fault)
    return Verdict("completed" if run.ended_at is not None or run.hidden else "incomplete")


def _init_fault(run: Run, status: str | None, error_type: str | None) -> Fault | None:
    """Return why the function could not be started, if that is what ended the run.

    A run whose handler spoke was started after all: by the second attempt, or the failure was printed.
    """
    if run.said or status == "success":
        return None
    if run.stray and run.stray[1].type in INIT_ERRORS:
        return run.stray[1]
    failed = [report for report in run.init.reports if report.status in _FAILED]
    told = [fault.type for fault in run.init.faults] + [report.error_type for report in failed]
    if not (
        error_type in INIT_ERRORS
        or any(report.phase == "invoke" for report in failed)
        or (error_type is not None and error_type in told)
        or (run.report is None and run.init.faults)
    ):
        return None
    of_phase = "Sandbox.Timedout" if failed and failed[-1].status == "timeout" else None
    named = next((report.error_type for report in reversed(failed) if report.error_type), of_phase)
    last = run.init.faults[-1] if run.init.faults else Fault("", "")
    return Fault(error_type or named or last.type, last.message)


def _killed(run: Run, report: Report) -> bool:
    """Return whether the system killed the process: for want of memory, unless the figures say it had some left."""
    full = report.max_memory_mb is None or report.memory_mb is None or report.max_memory_mb >= report.memory_mb
    return run.exited is not None and "signal: killed" in run.exited and full


def _uncaught(run: Run, status: str | None, error_type: str | None) -> Fault | None:
    if status == "success":
        return None
    faults = [fault for _, fault in run.errors if fault is not None]
    certain = [fault for fault in faults if fault.uncaught] + ([run.stray[1]] if run.stray else [])
    if certain:
        return certain[0]
    # JSON from Node looks the same whether the handler logged or raised: only the REPORT tells, or its absence.
    if status in _FAILED or (run.ended_at is None and not run.hidden):
        return next((fault for fault in reversed(faults) if error_type in (None, fault.type)), None)
    return None


def _logged_error(run: Run, uncaught: Fault | None) -> str | None:
    logged = (text for text, fault in run.errors if fault is None or fault is not uncaught)
    return next((text[:_LOGGED_ERROR_LENGTH] for text in logged), None)


def _init_ms(run: Run, report: Report, verdict: Verdict) -> float | None:
    if verdict.outcome != "init_error" or report.init_ms is not None:
        return report.init_ms
    return next((init.duration_ms for init in run.init.reports if init.phase != "invoke"), None)


def _cold_start(run: Run, report: Report, verdict: Verdict) -> bool | None:
    if verdict.outcome == "init_error":
        # Its REPORT has no init duration; only a sandbox's first run follows INIT_START.
        return True if run.init.cold else (False if run.init.after_another else None)
    return None if run.report is None else report.init_ms is not None


def _who(words: list[tuple[bool, Any]]) -> Who:
    found: list[tuple[int, Who]] = []
    for own, body in words:
        text = body if isinstance(body, str) else body.get("message")
        if own and isinstance(text, str) and text.startswith(EVENT_PREFIX):
            found.append((0, identity.logged_event(text[len(EVENT_PREFIX) :])))
        elif own and isinstance(text, str) and text.startswith(VARIABLES_PREFIX):
            # Only needed where the event line is lost or cut, and slow to read.
            if not any(rank == 0 and who.event for rank, who in found):
                found.append((1, identity.logged_variables(text[len(VARIABLES_PREFIX) :])))
        elif identity.mentions(body):
            named = identity.named(body, own=own)
            if named:
                found.append(named)
    return identity.best(found)
