"""What `check` found in Prometheus' text format, for node_exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.model import now
from lib.snapshot import Snapshot
from lib.views.trends import FINDINGS_BY_WEIGHT, key_expiry
from lib.views.verdict import verdict

_SOURCES = ("accounts", "rows", "invocations")
_DAY_S = 86_400

Samples = Iterable[tuple[Mapping[str, str], float]]


@dataclass(frozen=True)
class _Metric:
    name: str
    help: str
    samples: Samples


def text(
    environment: str, snapshot: Snapshot | None, last_complete: Snapshot | None, at: datetime | None = None
) -> str:
    """Return the metrics after a check: ``snapshot`` is what it read, None where it could not even store that.

    Findings are those of the last complete snapshot, whose time tells how much they are still worth: alert on that.
    """
    metrics = _metrics(snapshot, last_complete, at or now())
    return "".join(line for metric in metrics for line in _lines(metric, environment))


def _metrics(snapshot: Snapshot | None, last: Snapshot | None, at: datetime) -> list[_Metric]:
    manifest: Mapping[str, Any] = (
        snapshot.manifest if snapshot else {"complete": False, "suspicious": False, "sources": {}}
    )
    found = [
        _gauge("check_timestamp_seconds", "When the last check ran.", at.timestamp()),
        _gauge("complete", "Whether the last check read every source to its end.", manifest["complete"]),
        _gauge("suspicious", "Whether what the last check read looks wrong.", manifest["suspicious"]),
        _Metric(
            "read_errors",
            "Sources that the last check could not read to their end.",
            [({"source": name}, _failed(manifest["sources"], name)) for name in _SOURCES],
        ),
    ]
    known = last or snapshot
    expires_at = key_expiry(known.wiring) if known else None
    if expires_at:
        left = (expires_at - at).total_seconds() / _DAY_S
        found.append(_gauge("api_key_days_left", "Days until the trigger's API key expires; negative: since.", left))
    return [*found, *(_of_complete(last, at) if last else ())]


def _of_complete(last: Snapshot, at: datetime) -> list[_Metric]:
    read_at, judged = datetime.fromisoformat(last.manifest["started_at"]), verdict(last)
    findings = [({"situation": name}, judged["by_situation"].get(name, 0)) for name in FINDINGS_BY_WEIGHT]
    age = (at - read_at).total_seconds()
    return [
        _gauge("snapshot_timestamp_seconds", "When the last complete snapshot was begun.", read_at.timestamp()),
        _gauge("snapshot_age_seconds", "How old the last complete snapshot was when the last check ended.", age),
        _gauge(
            "findings_counted", "Findings of the last complete snapshot that nobody has accepted.", judged["counted"]
        ),
        _Metric("findings", "Findings of the last complete snapshot by situation.", findings),
    ]


def _failed(sources: Mapping[str, Any], name: str) -> bool:
    return not (name in sources and sources[name]["complete"])


def _gauge(name: str, help: str, value: float) -> _Metric:
    return _Metric(name, help, [({}, value)])


def _lines(metric: _Metric, environment: str) -> Iterable[str]:
    yield f"# HELP pooltable_{metric.name} {metric.help}\n"
    yield f"# TYPE pooltable_{metric.name} gauge\n"
    for labels, value in metric.samples:
        shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in {"environment": environment, **labels}.items())
        yield f"pooltable_{metric.name}{{{shown}}} {float(value):.15g}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
