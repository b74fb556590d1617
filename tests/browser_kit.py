"""The dashboard as a server of its own and a real browser on it: start, wait for effects, read and tick tables."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
)
PATIENCE_S = 30  # for one effect, on a machine that others keep busy
ROW_HEIGHT, TICK_X = 34, 15


@dataclass(frozen=True)
class Dashboard:
    """A running `streamlit run dashboard.py`."""

    url: str
    log: Path


@contextmanager
def dashboard(home: Path, **environ: str) -> Iterator[Dashboard]:
    """Run the dashboard on a free port, with its state in ``home``, until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), home / "dashboard.log"
    command = [sys.executable, "-m", "streamlit", "run", "dashboard.py", "--server.port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"POOLTABLE_HOME": str(home)} | environ, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/_stcore/health") or server.poll() is not None, "the server answers")
        assert server.poll() is None, log.read_text()
        yield Dashboard(url, log)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium: Debian's where there is one, else playwright's own."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield chromium
        finally:
            chromium.close()


@dataclass
class Visit:
    """One tab on a dashboard; it remembers which hosts were asked for anything, and what its console complained of."""

    page: Page
    url: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda opened: self._asked(opened.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str, title: str) -> None:
        """Go to a path and wait until the page with this title is there and idle."""
        self.page.goto(f"{self.url}{path}")
        self.settled(title)

    def settled(self, title: str) -> None:
        """Wait until the page with this title has run to its end."""
        self.page.get_by_role("heading", name=title, level=1, exact=True).wait_for()
        self.page.wait_for_function(_IDLE)

    def shows(self, text: str) -> Locator:
        """Wait until a text is visible, and return where it stands."""
        found = self.page.get_by_text(text).first
        found.wait_for()
        return found

    def button(self, name: str, *, exact: bool = False) -> Locator:
        """Return a button by its name."""
        return self.page.get_by_role("button", name=name, exact=exact)

    def grid(self, index: int = 0) -> "Grid":
        """Return a table of the page, in their order."""
        return Grid(self, self.page.get_by_test_id("stDataFrame").nth(index))

    def _asked(self, url: str) -> None:
        host = urlsplit(url).hostname
        if host:
            self.hosts.add(host)


@dataclass(frozen=True)
class Grid:
    """A table drawn on a canvas, read through the hidden table that screen readers use."""

    visit: Visit
    place: Locator

    def column(self, name: str) -> list[str]:
        """Return the cells of the column with this header, top to bottom, as far as they are drawn."""
        header = self.place.locator("thead th", has_text=re.compile(f"^\\s*{re.escape(name)}\\s*$"))
        header.wait_for(state="attached")
        index = header.get_attribute("aria-colindex")
        return self.place.locator(f'tbody td[aria-colindex="{index}"]').all_text_contents()

    def ticked(self) -> list[int]:
        """Return which rows are ticked."""
        lines = self.place.locator("tbody tr").all()
        return [row for row, line in enumerate(lines) if line.get_attribute("aria-selected") == "true"]

    def tick(self, row: int) -> None:
        """Tick a row's checkbox and wait until the page knows."""
        canvas = self.place.locator("canvas").first
        line = self.place.locator("tbody tr").nth(row)

        def ticked() -> bool:
            canvas.click(position={"x": TICK_X, "y": 35 + ROW_HEIGHT * (row + 0.5)}, force=True)
            # A click while the table is drawn anew is lost; a second one too soon would take the tick back.
            with suppress(AssertionError):
                until(lambda: line.get_attribute("aria-selected") == "true", "the tick shows", 5)
            return line.get_attribute("aria-selected") == "true"

        until(ticked, f"row {row} is ticked")


def until(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds; a page that is redrawn meanwhile is asked again."""
    deadline = monotonic() + patience_s
    while monotonic() < deadline:
        try:
            if holds():
                return
        except (Error, IndexError, ValueError):
            pass
        sleep(0.1)
    raise AssertionError(f"It never came that {what}.")


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Return whether a server of this machine answers there."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


_IDLE = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    return app && app.getAttribute('data-test-connection-state') === 'CONNECTED'
        && app.getAttribute('data-test-script-state') === 'notRunning'
        && !document.querySelector('[data-testid="stSkeleton"], [data-testid="stSpinner"], [data-stale="true"]');
}"""
