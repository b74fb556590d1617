"""A running world as every process sees it: what `demo.json` tells, whether it is still so, and how to ask it."""

import dataclasses
import fcntl
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.config import Settings

CREDENTIALS = ("demo", "demo")
UNHURRIED = 1000  # there is no quota here that others share
# A smaller world is mostly made of its scenes, in which nothing matches: too few rows speak for a correlation.
_TELLING = 200


@dataclass(frozen=True)
class Facts:
    """Where a world is and what its parts are called: the content of `demo.json`."""

    endpoints: dict[str, str]
    pid: int
    seed: int
    accounts: int
    started_at: str
    region: str
    pool: str
    client_id: str
    table: str
    versioned: bool
    function: str
    log_group: str
    api_id: str
    graphql_url: str

    @property
    def url(self) -> str:
        """The one address behind all endpoints."""
        return self.endpoints["cognito-idp"]

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with everything filled in that leads to this world."""
        return dataclasses.replace(
            settings,
            user_pool_id=self.pool,
            region=self.region,
            endpoint_url=self.url,
            endpoint_urls={},
            table=self.table,
            graphql_url=self.graphql_url,
            api_id=self.api_id,
            log_groups=(self.log_group,),
            correlation=settings.correlation or self.correlation,
            credentials=CREDENTIALS,
            list_users_rps=UNHURRIED,
        )

    @property
    def correlation(self) -> str | None:
        """What a world must say of how its rows are matched, because it is too small to show it."""
        return "username" if self.accounts < _TELLING else None

    def config_toml(self) -> str:
        """Return a `pooltable.toml` for this world."""
        said = f'correlation = "{self.correlation}"\n' if self.correlation else ""
        return (
            "# The embedded AWS world. Its services take any credentials:\n"
            "#   export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo\n"
            "[environments.local]\n"
            f'user_pool_id = "{self.pool}"\n'
            f'endpoint_url = "{self.url}"\n'
            f'table = "{self.table}"\n'
            f'log_group = "{self.log_group}"\n'
            f'graphql_url = "{self.graphql_url}"\n'
            f'api_id = "{self.api_id}"\n'
            f"{said}"
            "log_days = 60\n"
            f"list_users_rps = {UNHURRIED}\n"
        )


def living(home: Path) -> Facts | None:
    """Return what `demo.json` says while its process lives; unlike ``find``, without asking the world."""
    facts = told(home)
    return facts if facts and _alive(facts.pid) else None


def find(home: Path) -> Facts | None:
    """Return the facts of a world that is alive and is the one that `demo.json` tells of."""
    facts = living(home)
    return facts if facts and _answers(facts) else None


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let one process at a time look for a world and start one."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "demo.lock").touch(mode=0o600)
    with (home / "demo.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def told(home: Path) -> Facts | None:
    """Return what `demo.json` says, whether it is still so or not."""
    try:
        return Facts(**json.loads((home / "demo.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def tell(home: Path, facts: Facts) -> None:
    """Write `demo.json`, at once and for this user only."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=home, prefix="demo.json.")  # mkstemp makes it 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(facts), file, indent=1)
    Path(name).replace(home / "demo.json")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _answers(facts: Facts) -> bool:
    """Return whether that very world answers there; another process may have been given its port since."""
    try:
        return bool(ask(facts.url, "facts") == dataclasses.asdict(facts))
    except (OSError, ValueError):
        return False


def ask(url: str, what: str, body: dict[str, Any] | None = None) -> Any:
    """Return what the world answers to one of its own questions: `facts`, `truth` or `sign-up`."""
    request = urllib.request.Request(  # noqa: S310 - the address of our own server
        f"{url}/_demo/{what}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    # No proxy may come between: the world is on this machine only.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)
