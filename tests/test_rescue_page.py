"""The card of the key rescue, as the Wiring page shows it before and after."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import PATIENCE_S, forget, words

from lib import connect
from lib.demo.world import World
from lib.views.key_gap import key_gap

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    forget()
    yield
    forget()


def wiring_page() -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S)
    app.query_params["env"] = "demo"
    app.run().switch_page("pages/wiring.py").run()
    assert not app.exception
    return app


def labels(app: AppTest) -> dict[str, AppTest]:
    return {button.label: button for button in app.button}


def test_an_expired_key_is_offered_its_rescue_and_then_the_rows_that_it_cost(world: World) -> None:
    env = connect("demo")
    gap = key_gap(env.refresh())
    assert gap is not None
    count = len(gap.accounts)

    app = wiring_page()
    assert labels(app)["Extend the key…"].proto.type == "primary"
    assert f"{count} accounts without a row, lost since" in words(app)
    assert "Extend the key first" in words(app)
    assert world.keys["expired"] not in words(app)

    env.rescue(30, why="test")
    env.refresh()
    forget()
    app = wiring_page()
    assert "Extend the key…" not in labels(app)
    assert labels(app)[f"Create {count} rows…"].proto.type == "primary"
    assert "Extend the key first" not in words(app)

    env.apply(env.gap_plan(), why="backfill")
    forget()
    app = wiring_page()
    assert not [label for label in labels(app) if label.startswith("Create")]


def test_where_it_is_read_only_the_rescue_says_why_it_may_not(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.keys["expired"]
    world.api.keys[key] = type(world.api.keys[key])(key, world.history.key_expires_at)
    (tmp_path / "pooltable.toml").write_text("[environments.demo]\nread_only = true\n")
    monkeypatch.setenv("POOLTABLE_CONFIG", str(tmp_path / "pooltable.toml"))
    connect("demo").refresh()
    button = labels(wiring_page())["Extend the key…"]
    assert button.disabled
    assert "read_only = true" in button.help
