"""Every page, run as Streamlit runs it from dashboard.py, on an embedded world."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from browser_kit import until
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.demo.world import World
from lib.model import AwsError, Progress
from lib.ui import reading

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
def read_once(world: World) -> World:
    """A world of 300 accounts of which there is a snapshot."""
    connect("demo").refresh()
    return world


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, read_once: World) -> Iterator[AppTest]:
    """One page after the other, run once on a world that was read."""
    forget()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    app.switch_page(f"pages/{request.param}.py").run()
    app.session_state["tested_page"] = request.param
    yield app
    forget()


def words(app: AppTest) -> str:
    """Everything that a page says in text, Markdown and captions."""
    kinds = ("title", "subheader", "markdown", "caption", "text", "warning", "error", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def test_every_page_runs_without_an_exception(page: AppTest) -> None:
    assert not page.exception
    assert [title.value for title in page.title] == [PAGES[page.session_state["tested_page"]]]


def test_no_page_shows_an_unmasked_email(page: AppTest) -> None:
    emails = {email.strip() for email in connect("demo").latest().accounts["email"].dropna() if "@" in email}
    cells = "\n".join(frame.value.astype(str).to_csv() for frame in page.dataframe)
    said = f"{words(page)}\n{cells}"
    assert not [email for email in emails if email in said]


def test_at_most_one_button_of_a_page_is_primary(page: AppTest) -> None:
    assert len([button for button in page.button if button.proto.type == "primary"]) <= 1


def test_the_embedded_world_is_read_at_the_first_visit(home: Path) -> None:
    with World(accounts=40, home=home):
        forget()
        app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
        assert not app.exception
        assert "Reading" in words(app)
        until(lambda: connect("demo").store.history(), "the first read is stored")
        until(lambda: "just now" in words(app.run()), "the page shows it")
        assert connect("demo").latest().manifest["complete"]
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


def shown_world() -> None:
    import streamlit as st

    from lib.ui import frame

    st.text(frame.environment().settings.endpoint_url)


def test_the_pages_follow_the_embedded_world_to_its_successor(home: Path) -> None:
    forget()
    app = AppTest.from_function(shown_world, default_timeout=PATIENCE_S)
    for _ in range(2):
        with World(accounts=40, home=home) as world:
            assert [text.value for text in app.run().text] == [world.facts.url]
            assert not app.exception
    forget()


@dataclass
class Slow:
    """An environment whose refresh ends when it is told to, the second one badly."""

    name: str = "slow"
    asked: int = 0
    may_end: threading.Event = field(default_factory=threading.Event)

    def refresh(self, progress: Progress) -> None:
        self.asked += 1
        progress("accounts", 1200)
        assert self.may_end.wait(PATIENCE_S)
        if self.asked > 1:
            raise AwsError("The pool does not answer.", action="cognito-idp:ListUsers")


def test_two_people_who_refresh_share_one_read_and_hear_of_its_failure() -> None:
    forget()
    environment: Any = Slow()
    first = reading.start(environment)
    until(lambda: first.words == "Reading 1,200 records", "it tells how far it is")
    assert reading.start(environment) is first
    environment.may_end.set()
    until(lambda: first.ended, "the first one ends")
    assert first.error is None
    second = reading.start(environment)
    until(lambda: second.ended, "the second one ends")
    assert (environment.asked, second.error) == (2, "The pool does not answer.")
    assert reading.current(environment) is second
    forget()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"situation": "nonsense"}, "There is no situation 'nonsense'"),
        ({"situation": "drift", "cause": "bad luck"}, "There is no cause 'bad luck'"),
        ({"account": "nope"}, "Not in this snapshot"),
    ],
)
def test_a_link_that_names_nothing_says_so(read_once: World, parameters: dict[str, str], said: str) -> None:
    forget()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    for name, value in parameters.items():
        app.query_params[name] = value
    app.switch_page("pages/accounts.py").run()
    assert not app.exception
    assert said in words(app)
    forget()


@pytest.mark.parametrize(
    ("situation", "label"),
    [("orphaned_account", "Create all"), ("tombstone", "Revive all"), ("orphaned_row", "Delete all")],
)
def test_the_button_for_all_says_what_it_does(read_once: World, situation: str, label: str) -> None:
    forget()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    app.query_params["situation"] = situation
    app.switch_page("pages/accounts.py").run()
    assert app.button("accounts_repair_all").label.startswith(label)
    assert app.button("accounts_repair").label == "Repair…"
    forget()
