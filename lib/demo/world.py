"""The embedded AWS world: starts it, finds a running one, tells how to reach it.

moto's services and the AppSync stand-in answer on one port of 127.0.0.1, in this process. A running world is known
through `demo.json` in Pooltable's home, so that every process that opens the demo sees the same one.
"""

import atexit
import os
import signal
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.config import DEMO, SERVICES, Settings
from lib.demo.running import CREDENTIALS, Facts, alone, find, tell, told
from lib.model import ConfigError, iso, now

if TYPE_CHECKING:
    import pandas as pd

    from lib.demo.appsync import AppSync
    from lib.demo.history import History

SEED = 7
ACCOUNTS = 3000
API = "API_POOLTABLE_GRAPHQLAPI"
"""How the names of the trigger's variables about the API begin, as Amplify makes them of the API's name."""


class World:
    """A world in this process. ``home`` is where `demo.json` tells others of it; None keeps it to itself.

    ``at`` is the moment at which its history ends, by default the present.
    """

    def __init__(
        self,
        *,
        seed: int = SEED,
        accounts: int = ACCOUNTS,
        port: int = 0,
        versioned: bool = True,
        at: datetime | None = None,
        home: Path | None = None,
    ) -> None:
        self.history = _history(seed, accounts, at or now(), versioned)
        self._home = home
        self._start(seed, accounts, port)

    facts: Facts
    api: "AppSync"
    keys: dict[str, str]
    """The API keys by name: `expired` is the one in the trigger's environment, `renewed` never got there."""

    def truth(self, at: datetime | None = None) -> "pd.DataFrame":
        """Return what a refresh that starts at ``at`` (default: when the world began) must find; see ``History``."""
        return self.history.truth(at)

    def client(self, service: str) -> Any:
        """Return a plain boto3 client of one of its services."""
        return self._server.client(service, CREDENTIALS)

    def config_toml(self) -> str:
        """Return a `pooltable.toml` for this world."""
        return self.facts.config_toml()

    def settings(self) -> Settings:
        """Return the settings of the environment `demo`, leading to this world."""
        return self.facts.settings(Settings(DEMO, user_pool_id="", region="", log_days=60))

    def stop(self) -> None:
        """Stop serving and take the world's traces away."""
        from lib.demo.seeding import forget

        self._server.stop()
        forget(self.facts.region, self.facts.pool, self.facts.table, self.facts.log_group)
        if self._home and told(self._home) == self.facts:
            (self._home / "demo.json").unlink(missing_ok=True)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, seed: int, accounts: int, port: int) -> None:
        from lib.demo import seeding
        from lib.demo.appsync import AppSync
        from lib.demo.history import Place
        from lib.demo.server import Server

        region = seeding.REGION
        api_id = seeding.random_id(26, "abcdefghijklmnopqrstuvwxyz234567")
        table, function = f"User-{api_id}-dev", f"amplifyauth{seeding.random_id(16, '0123456789')}PreSignup-dev"
        self._server = server = Server(region, port)
        dynamodb = self.client("dynamodb")
        seeding.create_table(dynamodb, table)
        self.api = AppSync(
            table=table,
            dynamodb_client=dynamodb,
            api_id=api_id,
            region=region,
            versioned=self.history.versioned,
        )
        self.api.url = f"{server.url}/graphql"
        self.keys = {
            "expired": self.api.add_key(self.history.key_expires_at).key,
            # Somebody renewed the key for the app, and forgot the function.
            "renewed": self.api.add_key(self.history.key_expires_at + timedelta(days=365)).key,
        }
        arn = seeding.create_function(
            self.client("iam"), self.client("lambda"), function, self.trigger_environment(region, self.keys["expired"])
        )
        pool = seeding.create_pool(region, arn)
        seeding.let_cognito_invoke(self.client("lambda"), function, pool.arn)
        seeding.count_runs(self.history, region, function)
        client_id = seeding.random_id(26, "abcdefghijklmnopqrstuvwxyz0123456789")
        self.facts = Facts(
            endpoints=dict.fromkeys(SERVICES, server.url),
            pid=os.getpid(),
            seed=seed,
            accounts=accounts,
            started_at=iso(self.history.now),
            region=region,
            pool=pool.id,
            client_id=client_id,
            table=table,
            versioned=self.history.versioned,
            function=function,
            log_group=f"/aws/lambda/{function}",
            api_id=api_id,
            graphql_url=self.api.url,
        )
        seeding.create_log_group(self.client("logs"), region, self.facts.log_group, self.history.logs_from)
        seeding.seed(self.history, Place(region, pool.id, client_id), table, self.facts.log_group)
        server.open(self)
        if self._home:
            tell(self._home, self.facts)

    def trigger_environment(self, region: str, key: str, url: str | None = None) -> dict[str, str]:
        """Return the trigger's variables as Amplify sets them."""
        return {
            f"{API}IDOUTPUT": self.api.api_id,
            f"{API}ENDPOINTOUTPUT": url or self.api.url,
            f"{API}KEYOUTPUT": key,
            "ENV": "dev",
            "REGION": region,
        }


def _history(seed: int, accounts: int, at: datetime, versioned: bool) -> "History":
    from lib.demo import history

    return history.make(seed, accounts, at, versioned=versioned)


def attach(home: Path, *, seed: int = SEED, accounts: int = ACCOUNTS) -> Facts:
    """Return the facts of the running world, or of one that is started for as long as this process lives.

    ``seed`` and ``accounts`` matter only where none is running.
    """
    with alone(home):
        running = find(home)
        if running:
            return running
        world = World(seed=seed, accounts=accounts, home=home)
    atexit.register(world.stop)
    _say(f"No demo world was running: started one at {world.facts.url} for as long as this command lives.")
    return world.facts


def resolved(settings: Settings, home: Path) -> Settings:
    """Return the settings, those of the demo with the running world's facts filled in."""
    return attach(home).settings(settings) if settings.name == DEMO else settings


def serve(home: Path, *, port: int = 0, accounts: int = ACCOUNTS, seed: int = SEED) -> None:
    """Run a world until Ctrl-C or SIGTERM, and print the configuration for it.

    Raises ``ConfigError`` where one runs already.
    """
    ended = threading.Event()
    with alone(home):
        running = find(home)
        if running:
            raise ConfigError(
                f"A demo world runs already: {running.url}, process {running.pid}. Stop it, or set POOLTABLE_HOME."
            )
        world = World(seed=seed, accounts=accounts, port=port, home=home)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with world:
        sys.stdout.write(world.config_toml())
        sys.stdout.flush()
        _say(f"The demo world runs at {world.facts.url}, process {world.facts.pid}. Ctrl-C ends it.")
        ended.wait()


def _say(sentence: str) -> None:
    sys.stderr.write(f"pooltable: {sentence}\n")
