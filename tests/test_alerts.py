"""What `check` tells others: notifications at a local receiver, and metrics as Prometheus reads them."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lib import alerts, connect, metrics
from lib.alerts import News
from lib.cli import main
from lib.demo.world import World
from lib.model import SITUATIONS, ConfigError, iso, now
from lib.snapshot import Snapshot
from lib.views.verdict import verdict

DAY = timedelta(days=1)
SAMPLE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (-?[0-9.e+-]+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\[\\"n])*)"')


@dataclass
class Receiver:
    """Takes what apprise's `json://` posts; ``status`` is what it answers."""

    url: str
    status: int = 200
    told: list[dict[str, Any]] = field(default_factory=list)

    def titles(self) -> list[str]:
        return [each["title"] for each in self.told]


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if receiver.status == 200:
                receiver.told.append(content)
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"json://somebody:s3cret@127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with receiving() as found:
        yield found


def news(status: str = "findings", kinds: str = "drift", count: int = 3, environment: str = "prod") -> News:
    size = len(str(count)) if status == "findings" else 0
    return News(environment, status, f"{environment}: {status}", "what happened", frozenset(kinds.split()), size)


def told(receiver: Receiver, home: Path, *each: News, url: str = "") -> list[str]:
    """Tell one after the other, each by a check of its own; return what could not be told."""
    return [sentence for one in each for sentence in alerts.deliver(one, alerts.channels([url or receiver.url]), home)]


OK = news("ok", "", 0)


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ([OK, OK], []),
        ([news(), news()], ["findings"]),
        ([OK, news(), news(), OK, OK], ["findings", "ok"]),
        ([news(), news(kinds="drift orphaned_account")], ["findings", "findings"]),
        ([news(kinds="drift orphaned_account"), news(), news(kinds="drift orphaned_account")], ["findings"] * 2),
        ([news(count=3), news(count=9), news(count=10), news(count=9), news(count=10)], ["findings", "findings"]),
        ([news(), news("not_read", ""), news("stalled", ""), news()], ["findings", "not_read", "stalled", "findings"]),
        ([OK, replace(OK, kinds=frozenset({"key_expires"})), OK], ["ok"]),
        ([news(), replace(news(), environment="dev", title="dev: findings")], ["findings", "findings"]),
    ],
)
def test_a_change_of_state_is_told_once(receiver, tmp_path, course, expected):
    assert told(receiver, tmp_path, *course) == []
    assert [title.partition(": ")[2] for title in receiver.titles()] == expected


@given(st.lists(st.builds(news, st.sampled_from(["ok", "findings", "not_read"]), count=st.integers(0, 2000))))
def test_the_same_news_twice_is_never_told_twice(course):
    known = None
    for each in course:
        known = each.state(known)
        assert not each.is_new(known)


def test_what_failed_is_said_and_told_next_time(receiver, tmp_path):
    receiver.status = 500
    failed = told(receiver, tmp_path, news())
    assert len(failed) == 1
    assert "not delivered" in failed[0]
    assert "s3cret" not in failed[0]
    receiver.status = 200
    assert told(receiver, tmp_path, news(), news()) == []
    assert receiver.titles() == ["prod: findings"]


def test_of_two_places_only_the_one_that_failed_is_told_again(receiver, tmp_path):
    with receiving() as other:
        other.status = 503
        places = alerts.channels([receiver.url, other.url])
        assert len(alerts.deliver(news(), places, tmp_path)) == 1
        other.status = 200
        assert alerts.deliver(news(), places, tmp_path) == []
        assert (len(receiver.told), len(other.told)) == (1, 1)


def test_what_is_remembered_is_private_and_holds_no_url(receiver, tmp_path):
    told(receiver, tmp_path, replace(news(), environment="../prod"))
    (file,) = (tmp_path / "alerts").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert "s3cret" not in file.read_text()
    assert "127.0.0.1" not in file.read_text()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"status": "ok"}}'])
def test_a_broken_memory_repeats_an_alert_rather_than_losing_one(receiver, tmp_path, content):
    told(receiver, tmp_path, news())
    (tmp_path / "alerts" / "prod.json").write_text(content)
    assert told(receiver, tmp_path, news()) == []
    assert len(receiver.told) == 2


def test_a_memory_that_cannot_be_written_is_said(receiver, tmp_path):
    (tmp_path / "alerts").write_text("in the way")
    assert "cannot be remembered" in told(receiver, tmp_path, news())[0]
    assert len(receiver.told) == 1


