"""How `check` tells others: notifications, once per change of state, and a file of metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lib.display import safe
from lib.model import ConfigError, PooltableError
from lib.output import write_whole

if TYPE_CHECKING:
    from lib.alerts import Channel, News
    from lib.environment import Environment
    from lib.snapshot import Snapshot


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that ``Outlets.of`` takes."""
    for option in (
        click.option("--stale-after", type=click.FloatRange(min=0), default=24, show_default=True, metavar="HOURS",
                     help="A last complete read older than this is called stalled."),
        click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.prom",
                     help="Write metrics for node_exporter's textfile collector."),
        click.option("--link", metavar="URL", help="The dashboard's address, for notifications."),
        click.option("--notify", "urls", multiple=True, metavar="URL", envvar="POOLTABLE_NOTIFY",
                     help="Tell of a change of state, by any URL of apprise: slack://, mailto://, sns:// ..."),
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True)
class Outlets:
    """Where one check is told, besides its own output. Nothing here changes how the check exits."""

    environment: "Environment"
    places: "Sequence[Channel]"
    link: str | None
    metrics: Path | None
    stale_after: timedelta

    @classmethod
    def of(
        cls, environment: "Environment", urls: Sequence[str], link: str | None, metrics: Path | None, stale_after: float
    ) -> "Outlets":
        """Return the outlets that the options name; raise ``ConfigError`` for a URL that cannot be used."""
        from lib import alerts

        places = alerts.channels(urls) if urls else ()
        return cls(environment, places, link, metrics, timedelta(hours=stale_after))

    def tell(self, judged: Mapping[str, Any], snapshot: "Snapshot", fail_on: Sequence[str]) -> None:
        """Tell what a refresh showed."""
        from lib import alerts

        last = self._last_complete()
        self._deliver(alerts.of_verdict(judged, snapshot, last, fail_on=fail_on, stale_after=self.stale_after))
        self._measure(snapshot, last)

    def tell_failure(self, why: str) -> None:
        """Tell that there was not even a snapshot."""
        from lib import alerts

        last = self._last_complete()
        self._deliver(alerts.of_failure(self.environment.name, why, last, stale_after=self.stale_after))
        self._measure(None, last)

    def _deliver(self, news: "News") -> None:
        from lib import alerts

        if self.places:
            for sentence in alerts.deliver(news, self.places, self.environment.config.home, self.link):
                _warn(sentence)

    def _measure(self, snapshot: "Snapshot | None", last: "Snapshot | None") -> None:
        from lib import metrics

        if self.metrics:
            try:
                # node_exporter runs as somebody else.
                write_whole(self.metrics, metrics.text(self.environment.name, snapshot, last).encode())
            except ConfigError as error:
                _warn(str(error))

    def _last_complete(self) -> "Snapshot | None":
        try:
            stored = self.environment.store.newest_first()
            return next((each for each in stored if each.manifest["complete"]), None)
        except PooltableError as error:
            _warn(str(error))
            return None


def _warn(sentence: str) -> None:
    click.echo(f"Warning: {safe(sentence)}", err=True)
