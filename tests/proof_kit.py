"""The proof: plans are carried out and undone by processes that are killed, behind a proxy that breaks their calls.

A play is one plan, applied and undone until both are done, however often that was broken off. The laws are checked on
the proxy's record of what reached the table; the journal is only compared with it.
"""

import random
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from proof_proxy import Call, Fate, Item, Write, application
from proof_stage import Ended, Stage

LAWS = ("lost", "twice", "overwritten", "journal mismatches", "left open", "not done", "unwitnessed")
POINTS = ("account read", "row read", "write", "read back")
HOW = ("lost", "late", "unheard", "heard")
_READ_FAULTS = ("500 before", "dropped before", "delayed", "throttled")
_WRITE_FAULTS = (*_READ_FAULTS, "500 before", "500 after", "500 after", "dropped after", "dropped after")
_DONE = re.compile(r"\bdone \w+ ([0-9a-f-]{36})\.")

Kill = tuple[str, str, int]
"""The point of the protocol, how the call ends there, and the how many-th call of that point it is."""


@dataclass
class Figures:
    """What a proof counted; ``broken`` has the breaches of each law."""

    kills: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    stages: int = 0
    plays: int = 0
    app: int = 0
    effective: int = 0
    acknowledged: int = 0
    undecidable: int = 0
    """Unheard writes to rows that the app changed before they were read back: nobody can tell whose they were."""
    broken: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every law held, and something was there to break it."""
        return not self.broken and bool(self.kills) and bool(self.faults)

    def breach(self, law: str, what: str) -> None:
        self.broken[law] += 1
        self.details.append(f"{law}: {what}")

    def text(self) -> str:
        laws = ", ".join(f"{law} {self.broken[law]}" for law in LAWS)
        return (
            f"{self.plays} plans applied and undone, {self.kills.total()} kills hit ({self.missed} missed), "
            f"{self.faults.total()} faults fired, {self.app} changes by the app, {self.effective} effective writes, "
            f"{self.acknowledged} acknowledged repairs, {self.undecidable} undecidable: {laws}"
        )


@dataclass
class Script:
    """Decides the fate of each call of one process."""

    chance: random.Random
    kill: Kill | None = None
    faults: float = 0.0
    expires_after: int | None = None
    app: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What the app does before the n-th call."""
    between: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What the app does to a row between our reading it and our first write to it."""
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: Call) -> Fate:
        if call.point == "other":
            return Fate()
        with self._lock:
            self._seen.update([call.point, "any"])
            count = self._seen["any"]
            app = self.app.pop(count, None)
            if call.point == "write":
                app = self.between.pop(call.row_id or "", app)
            if self.kill and (call.point, self._seen[call.point]) == (self.kill[0], self.kill[2]):
                return Fate(kill=self.kill[1], app=app, seconds=self.chance.uniform(0, 0.02))
            if self.expires_after is not None and count > self.expires_after:
                return Fate("expired", app=app)
            fault = None
            if self.chance.random() < self.faults:
                fault = self.chance.choice(_WRITE_FAULTS if call.point == "write" else _READ_FAULTS)
            return Fate(fault, app=app, seconds=self.chance.uniform(0, 0.05))


class Play:
    """One plan and what becomes of it."""

    def __init__(self, stage: Stage, figures: Figures, chance: random.Random, creates: int, updates: int) -> None:
        self.stage, self.figures, self.chance = stage, figures, chance
        self.creates = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(creates)]
        self.updates = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(updates)]
        self.ids = [*self.creates, *self.updates]
        for name in self.ids:
            stage.account(name, f"{name}@mail.test")
        for name in self.updates:
            stage.put(stage.item(name, f"old.{name}@mail.test"))
        self._began = {name: stage.row(name) for name in self.ids}
        self._acknowledged: Counter[str] = Counter()
        self._start = len(stage.witness.writes)
        figures.plays += 1

    def plan(self) -> None:
        """Plan on a fresh snapshot, as a file that each process applies anew."""
        self.stage.proxy.fates = lambda _call: Fate()
        self.stage.environment.refresh()
        plan = self.stage.environment.plan(ids=self.ids)
        assert len(plan.steps) == len(self.ids), plan
        plan.save(self.stage.plan_file)

    def run(self, do: str, script: Script, run: str = "") -> Ended:
        """Run one process under a script to its end, whichever that is."""
        proxy, operator = self.stage.proxy, self.stage.operator
        proxy.fates, proxy.kill, proxy.written = script, operator.kill, set()
        operator.fork(do=do, plan=str(self.stage.plan_file), run=run)
        operator.go()
        ended = operator.ended()
        self.figures.faults.update(proxy.faults)
        proxy.faults.clear()
        if ended.killed and script.kill:
            self.figures.kills[f"{do}: {script.kill[0]}, {script.kill[1]}"] += 1
        elif script.kill:
            self.figures.missed += 1
        if do == "apply":
            self._acknowledged.update({name: 1 for line in ended.told for name in _DONE.findall(line)})
        return ended

    def until_done(self, do: str, scripts: list[Script], run: str = "") -> Ended:
        """Run a process under each script, then others that nothing happens to, until one comes to its end."""
        for script in scripts:
            self.run(do, script, run)
        ended = self.run(do, Script(self.chance), run)
        if ended.state == "interrupted":
            ended = self.run(do, Script(self.chance), run)
        self.stage.proxy.drained()
        return ended

    def app_on(self, name: str, what: str | None = None) -> Callable[[], None]:
        """Return a change of one row as the app makes it, to values that nobody else writes."""
        word = f"{self.chance.getrandbits(64):x}"
        # Through an unversioned API only the fields of its schema can be held; see the warning in the plan.
        free = self.stage.writer == "dynamodb" or self.stage.versioned
        deletes = what is None and name in self.updates and self.chance.random() < 0.3
        field = what or self.chance.choice(["owner", "email"] if free else ["email"])

        def change(row: Item | None) -> Item | None:
            if row is None:
                return None if name in self.updates else self.stage.item(name, f"{word}@app.test")
            if application(row) is None:
                return row
            if deletes:
                return None
            version = int(row.get("_version", {"N": "0"})["N"])
            counted = {"_version": {"N": str(version + 1)}} if self.stage.versioned else {}
            return row | counted | {field: {"S": f"{word}@app.test"}}

        return lambda: self.stage.app(name, change)

    # The laws

    def applied(self, ended: Ended) -> list[str]:
        """Check what the apply did; return the runs that wrote something, newest first."""
        writes = self._since(self._start)
        steps = [step for step in self._journal() if step["kind"] == "apply"]
        self._check(ended, writes, steps, dict.fromkeys(self.ids))
        for name in self._acknowledged:
            if not any(write.by == "us" and write.effective for write in writes[name]):
                self.figures.breach("lost", f"{name} was acknowledged and never written")
        self.figures.acknowledged += len(self._acknowledged)
        self._start = len(self.stage.witness.writes)
        return list(dict.fromkeys(step["run_id"] for step in steps if step["state"] == "done"))

    def undone(self, ended: Ended | None) -> None:
        """Check what the undo did."""
        writes = self._since(self._start)
        steps = [step for step in self._journal() if step["kind"] == "undo"]
        journalled = {step["row_id"]: None for step in self._journal() if step["kind"] == "apply" and _done(step)}
        self._check(ended, writes, steps, journalled)
        touched = {write.row_id for write in self.stage.witness.writes if write.by == "app" and write.effective}
        for name in journalled.keys() - touched:
            if application(self.stage.row(name)) != application(self._began[name]):
                self.figures.breach("not done", f"{name} is not as it was before")

    def end(self) -> None:
        for name in self.ids:
            self.stage.forget(name)
        self.stage.witness.writes.clear()

    def _since(self, start: int) -> dict[str, list[Write]]:
        """Return the writes by row; those of the app that changed nothing left out."""
        found: dict[str, list[Write]] = {name: [] for name in self.ids}
        for write in self.stage.witness.writes[start:]:
            if write.effective:
                found[write.row_id].append(write)
        return found

    def _journal(self) -> list[dict[str, Any]]:
        journal = self.stage.environment.journal
        return journal.steps_on(self.stage.environment.name, self.ids)

    def _check(
        self,
        ended: Ended | None,
        writes: dict[str, list[Write]],
        steps: list[dict[str, Any]],
        due: dict[str, None],
    ) -> None:
        if ended and ended.state not in ("done", "partial"):
            self.figures.breach("not done", f"the last run ended as {ended.told[-1:]}")
        for name, listed in writes.items():
            ours = [write for write in listed if write.by == "us"]
            self.figures.effective += len(ours)
            self.figures.app += len(listed) - len(ours)
            if len(ours) > 1:
                self.figures.breach("twice", f"{name}: {[write.operation for write in ours]}")
            if name in due and len(listed) == len(ours) == 0 and not self._was_touched(name):
                self.figures.breach("not done", f"{name} was never written")
            self._compare(name, listed, [step for step in steps if step["row_id"] == name])
            self._overwritten(name, listed)
            if listed and self.stage.row(name) != listed[-1].after:
                self._unwitnessed(name)

    def _unwitnessed(self, name: str) -> None:
        last = [write for write in self.stage.witness.writes if write.row_id == name][-1]
        if self.stage.row(name) != last.after:
            self.figures.breach("unwitnessed", name)

    def _was_touched(self, name: str) -> bool:
        return any(w.by == "app" and w.effective and w.row_id == name for w in self.stage.witness.writes)

    def _compare(self, name: str, listed: list[Write], steps: list[dict[str, Any]]) -> None:
        """Compare the journal's steps on one row with its writes."""
        ours = [write for write in listed if write.by == "us"]
        done = [step for step in steps if _done(step)]
        if any(step["state"] in ("intent", "unknown") for step in steps):
            self.figures.breach("left open", f"{name}: {[step['state'] for step in steps]}")
        touched_after = bool(ours) and any(write.by == "app" for write in listed[listed.index(ours[-1]) :])
        if len(done) < len(ours) and touched_after:
            self.figures.undecidable += 1
        elif len(done) != len(ours):
            said = [(step["state"], step["message"]) for step in steps]
            self.figures.breach("journal mismatches", f"{name}: {said} for {[write.operation for write in ours]}")
        elif done and not touched_after and application(done[0]["after"]) != application(ours[0].after):
            self.figures.breach("journal mismatches", f"{name}: the image is another one")

    def _overwritten(self, name: str, listed: list[Write]) -> None:
        theirs: dict[str, Any] = {}
        deleted = False
        for write in listed:
            before, after = application(write.before) or {}, application(write.after) or {}
            if write.by == "app":
                deleted = not after
                theirs |= {key: value for key, value in after.items() if before.get(key) != value}
            elif deleted or any(before.get(key) == value != after.get(key) for key, value in theirs.items()):
                self.figures.breach("overwritten", f"{name}: {write.operation}")


