"""Overview as a link opens it, and without the trigger's log."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from trends_kit import NOW, account, row, run, snapshot

from lib import connect
from lib.demo.world import World
from lib.snapshot import Snapshot
from lib.snapshot.folders import TABLES
from lib.views import trends

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    # Streamlit's caches belong to the process: another test's environment must not be found in them.
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


def opened(page: str, **parameters: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=120).run()
    app.switch_page(f"pages/{page}.py")
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def test_a_bar_in_the_link_lists_its_sign_ups_and_one_that_is_none_the_latest_losses(world: World) -> None:
    snapshot = connect("demo").refresh()
    counted = trends.sign_ups(snapshot, trends.period(snapshot))
    totals = counted[list(trends.OUTCOMES)].sum(axis=1)
    busiest = totals.idxmax()
    app = opened("overview", bar=f"{counted['at'][busiest]:%Y-%m-%d}")
    assert f"Sign-ups of {counted['at'][busiest]:%-d %b}" in [heading.value for heading in app.subheader]
    assert len(app.dataframe[0].value) == totals[busiest]
    for wrong in ("yesterday", "1999-01-01", "<script>"):
        app = opened("overview", bar=wrong)
        assert "Latest sign-ups without a row" in [heading.value for heading in app.subheader]
        assert any("bar that is not in this period" in caption.value for caption in app.caption)


def test_without_the_log_failures_says_so_and_overview_knows_no_silent_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "demo")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "demo")
    with World(accounts=40, home=home) as world:
        nobody = 'endpoint_urls = { logs = "http://127.0.0.1:9" }'
        Path("pooltable.toml").write_text(f"{world.config_toml()}\n{nobody}\n")
        connect("local").refresh()
        app = opened("failures")
        assert "The trigger's log was not read" in [heading.value for heading in app.subheader]
        assert not app.dataframe
        app = opened("overview")
        assert {metric.label: metric.value for metric in app.metric}["Silent failures"] == "—"


def stored(world: Snapshot) -> None:
    """Store tables made by hand as the latest snapshot of an environment that nobody can read."""
    url = "http://127.0.0.1:9"
    Path("pooltable.toml").write_text(
        f'[environments.kit]\nuser_pool_id = "eu-west-1_Test"\nendpoint_url = "{url}"\n[snapshots]\npath = "kit"\n'
    )
    connect("kit").store.add({name: world.table(name) for name in TABLES}, world.manifest)


def test_rows_that_a_password_reset_overwrote_are_counted_and_lead_to_their_accounts(home: Path) -> None:
    at, day = NOW - timedelta(days=3), timedelta(days=1)
    reset = run("r2", "ann", at + day, trigger_source="PostConfirmation_ConfirmForgotPassword")
    stored(snapshot([account("ann", at)], [row("ann", at + day)], [run("r1", "ann", at), reset]))
    app = opened("overview")
    app.button(key="overview_overwritten").click().run()
    assert app.button(key="overview_overwritten").label == "1 row overwritten by a password reset"
    assert "Rows overwritten by a password reset" in [heading.value for heading in app.subheader]
    (listed,) = app.dataframe
    assert list(listed.value["Open"]) == ["/accounts?account=sub-ann"]
    assert "Row overwritten at the password reset of" in listed.value["Why"].iloc[0]
    assert not opened("overview", list="overwritten").exception


def test_a_quiet_night_raises_no_alarm_and_three_lost_in_a_row_name_the_first(home: Path) -> None:
    at = NOW - timedelta(days=9)
    stored(snapshot([account("ann", at)], [row("ann", at)], [run("r1", "ann", at)]))
    assert not [caption.value for caption in opened("overview").caption if "No row" in caption.value]
    st.cache_resource.clear()
    names = [f"lost{number}" for number in range(3)]
    times = [at + timedelta(hours=number + 1) for number in range(3)]
    accounts = [account(name, when) for name, when in zip(names, times, strict=True)]
    runs = [run(f"r-{name}", name, when) for name, when in zip(names, times, strict=True)]
    stored(snapshot([account("ann", at), *accounts], [row("ann", at)], runs))
    app = opened("overview")
    (said,) = [caption.value for caption in app.caption if "No row since" in caption.value]
    assert f"{times[0]:%-d %b %H:%M}" in said
    assert "3 sign-ups in a row" in said
    links = [link.proto for link in app.get("page_link") if link.proto.label == "First account lost"]
    assert [link.query_string for link in links] == ["account=sub-lost0"]