@pytest.mark.parametrize("url", ["nonsense://token-s3cret@host", "s3cret", "", "json://"])
def test_a_url_that_cannot_notify_is_refused_by_its_place_without_showing_it(url):
    with pytest.raises(ConfigError, match="number 2") as refused:
        alerts.channels(["json://127.0.0.1:9/", url])
    assert "s3cret" not in str(refused.value)


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Iterator[Snapshot]:
    """The latest snapshot of a world smaller than the usual one: here its length is not the point."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch, World(accounts=80, home=folder / "state"):
        patch.setenv("POOLTABLE_HOME", str(folder / "state"))
        patch.chdir(folder)
        snapshot = connect("demo").refresh()
        assert snapshot.manifest["complete"], snapshot.manifest["reasons"]
        yield snapshot


def of(snapshot: Snapshot, **changed: Any) -> Snapshot:
    return Snapshot(snapshot.stamp, {**snapshot.manifest, **changed}, snapshot.table)


def newsworthy(snapshot: Snapshot, last: Snapshot | None = None, **options: Any) -> News:
    judged = verdict(snapshot, **options)
    return alerts.of_verdict(judged, snapshot, last, fail_on=options.get("fail_on", ()), stale_after=DAY)


def test_the_news_has_the_worst_first_the_counts_and_the_key_and_no_e_mail(read):
    found, judged = newsworthy(read), verdict(read)
    lines = found.body.splitlines()
    assert lines[0] == judged["worst"]
    assert f"Orphaned account {judged['by_situation']['orphaned_account']}" in found.body
    assert f"{judged['counted']} findings count, 0 allowed" in found.body
    assert "API key expired" in found.body
    assert found.title == f"demo: {judged['counted']} findings"
    assert {"orphaned_account", "api_key_expired", "key_expired"} <= found.kinds
    assert "@" not in found.title + found.body


def test_only_what_counts_is_news(read):
    assert "orphaned_account" not in newsworthy(read, fail_on=["drift"]).kinds
    assert newsworthy(read, limit=10_000).status == "ok"


def test_an_incomplete_read_is_told_with_its_reason_and_is_stalled_once_the_last_good_one_is_old(read):
    sources = read.manifest["sources"]
    why = {"complete": False, "why_not": "Cannot list the accounts for anna@mail.test."}
    broken = of(read, complete=False, sources={**sources, "accounts": {**sources["accounts"], **why}})
    fresh = newsworthy(broken, read)
    assert (fresh.status, fresh.title) == ("not_read", "demo: not read")
    assert "Cannot list the accounts" in fresh.body
    assert "anna@" not in fresh.body
    long_ago = of(read, started_at=iso(now() - DAY - timedelta(minutes=1)))
    stalled = newsworthy(broken, long_ago)
    assert stalled.status == "stalled"
    assert stalled.title == f"demo: stalled since {now() - DAY - timedelta(minutes=1):%Y-%m-%d %H:%M} UTC"
    assert newsworthy(broken, None).status == "not_read"


def test_a_suspicious_read_is_told_as_such(read):
    found = newsworthy(of(read, suspicious=True, reasons=["Half of the rows are gone."]))
    assert (found.status, found.title) == ("suspicious", "demo: the read looks wrong")
    assert "Half of the rows are gone." in found.body


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments)])


def test_check_tells_once_with_the_link_and_exits_as_ever(read, receiver, monkeypatch):
    shown = check("--json", "--notify", receiver.url, "--link", "https://pooltable.example.net/")
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["findings"] > 0
    assert receiver.told[0]["message"].endswith("\nhttps://pooltable.example.net/")
    assert receiver.told[0]["type"] == "failure"
    receiver.status = 500
    monkeypatch.setenv("POOLTABLE_NOTIFY", receiver.url)
    failed = check("--max", "5000")
    assert failed.exit_code == 0
    assert "not delivered" in failed.stderr
    assert len(receiver.told) == 1


def test_check_tells_when_nothing_can_be_read(home, tmp_path, receiver):
    (tmp_path / "pooltable.toml").write_text(
        '[environments.prod]\nuser_pool_id = "eu-west-1_abc"\nendpoint_url = "http://127.0.0.1:9"\ntable = "User"\n'
    )
    shown = check("--notify", receiver.url, "--metrics", tmp_path / "prod.prom")
    assert shown.exit_code == 3
    assert receiver.titles() == ["prod: not read"]
    samples = parsed((tmp_path / "prod.prom").read_text())
    assert samples["pooltable_complete", ("prod",)] == 0
    assert samples["pooltable_read_errors", ("prod", "accounts")] == 1
    assert ("pooltable_snapshot_timestamp_seconds", ("prod",)) not in samples


def test_check_tells_when_a_snapshot_cannot_even_be_stored(home, tmp_path, receiver):
    (tmp_path / "in the way").write_text("")
    (tmp_path / "pooltable.toml").write_text(
        '[environments.prod]\nuser_pool_id = "eu-west-1_abc"\nendpoint_url = "http://127.0.0.1:9"\ntable = "User"\n'
        '[snapshots]\npath = "in the way/snapshots"\n'
    )
    shown = check("--notify", receiver.url, "--metrics", tmp_path / "prod.prom")
    assert shown.exit_code != 0
    assert receiver.titles() == ["prod: not read"]
    assert parsed((tmp_path / "prod.prom").read_text())["pooltable_complete", ("prod",)] == 0


def test_a_wrong_url_stops_the_check_before_it_reads(read):
    shown = check("--notify", "nonsense://x")
    assert shown.exit_code == 2
    assert shown.stdout == ""


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples of a text in Prometheus' format; each metric must have HELP and TYPE first, once."""
    samples, described = {}, []
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            described.append(tuple(line.split(" ", 3)[1:3]))
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert described[-2:] == [("HELP", name), ("TYPE", name)]
        key = (
            name,
            tuple(re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text) for _, text in LABEL.findall(labels)),
        )
        assert key not in samples
        samples[key] = float(value)
    assert len(set(described)) == len(described)
    return samples


