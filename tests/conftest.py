"""What every test runs under: no network but loopback, no AWS settings but its own, state in its own folder."""

import os
import runpy
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from postgres_kit import MISSING, Postgres, programs

from lib.demo.world import World

GUARD = Path(__file__).parent / "guard"
runpy.run_path(str(GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
for _name in [name for name in os.environ if name.startswith(("AWS_", "POOLTABLE_"))]:
    if _name not in ("POOLTABLE_TRIGGER_LOGS", "POOLTABLE_WORLDS"):  # for longer runs of the tests themselves
        del os.environ[_name]
os.environ |= {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

# No law is about time. CI looks at the same cases each time: a new one is for whoever can look into it.
hypothesis.settings.register_profile("pooltable", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("pooltable")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A POOLTABLE_HOME of the test's own; the working directory is empty, so no pooltable.toml is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POOLTABLE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small embedded world, the one that `demo` leads to in this module's tests."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch, World(accounts=300, home=folder / "state") as started:
        patch.setenv("POOLTABLE_HOME", str(folder / "state"))
        patch.chdir(folder)
        yield started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started when a test first asks for it."""
    if not programs():
        pytest.skip(MISSING)
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """Where a journal in SQLite may be."""
    return f"sqlite:///{tmp_path / 'state' / 'journal.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Where a new journal may be, in each of the databases that teams use."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("file_url"))
    return str(request.getfixturevalue("postgres").url())
