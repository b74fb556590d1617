"""Runs under way: each belongs to a thread of the server, so that it outlives the tab that started it."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import streamlit as st

from lib import display
from lib.environment import Environment
from lib.model import PooltableError, Refused
from lib.repair import Run
from lib.repair.plan import Plan

SETTLING = "What an earlier run left open is being settled by reading back."

_BEGIN_S = 15  # the chain is asked, the lease is taken: what is refused is refused by then


@dataclass
class Job:
    """One run as its thread sees it. Only that thread writes here; every session reads."""

    plan: Plan
    settled: int = 0
    run_id: str | None = None
    run: Run | None = None
    error: str | None = None
    mark: int = 0  # the journal's when it ended
    begun: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        """Whether its thread has nothing more to say."""
        return self.run is not None or self.error is not None


@dataclass
class _Jobs:
    lock: threading.Lock = field(default_factory=threading.Lock)
    by_name: dict[str, Job] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)  # by environment: what came of settling, empty until then


@st.cache_resource
def _jobs() -> _Jobs:
    return _Jobs()


def current(env: Environment) -> Job | None:
    """Return the run of this environment that goes on, or the last one until it is dismissed."""
    return _jobs().by_name.get(env.name)


def dismiss(env: Environment) -> None:
    """Show the last run no more; the journal keeps it. One that goes on stays."""
    jobs = _jobs()
    with jobs.lock:
        known = jobs.by_name.get(env.name)
        if known is not None and known.ended:
            del jobs.by_name[env.name]


def settle_once(env: Environment) -> None:
    """Settle, in a thread of its own, what dead runs left open: when this server first opens an environment.

    Not where the pages may not write, and never while somebody else is repairing: those steps may be theirs.
    """
    jobs = _jobs()
    with jobs.lock:
        if _place(env) in jobs.settled or env.read_only(without_login=True):
            return
        jobs.settled[_place(env)] = ""
    if env.journal.left_open(env.name) and not env.journal.holder(env.name):
        threading.Thread(target=_settle, args=(env,), name=f"settle-{env.name}", daemon=True).start()


def settled(env: Environment) -> str:
    """Return what came of settling when this server began, empty where there was nothing to settle."""
    return _jobs().settled.get(_place(env), "")


def _place(env: Environment) -> str:
    return f"{env.name} {env.settings.user_pool_id}"


def _settle(env: Environment) -> None:
    jobs = _jobs()
    jobs.settled[_place(env)] = SETTLING
    try:
        outcomes = Counter(outcome.state for outcome in env.settle())
    except PooltableError as error:
        jobs.settled[_place(env)] = display.safe(f"What an earlier run left open could not be settled yet. {error}")
        return
    said = ", ".join(f"{count} {state}" for state, count in outcomes.items())
    jobs.settled[_place(env)] = f"What an earlier run left open was settled by reading back: {said or 'no step'}."


def start(env: Environment, plan: Plan, *, why: str | None, release: int | None) -> Job:
    """Carry out a plan in a thread of its own, and return once it has begun, was refused or has ended.

    A refused job has an ``error`` and no ``run_id``; it does not take the place of another one.
    """
    jobs, job = _jobs(), Job(plan)
    with jobs.lock:
        before = jobs.by_name.get(env.name)
        try:
            _refuse(env, before)
        except Refused as refused:
            job.error = str(refused)
            return job
        jobs.by_name[env.name] = job
    threading.Thread(target=_work, args=(env, job, why, release), name=f"run-{env.name}", daemon=True).start()
    job.begun.wait(_BEGIN_S)
    if job.error is not None and job.run_id is None:
        _put_back(env, job, before)
    return job


def _refuse(env: Environment, before: Job | None) -> None:
    # The pages' buttons are disabled too, but a page may have been made before the setting was.
    reason = env.read_only(without_login=True)
    if reason:
        raise Refused(reason)
    if before is not None and not before.ended:
        raise Refused(f"Another repair of {env.name} goes on here. Wait until it has ended, or cancel it.")


def _put_back(env: Environment, job: Job, before: Job | None) -> None:
    """Show what was shown before a job that was refused; its own page tells of it."""
    jobs = _jobs()
    with jobs.lock:
        if jobs.by_name.get(env.name) is job:
            if before is None:
                del jobs.by_name[env.name]
            else:
                jobs.by_name[env.name] = before


def _work(env: Environment, job: Job, why: str | None, release: int | None) -> None:
    def progress(line: str, settled: int, _total: int) -> None:
        if job.run_id is None:
            job.run_id = line.removeprefix("run ")
        job.settled = settled
        job.begun.set()

    try:
        run = env.apply(job.plan, why=why, release=release, progress=progress, cancelled=job.cancelled.is_set)
        job.mark, job.run = env.journal_mark(), run
    except PooltableError as error:
        job.error = str(error)
    finally:
        if not job.ended:
            job.error = "The run was broken off by a fault of Pooltable. Its open steps are settled by the next run."
        job.begun.set()
