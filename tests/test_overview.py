"""Overview as a link opens it, and without the trigger's log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.demo.world import World
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
