"""Runs under way: each belongs to a thread of the server, so that it outlives the tab that started it."""

import threading
from dataclasses import dataclass, field

import streamlit as st

from lib.environment import Environment
from lib.model import PooltableError
from lib.repair import Run
from lib.repair.plan import Plan

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


@st.cache_resource
def _jobs() -> dict[str, Job]:
    return {}


def current(env: Environment) -> Job | None:
    """Return the run of this environment that goes on, or the last one until it is dismissed."""
    return _jobs().get(env.name)


def dismiss(env: Environment) -> None:
    """Show the last run no more; the journal keeps it."""
    _jobs().pop(env.name, None)


def start(env: Environment, plan: Plan, *, why: str | None, release: int | None) -> Job:
    """Carry out a plan in a thread of its own, and return once it has begun, was refused or has ended."""
    job = Job(plan)
    threading.Thread(target=_work, args=(env, job, why, release), name=f"run-{env.name}", daemon=True).start()
    job.begun.wait(_BEGIN_S)
    if job.error is None:
        _jobs()[env.name] = job
    return job


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