def _done(step: dict[str, Any]) -> bool:
    return step["state"] == "done"


def play(
    stage: Stage,
    figures: Figures,
    chance: random.Random,
    *,
    apply_kills: list[Kill],
    undo_kills: list[Kill] | None,
    faults: float = 0.05,
    expires: float = 0.3,
    creates: int = 4,
    updates: int = 2,
) -> None:
    """Play one plan: a process for each kill, one that is not killed, one that nothing happens to; then the undo.

    ``faults`` is the part of the calls that break. The app acts while the first process runs. The kills of the undo
    are dealt to the runs that did the apply; None leaves the undo out.
    """
    piece = Play(stage, figures, chance, creates, updates)
    piece.plan()

    def scripts(kills: list[Kill]) -> list[Script]:
        expiry = chance.randint(1, 12) if chance.random() < expires else None
        made = [Script(chance, kill, faults) for kill in kills] + [Script(chance, None, faults, expiry)]
        made[0].app = {chance.randint(1, 12): piece.app_on(chance.choice(piece.ids))}
        raced = chance.choice(piece.ids)
        made[-1].between = {raced: piece.app_on(raced)}
        return made

    applied = piece.until_done("apply", scripts(apply_kills))
    runs = piece.applied(applied)
    if undo_kills is not None:
        ended = None
        for place, run in enumerate(runs):
            dealt = undo_kills[place :: len(runs)]
            ended = piece.until_done("undo", scripts(dealt) if dealt else [], run)
        piece.undone(ended)
    piece.end()


def campaign(stage: Stage, figures: Figures, kills: int, seed: int) -> None:
    """Play plans under random kills and faults until so many kills more have hit."""
    wanted = figures.kills.total() + kills
    for number in count(seed):
        chance = random.Random(number)
        # What was applied by one run is undone by one: that is where an undo can be killed most.
        apply_kills, undo_kills = (_kills(chance, 12, POINTS), _kills(chance, 3, POINTS[1:]))
        if number % 3 == 0:
            apply_kills, undo_kills = [], _kills(chance, 9, POINTS[1:])
        play(stage, figures, chance, apply_kills=apply_kills, undo_kills=undo_kills, creates=6, updates=3)
        if figures.kills.total() >= wanted:
            return


def _kills(chance: random.Random, kills: int, points: tuple[str, ...]) -> list[Kill]:
    likely = [*points, "write", "read back"]
    return [(chance.choice(likely), chance.choice(HOW), chance.choice((1, 1, 2, 3))) for _ in range(kills)]
