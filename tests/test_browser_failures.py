"""From an account to the very run that failed it, its raw log, and back, in a real browser."""

from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from browser_kit import Dashboard, Visit, browser, dashboard, until
from playwright.sync_api import Browser

from lib import connect
from lib.demo.world import World


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Dashboard]:
    """The dashboard in a process of its own, on this module's world, which was read once."""
    environment = connect("demo")
    environment.refresh()
    with dashboard(environment.config.home.resolve()) as running:
        yield running


@pytest.fixture
def visit(served: Dashboard, chromium: Browser) -> Iterator[Visit]:
    """A browser that has never been here."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    visited = Visit(context.new_page(), served.url)
    yield visited
    context.close()
    assert visited.hosts == {"127.0.0.1"}
    assert not visited.complaints


def failed_twice() -> tuple[str, list[str], str]:
    """An account whose trigger ran more than once: its sub, its runs' request ids in order, its e-mail."""
    found = (
        connect("demo")
        .latest()
        .sql(
            "select a.sub, list(i.request_id order by i.started_at) as requests, any_value(a.email) as email"
            " from invocations i join accounts a on a.username = i.username"
            " where i.trigger_source = 'PreSignUp_SignUp' group by a.sub having count(*) > 1 order by a.sub limit 1"
        )
    )
    return str(found["sub"].iloc[0]), list(found["requests"].iloc[0]), str(found["email"].iloc[0])


def test_an_attempt_leads_to_its_run_its_raw_log_and_back_to_its_account(visit: Visit) -> None:
    sub, requests, email = failed_twice()
    visit.open(f"/accounts?account={sub}", "Accounts")
    visit.page.get_by_role("link", name="Run").nth(1).click()
    visit.settled("Trigger failures")
    visit.page.wait_for_url(f"**/failures?*request={requests[1]}*")
    assert "@" not in unquote(visit.page.url)
    run_id = visit.page.get_by_test_id("stCode").first
    until(lambda: run_id.inner_text().strip() == requests[1], "the very run is open")
    visit.shows(f"2 of {len(requests)}")

    visit.button("Show raw log").click()
    visit.shows(f"START RequestId: {requests[1]}")
    assert not visit.page.get_by_text(email).count()
    visit.page.get_by_text("Reveal e-mails").click()
    visit.shows(email)

    # Another attempt of the same sign-up: its id in the URL, its log not yet read.
    visit.page.get_by_role("radiogroup", name="Attempts of this sign-up").get_by_role("radio").first.click()
    until(lambda: run_id.inner_text().strip() == requests[0], "the first attempt is open")
    visit.page.wait_for_url(f"**/failures?*request={requests[0]}*")
    visit.button("Show raw log").wait_for()

    visit.page.get_by_role("link", name="Timeline of the account").click()
    visit.settled("Accounts")
    visit.page.wait_for_url(f"**/accounts?*account={sub}*")
    visit.shows("Trigger PreSignUp_SignUp, attempt 2")
    visit.button("Show raw log").first.click()
    visit.shows("START RequestId:")


def test_a_line_of_the_list_opens_its_sign_up_and_a_reload_shows_the_same(visit: Visit) -> None:
    visit.open("/failures", "Trigger failures")
    visit.grid(1).tick(2)
    until(lambda: "request=" in visit.page.url, "the sign-up is in the URL")
    visit.settled("Trigger failures")
    shown = visit.page.get_by_test_id("stCode").first.inner_text().strip()
    assert f"request={shown}" in visit.page.url
    visit.page.reload()
    visit.settled("Trigger failures")
    until(lambda: visit.page.get_by_test_id("stCode").first.inner_text().strip() == shown, "it is open again")
    until(lambda: visit.grid(1).ticked() == [2], "its line is marked")
