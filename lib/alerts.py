"""Says to people what `check` found: once per change of state, over whatever `apprise` knows a URL for."""

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lib.display import counted, safe
from lib.model import SITUATIONS, ConfigError, iso, now
from lib.output import write_private
from lib.snapshot import Snapshot
from lib.views.trends import FINDINGS_BY_WEIGHT, key_expiry, span

if TYPE_CHECKING:
    from apprise import Apprise

KEY_SOON = timedelta(days=2)
"""A key that expires so soon is news before it does any harm."""

_SEVERITY = {
    "ok": "success",
    "findings": "failure",
    "suspicious": "warning",
    "not_read": "failure",
    "stalled": "failure",
}


@dataclass(frozen=True)
class News:
    """What there is to say of one environment, and the state by which it is new or not.

    ``kinds`` are the situations, causes and dangers that there are, ``size`` the number of digits of their count.
    """

    environment: str
    status: str  # ok, findings, suspicious, not_read or stalled
    title: str
    body: str
    kinds: frozenset[str] = frozenset()
    size: int = 0

    def is_new(self, told: Mapping[str, Any] | None) -> bool:
        """Return whether it says more than what was told last: other than ok, another state, another kind, tenfold."""
        if told is None:
            return self.status != "ok" or bool(self.kinds)
        grown = self.size > told["size"] or not self.kinds <= set(told["kinds"])
        return bool(self.status != told["status"] or grown)

    def state(self, told: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what to remember once it was told, or was not worth telling."""
        # A count that wavers around a power of ten is told once.
        same = told is not None and told["status"] == self.status
        size = max(self.size, told["size"]) if told is not None and same else self.size
        return {"status": self.status, "kinds": sorted(self.kinds), "size": size}


@dataclass(frozen=True)
class Channel:
    """One place to tell: where it is, for messages, and a digest by which it is remembered. The URL is a secret."""

    name: str
    digest: str
    service: "Apprise"

    def tell(self, news: News, link: str | None) -> bool:
        """Return whether the news was taken."""
        body = "\n".join(filter(None, [news.body, link]))
        with _without_deprecations():
            taken = self.service.notify(
                body=body, title=news.title, notify_type=_SEVERITY[news.status], body_format="text"
            )
        return bool(taken)


def channels(urls: Sequence[str]) -> list[Channel]:
    """Return the places that URLs such as `slack://...` name; raise ``ConfigError`` for one that apprise cannot use."""
    found = []
    for position, url in enumerate(urls, 1):
        with _without_deprecations():
            from apprise import Apprise

            service = Apprise()
            usable = service.add(url)
        scheme = url.partition(":")[0] if re.match(r"[A-Za-z0-9+.-]+://", url) else "no scheme"
        if not usable:
            # The URL itself holds a password or token: its place and scheme must do.
            raise ConfigError(
                f"--notify number {position} ({safe(scheme)}) is no URL that apprise can notify. "
                "See https://github.com/caronc/apprise for their forms."
            )
        found.append(Channel(f"{position} ({safe(scheme)})", hashlib.sha256(url.encode()).hexdigest()[:16], service))
    return found


def of_verdict(
    judged: Mapping[str, Any],
    snapshot: Snapshot,
    last_complete: Snapshot | None,
    *,
    fail_on: Collection[str] = (),
    stale_after: timedelta,
) -> News:
    """Return the news of one refresh; ``judged`` is what ``verdict`` says of it."""
    if not judged["complete"]:
        return of_failure(judged["environment"], judged["worst"], last_complete, stale_after=stale_after)
    dangers = _dangers(snapshot)
    status = "ok" if judged["ok"] else "suspicious" if judged["suspicious"] else "findings"
    kinds = set(dangers)
    if status == "findings":
        kinds |= {name for name in judged["by_situation"] if not fail_on or name in fail_on} | set(judged["by_cause"])
    lines = [judged["worst"], *dangers.values(), _counts(judged), f"Snapshot {judged['snapshot']}."]
    return News(
        environment=judged["environment"],
        status=status,
        title=_title(judged["environment"], status, judged["counted"], dangers),
        body="\n".join(safe(line) for line in lines if line),
        kinds=frozenset(kinds),
        size=len(str(judged["counted"])) if status == "findings" else 0,
    )


def of_failure(environment: str, why: str, last_complete: Snapshot | None, *, stale_after: timedelta) -> News:
    """Return the news that nothing could be read to its end: stalled, where the last good read is too old by now."""
    since = _read_at(last_complete)
    stalled = since is not None and now() - since > stale_after
    status = "stalled" if stalled else "not_read"
    known = f"The last complete read is of {_at(since)}." if since else "No complete read is known."
    title = f"{environment}: stalled since {_at(since)}" if since and stalled else f"{environment}: not read"
    return News(environment, status, safe(title), "\n".join(map(safe, (why, known))))


def deliver(news: News, places: Sequence[Channel], home: Path, link: str | None = None) -> list[str]:
    """Tell every place that does not know yet; return a sentence for each that could not be told, or remembered.

    What failed is tried again next time.
    """
    file = home / "alerts" / f"{re.sub(r'^[.]', '%2E', quote(news.environment, safe=''))}.json"
    told, failed, states = _told(file), [], {}
    for place in places:
        before = told.get(place.digest)
        if not news.is_new(before) or place.tell(news, link):
            states[place.digest] = news.state(before) | {"at": iso(now())}
        else:
            failed.append(f"Notification {place.name} was not delivered. It is tried again at the next check.")
            states |= {place.digest: before} if before else {}
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, json.dumps(states, indent=1).encode())
    except (OSError, ConfigError) as error:
        failed.append(f"What was told cannot be remembered, so it will be told again: {error}")
    return failed


def _told(file: Path) -> dict[str, dict[str, Any]]:
    """Return what each place was told last; a file that is gone or broken means that nobody knows anything."""
    try:
        known = json.loads(file.read_bytes())
        return {digest: each for digest, each in known.items() if each.keys() >= {"status", "kinds", "size"}}
    except (OSError, ValueError, AttributeError):
        return {}


def _dangers(snapshot: Snapshot) -> dict[str, str]:
    expires_at = key_expiry(snapshot.wiring)
    if expires_at is None or expires_at - now() > KEY_SOON:
        return {}
    if expires_at <= now():
        return {"key_expired": f"The trigger's API key expired on {_at(expires_at)}: sign-ups lose their rows."}
    return {"key_expires": f"The trigger's API key expires in {span(expires_at - now())}, on {_at(expires_at)}."}


def _counts(judged: Mapping[str, Any]) -> str:
    found = judged["by_situation"]
    counts = ", ".join(f"{SITUATIONS[name]} {found[name]:,}" for name in FINDINGS_BY_WEIGHT if found.get(name))
    if not counts:
        return ""
    return f"{counts}. {counted(judged['counted'], 'finding')} count, {judged['limit']:,} allowed."


def _title(environment: str, status: str, count: int, dangers: Mapping[str, str]) -> str:
    said = {"suspicious": "the read looks wrong", "findings": counted(count, "finding")}.get(status)
    if said is None:
        said = "the API key needs attention" if dangers else "all right again"
    return safe(f"{environment}: {said}")


def _read_at(snapshot: Snapshot | None) -> datetime | None:
    return datetime.fromisoformat(snapshot.manifest["started_at"]) if snapshot else None


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


@contextmanager
def _without_deprecations() -> Iterator[None]:
    # apprise imports all that Python and its plugins ever had.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
