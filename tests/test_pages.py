"""Every page, run as Streamlit runs it from dashboard.py, on an embedded world."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.demo.world import World

ROOT = Path(__file__).parents[1]
PAGES = {
    "overview": "Sign-ups",
    "accounts": "Accounts",
    "failures": "Trigger failures",
    "repairs": "Repairs",
    "wiring": "Wiring",
}
PATIENCE_S = 120


def forget() -> None:
    # Streamlit's caches belong to the process: another test's environment must not be found in them.
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(scope="module")
def _read(world: World) -> None:
    connect("demo").refresh()


@pytest.fixture
def app(world: World, _read: None) -> Iterator[AppTest]:
    """The dashboard on a world that was read once."""
    forget()
    yield AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S)
    forget()


def on(app: AppTest, page: str, **parameters: str) -> AppTest:
    """Run a page of the dashboard with these query parameters."""
    app.run()
    app.switch_page(f"pages/{page}.py")
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def words(app: AppTest) -> str:
    """Everything that a page says in text, Markdown and captions."""
    kinds = ("title", "subheader", "markdown", "caption", "text", "warning", "error", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_runs_without_an_exception(app: AppTest, page: str) -> None:
    on(app, page)
    assert not app.exception
    assert [title.value for title in app.title] == [PAGES[page]]


@pytest.mark.parametrize("page", PAGES)
def test_no_page_shows_an_unmasked_email(app: AppTest, page: str) -> None:
    on(app, page)
    emails = {email.strip() for email in connect("demo").latest().accounts["email"].dropna() if "@" in email}
    cells = "\n".join(frame.value.astype(str).to_csv() for frame in app.dataframe)
    said = f"{words(app)}\n{cells}"
    assert not [email for email in emails if email in said]


@pytest.mark.parametrize("page", PAGES)
def test_at_most_one_button_of_a_page_is_primary(app: AppTest, page: str) -> None:
    on(app, page)
    assert len([button for button in app.button if button.proto.type == "primary"]) <= 1


def test_the_embedded_world_is_read_at_the_first_visit(home: Path) -> None:
    with World(accounts=40, home=home):
        forget()
        app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
        assert not app.exception
        assert connect("demo").latest().manifest["complete"]
        assert "just now" in words(app)
    forget()


def test_an_environment_never_read_says_so_and_offers_to_read_it(home: Path) -> None:
    Path("pooltable.toml").write_text(
        '[environments.prod]\nuser_pool_id = "eu-west-1_Ab1"\nendpoint_url = "http://127.0.0.1:9"\n'
    )
    forget()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    assert not app.exception
    assert "Nothing was read yet" in words(app)
    assert [button.label for button in app.button] == ["Refresh"]
    forget()


def test_a_wrong_configuration_is_one_sentence_with_what_to_do(home: Path) -> None:
    Path("pooltable.toml").write_text('[environments.prod]\nuser_pool = "eu-west-1_Ab1"\n')
    forget()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    assert not app.exception
    assert "Did you mean 'user_pool_id'?" in words(app)


def test_a_source_that_cannot_be_read_is_no_empty_list(home: Path) -> None:
    with World(accounts=40, home=home) as world:
        environment = connect("demo")
        environment.refresh()
        shutil.rmtree(environment.config.snapshots_path)
        world.client("dynamodb").delete_table(TableName=world.facts.table)
        environment.refresh()
        forget()
        app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
        assert not app.exception
        assert "nothing can be repaired" in words(app)
    forget()
