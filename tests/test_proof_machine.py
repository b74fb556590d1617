"""Plans, deaths at every call, retries, undos and the app's own changes, in any order: the laws hold all the same."""

import os
import tempfile
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from proof_memory import POOL, REGION, Dead, Life, MemoryWorld, MortalJournal, let_leases_expire
from proof_proxy import application
from proof_stage import MEMORY

from lib import repair
from lib.config import Settings
from lib.journal import Journal
from lib.model import iso, now

IDS = ("lost1", "lost2", "moved1", "moved2")
FUSES = st.integers(4, 40) | st.none()
FAULTS = st.lists(st.sampled_from([None, "before", "after"]), max_size=4)
PLANS = {}
"""The first plan of each writer: it is the same in every example, and planning takes most of the time."""
LONG_AGO = {"S": iso(now() - timedelta(days=3))}


class Repairs(RuleBasedStateMachine):
    """The witness is the world's own record of its writes; the journal is compared with it whenever all is settled."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.file = Path(self.folder.name) / "journal.db"
        self.real = Journal(f"sqlite:///{self.file}")
        self.life = Life()
        self.journal = MortalJournal(self.real, self.life)
        self.count = 0
        self.muddled = set()
        self.plan = None

    @initialize(writer=st.sampled_from(["dynamodb", "appsync"]))
    def begin(self, writer):
        self.world = MemoryWorld(self.life, writer)
        url = "http://api" if writer == "appsync" else None
        self.settings = Settings("test", POOL, REGION, writer=writer, graphql_url=url, max_repair_percent=100)
        for name in IDS:
            self.world.emails[name] = f"{name}@mail.test"
        for name in (*IDS[2:], "fine"):
            self.world.rows[name] = self.item(name, f"old.{name}@mail.test")
        self.world.emails["fine"] = "old.fine@mail.test"
        self.began = dict(self.world.rows)
        if writer not in PLANS:
            PLANS[writer] = self.world.plan(self.settings)
        self.plan = PLANS[writer]
        assert len(self.plan.steps) == len(IDS)

    @rule(fuse=FUSES, faults=FAULTS)
    def apply(self, fuse, faults):
        self.living(fuse, faults, lambda: self.carried_out(self.plan))

    @rule(fuse=FUSES, faults=FAULTS)
    def undo(self, fuse, faults):
        runs = [run for run in self.real.history("test") if run["kind"] == "apply" and run["done"]]
        if runs:
            self.living(fuse, faults, lambda: self.undone(runs[0]["run_id"]))

    @rule(name=st.sampled_from(IDS), what=st.sampled_from(["nickname", "email"]), races=st.booleans())
    def app_changes(self, name, what, races):
        if races:
            self.world.before_write = lambda id: self.app_writes(name, what) if id == name else None
        else:
            self.app_writes(name, what)

    @rule(name=st.sampled_from(IDS), fuse=FUSES)
    def app_changes_the_account(self, name, fuse):
        self.world.emails[name] = f"{self.unique()}@mail.test"
        self.living(fuse, [], self.planned_and_carried_out)

    def teardown(self):
        if self.plan:
            self.settle()
            self.check()
        self.real.close()
        self.folder.cleanup()

    # What the rules are made of

    def living(self, fuse, faults, do):
        self.life.again(fuse)
        self.world.faults = list(faults)
        try:
            do()
        except Dead:
            let_leases_expire(self.file)
        self.life.again()
        self.world.faults, self.world.before_write = [], None

    def carried_out(self, plan):
        return repair.apply(plan, self.world, self.journal, who="ana", settings=self.settings, records=100)

    def planned_and_carried_out(self):
        self.settle()
        self.plan = self.world.plan(self.settings)
        self.carried_out(self.plan)

    def undone(self, run_id):
        repair.settle(self.world, self.journal, "test", who="ana", resend=False)
        self.carried_out(repair.undo_plan(self.journal, run_id))

    def settle(self):
        repair.settle(self.world, self.journal, "test", who="ana", resend=False)

    def app_writes(self, name, what):
        self.world.before_write = None
        row = self.world.rows.get(name)
        if name in {step["row_id"] for step in self.real.open_steps("test", POOL, self.world.table)}:
            self.muddled.add(name)
        changed = self.item(name, f"{self.unique()}@app.test") if row is None else row
        self.world.put("app", "app", name, changed | {what: {"S": f"{self.unique()}@app.test"}})

    def unique(self):
        self.count += 1
        return f"word{self.count}"

    @staticmethod
    def item(name, email):
        row = {"id": {"S": name}, "email": {"S": email}, "owner": {"S": f"{name}::{name}"}}
        return row | {"__typename": {"S": "User"}, "createdAt": LONG_AGO, "updatedAt": LONG_AGO}

    # The laws

    def check(self):
        assert not self.real.open_steps("test", POOL, self.world.table)
        steps = self.real.steps_on("test", IDS)
        done = Counter(step["row_id"] for step in steps if step["state"] == "done")
        for name in IDS:
            writes = [write for write in self.world.writes if write.row_id == name and write.effective]
            ours = [write for write in writes if write.by == "us"]
            assert done[name] <= len(ours), f"the journal claims more of {name} than was written"
            assert done[name] == len(ours) or name in self.muddled, f"the journal knows less of {name}"
            self.check_nothing_newer_is_overwritten(writes)
            self.check_nothing_takes_effect_twice(ours)

    @staticmethod
    def check_nothing_newer_is_overwritten(writes):
        theirs = {}
        for write in writes:
            before, after = application(write.before) or {}, application(write.after) or {}
            if write.by == "app":
                theirs |= {key: value for key, value in after.items() if before.get(key) != value}
            else:
                assert not [key for key, value in theirs.items() if before.get(key) == value != after.get(key)]

    @staticmethod
    def check_nothing_takes_effect_twice(ours):
        for one, next_one in pairwise(ours):
            assert application(one.after) != application(next_one.after)


TestRepairs = Repairs.TestCase
# To see that it fails is enough for CI; what the shortest way to fail is, is for whoever looks into it.
PHASES = (Phase.generate,) if "CI" in os.environ else tuple(Phase)
TestRepairs.settings = settings(
    max_examples=10, stateful_step_count=12, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck)
)
