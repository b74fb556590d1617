"""An environment with the chain behind its pool: whether each link answers, what may be done there, the key."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from lib import matching, rescue
from lib.aws import discovery, writers
from lib.aws.checks import Seen
from lib.aws.discovery import Chain, Check
from lib.aws.policy import Policy, policy
from lib.aws.write_right import WriteRight, write_right
from lib.config import Config, Settings
from lib.environment.opened import Opened, operator
from lib.model import ConfigError, NoSnapshot, Refused, Wiring, now
from lib.views.link_facts import link_facts

_RIGHT_LASTS = timedelta(minutes=10)


def contract(wiring: Wiring, checks: Sequence[Check]) -> dict[str, Any]:
    """Return a chain and its checks as the contract's ``wiring --json`` object."""
    return {
        "pool": wiring.pool,
        "triggers": list(wiring.triggers),
        "function": next(iter(wiring.functions), None),
        "api": wiring.graphql_url,
        "table": wiring.table,
        "log_group": next(iter(wiring.log_groups), None),
        "correlation": wiring.correlation,
        "checks": [asdict(check) for check in checks],
    }


class Wired(Opened):
    """An opened environment that can ask AWS about its chain."""

    def __init__(self, config: Config, settings: Settings) -> None:
        super().__init__(config, settings)
        self._asking = threading.Lock()
        self._right: tuple[datetime, WriteRight] | None = None

    def wiring(self) -> tuple[Wiring, list[Check]]:
        """Return the chain behind the pool as it is now, and whether each link answers."""
        chain, checks = self.links()
        return chain.wiring, checks

    def links(self) -> tuple[Chain, list[Check]]:
        """Return the chain as it is now with the facts of every link, and whether each answers.

        What was learnt of the correlation is the latest snapshot's.
        """
        chain = discovery.chain(self.aws)
        chain = replace(chain, wiring=matching.remembered(chain.wiring, self.settings, self.store))
        return chain, discovery.probe(self.aws, chain.wiring, self._seen(), chain.known())

    def policy(self, wiring: Wiring | None = None, *, repair: bool = False) -> Policy:
        """Return the least-privilege IAM policy for the chain as it is discovered, or for one already known."""
        return policy(wiring or discovery.discover(self.aws), repair=repair, writer=self.settings.writer)

    def write_right(self) -> WriteRight:
        """Return whether this role may write rows, asked once in ten minutes, without writing any.

        ``may`` is None where it cannot be told: the repair itself will tell.
        """
        reason = self.read_only()
        if reason:
            return WriteRight(False, "", reason)
        with self._asking:
            if self._right is None or now() - self._right[0] > _RIGHT_LASTS:
                self._right = now(), self._asked_right()
            return self._right[1]

    def rescue_plan(self, days: int = 30) -> rescue.Plan:
        """Return what extending the key in the trigger's environment would do, once a broken-off rescue is told.

        Raises ``Refused`` where no key needs it, or it is not clear which.
        """
        if not self.settings.read_only:
            rescue.settle(self.aws, self.journal, self.name, who=operator())
        return rescue.plan(self.aws, discovery.discover(self.aws), days)

    def rescue(self, days: int = 30, *, why: str | None = None, who: str | None = None) -> rescue.Rescued:
        """Let the key in the trigger's environment live for so many days from now; raise ``Refused`` as its plan does.

        The accounts lost until then keep their cause, ``api_key_expired``: a plan of that cause backfills them.
        """
        reason = self.read_only()
        if reason:
            raise Refused(reason)
        self.aws.on_loopback()
        return rescue.apply(self.rescue_plan(days), self.aws, self.journal, who=who or operator(), why=why)

    def _seen(self) -> Seen:
        try:
            return link_facts(self.latest())
        except NoSnapshot:
            return Seen()

    def _asked_right(self) -> WriteRight:
        try:
            wiring = self.latest().wiring
        except NoSnapshot:
            wiring = discovery.discover(self.aws)
        try:
            self.aws.on_loopback(*filter(None, [wiring.graphql_url]))
        except ConfigError as error:
            return WriteRight(False, "", str(error))
        return write_right(self.aws, wiring, self._writer(wiring))

    def _world(self) -> writers.World:
        wiring = discovery.discover(self.aws)
        # Raises where one service is this machine and another is AWS: that would repair one world by another's facts.
        self.aws.on_loopback(*filter(None, [wiring.graphql_url]))
        return writers.world(self.aws, wiring, self._writer(wiring))

    def _writer(self, wiring: Wiring) -> str:
        return self.settings.writer or ("appsync" if wiring.graphql_url else "dynamodb")