def test_metrics_have_the_findings_the_age_and_the_key(read):
    at = now() + timedelta(hours=2)
    samples = parsed(metrics.text("demo", read, read, at))
    judged = verdict(read)
    for situation in set(SITUATIONS) - {"in_sync", "in_flight", "out_of_scope"}:
        assert samples["pooltable_findings", ("demo", situation)] == judged["by_situation"].get(situation, 0)
    assert samples["pooltable_findings_counted", ("demo",)] == judged["counted"]
    assert samples["pooltable_complete", ("demo",)] == 1
    assert samples["pooltable_suspicious", ("demo",)] == 0
    assert samples["pooltable_api_key_days_left", ("demo",)] < 0
    started = samples["pooltable_snapshot_timestamp_seconds", ("demo",)]
    assert samples["pooltable_snapshot_age_seconds", ("demo",)] == pytest.approx(at.timestamp() - started, abs=0.01)
    assert samples["pooltable_snapshot_age_seconds", ("demo",)] >= 7200
    assert {name for name, _ in samples} >= {"pooltable_read_errors", "pooltable_check_timestamp_seconds"}


def test_after_a_read_that_broke_off_the_findings_are_the_last_complete_ones(read):
    broken = of(read, complete=False, sources={}, suspicious=True)
    samples = parsed(metrics.text("demo", broken, read))
    assert samples["pooltable_complete", ("demo",)] == 0
    assert samples["pooltable_suspicious", ("demo",)] == 1
    assert samples["pooltable_read_errors", ("demo", "rows")] == 1
    assert samples["pooltable_findings_counted", ("demo",)] > 0


@given(st.text())
def test_whatever_an_environment_is_called_its_label_reads_back(name):
    assert ("pooltable_complete", (name.replace("\r", "\n"),)) in {
        (metric, tuple(label.replace("\r", "\n") for label in labels))
        for metric, labels in parsed_lines(metrics.text(name, None, None))
    }


def parsed_lines(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in text.split("\n"):
        match = SAMPLE.fullmatch(line)
        if match:
            labels = LABEL.findall(match[2])
            yield match[1], tuple(re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text) for _, text in labels)


def test_the_file_of_metrics_is_for_everybody_whole_and_alone(read, tmp_path):
    file = tmp_path / "pooltable_demo.prom"
    file.write_text("old")
    assert check("--metrics", file).exit_code == 1
    assert parsed(file.read_text())
    assert file.stat().st_mode & 0o044 == 0o044
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    shown = check("--metrics", tmp_path / "nowhere" / "x.prom")
    assert shown.exit_code == 1
    assert "Cannot write" in shown.stderr
