"""Where a proof is played: a world, the proxy in front of it, and the processes under test, which can be killed."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from moto.cognitoidp.models import cognitoidp_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from proof_proxy import Item, Proxy, Witness

from lib.config import Config, Settings
from lib.demo import seeding
from lib.demo.story import Account
from lib.demo.world import World
from lib.environment import Environment
from lib.model import iso, now

ROOT = Path(__file__).resolve().parents[1]
KINDS = (("dynamodb", False), ("appsync", True), ("dynamodb", True), ("appsync", False))
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory, where there is one: what a killed process wrote stays there, and a commit costs nothing."""
_NAME = "proof"


@dataclass(frozen=True)
class Ended:
    """How a process under test ended: its wait status and what it had said by then."""

    status: int
    told: tuple[str, ...]

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def state(self) -> str | None:
        """The state of its run, None where it was killed before its end."""
        last = self.told[-1] if self.told else ""
        return last.removeprefix("ended ").partition(":")[0] if last.startswith(("ended ", "error ")) else None


class Operator:
    """A parent of processes under test, one at a time."""

    def __init__(self, config_file: Path) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._parent = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "proof_child.py"), str(config_file), _NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._told = config_file.with_name(f"told-{uuid.uuid4().hex}")
        self._pid = 0

    def fork(self, **command: Any) -> None:
        """Make the process; it begins with ``go``."""
        self._told.write_text("")
        self._say(json.dumps({"who": "ana", "plan": "", "run": "", "told": str(self._told)} | command))
        self._pid = self._heard()

    def go(self) -> None:
        self._say("go")

    def kill(self) -> None:
        # Until its parent has been asked what became of it, nobody else can have this process id.
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def ended(self) -> Ended:
        status = self._heard()
        return Ended(status, tuple(self._told.read_text().splitlines()))

    def stop(self) -> None:
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.close()
        self._parent.wait(timeout=30)
        self._parent.stdout.close()

    def _say(self, line: str) -> None:
        assert self._parent.stdin
        self._parent.stdin.write(line + "\n")

    def _heard(self) -> int:
        assert self._parent.stdout
        return int(self._parent.stdout.readline())


class Stage:
    """One world, one writer, and everything that is known of what reaches its table.

    ``table_url`` is a DynamoDB to use in the stead of the world's own.
    """

    def __init__(self, folder: Path, writer: str, versioned: bool, table_url: str | None = None) -> None:
        self.writer, self.versioned = writer, versioned
        self._world = World(accounts=40, versioned=versioned)
        facts = self._world.facts
        self.dynamodb = self._world.client("dynamodb") if table_url is None else _moved(self._world, table_url)
        self.table = facts.table
        self.witness = Witness(self.row)
        self.proxy = Proxy(facts.url, self.witness, table_url)
        self._users = cognitoidp_backends[DEFAULT_ACCOUNT_ID][facts.region].user_pools[facts.pool]
        self.settings = replace(
            facts.settings(Settings(_NAME, user_pool_id="", region="")),
            endpoint_url=self.proxy.url,
            graphql_url=f"{self.proxy.url}/graphql" if writer == "appsync" else None,
            writer=writer,
            api_key=self._world.keys["renewed"],
            correlation="username",
            grace_minutes=0,
            log_days=1,
            max_repair_percent=100,
            max_shrink_percent=100,
            credentials=("proof", "proof"),
        )
        config = Config({_NAME: self.settings}, folder, f"sqlite:///{folder}/journal.db", str(folder / "snapshots"), 3)
        (folder / "config").write_bytes(pickle.dumps(config))
        self.config_file = folder / "config"
        self.plan_file = folder / "plan.json"
        self.environment = Environment(config, self.settings)
        self.operator = Operator(self.config_file)

    def stop(self) -> None:
        self.operator.stop()
        self.environment.journal.close()
        self.proxy.stop()
        self._world.stop()

    def row(self, id: str) -> Item | None:
        """Return a row as it is in the table, past the proxy."""
        found: Item | None = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": id}}, ConsistentRead=True
        ).get("Item")
        return found

    def account(self, name: str, email: str) -> None:
        at = now() - timedelta(days=2)
        attributes = {"sub": name, "email": email, "email_verified": "true"}
        seeding.add_account(self._users, Account(name, attributes, "CONFIRMED", True, at, at))

    def forget(self, name: str) -> None:
        self._users.users.pop(name, None)
        self.dynamodb.delete_item(TableName=self.table, Key={"id": {"S": name}})

    def item(self, name: str, email: str) -> Item:
        """Return a healthy row."""
        at = {"S": iso(now() - timedelta(days=2))}
        row: Item = {"id": {"S": name}, "email": {"S": email}, "owner": {"S": f"{name}::{name}"}}
        row |= {"__typename": {"S": "User"}, "createdAt": at, "updatedAt": at}
        return row | ({"_version": {"N": "1"}, "_lastChangedAt": {"N": "1700000000000"}} if self.versioned else {})

    def put(self, item: Item) -> None:
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def app(self, row_id: str, change: Callable[[Item | None], Item | None]) -> None:
        """Let the app change a row now, and the witness see it."""

        def write() -> None:
            after = change(self.row(row_id))
            if after is None:
                self.dynamodb.delete_item(TableName=self.table, Key={"id": {"S": row_id}})
            else:
                self.put(after)

        self.witness.watched("app", "app", row_id, write)


@contextmanager
def stage(writer: str, versioned: bool, table_url: str | None = None) -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="pooltable-proof-", dir=MEMORY))
    made = Stage(folder, writer, versioned, table_url)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _moved(world: World, table_url: str) -> Any:
    """Return a client of another DynamoDB, with the world's table and rows in it."""
    import boto3
    from botocore.config import Config as BotoConfig

    other = boto3.client(
        "dynamodb",
        region_name=world.facts.region,
        endpoint_url=table_url,
        aws_access_key_id="proof",
        aws_secret_access_key="proof",
        config=BotoConfig(proxies={}),
    )
    seeding.create_table(other, world.facts.table)
    for item in world.client("dynamodb").scan(TableName=world.facts.table)["Items"]:
        other.put_item(TableName=world.facts.table, Item=item)
    return other
