"""The shape of the library: who may import whom, and what loading it costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "lib").rglob("*.py"))

# From the ground up: a module imports only what stands before it (or beside it, in its own folder).
LAYERS = [
    {"model", "trigger"},
    {"display", "person"},
    {"config", "output", "notebook", "amplify"},
    {"aws", "logparse"},
    {"reconcile", "set_up"},
    {"snapshot"},
    {"views", "journal"},
    {"alerts", "metrics"},
    {"repair"},
    {"rescue", "matching", "judging"},
    {"refresh"},
    {"environment"},
    {"charts"},
    {"demo"},
    {"ui", "__init__"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}


def part(module: Path) -> str:
    return module.relative_to(ROOT / "lib").parts[0].removesuffix(".py")


def imported(module: Path) -> set[str]:
    """Every module named by an import statement anywhere in the file, as `a.b.c`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def of_the_library(names: set[str]) -> set[str]:
    found = {name.split(".")[1] for name in names if name.startswith("lib.")}
    return {name if name in LEVEL else "__init__" for name in found}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_imports_go_downward_only(module):
    own = part(module)
    above = {other for other in of_the_library(imported(module)) - {own} if LEVEL[other] > LEVEL.get(own, 99)}
    if own == "__init__":
        return
    assert own == "trigger" or not above


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_streamlit_stays_in_ui_and_boto3_in_aws_and_demo(module):
    outside = {name.split(".")[0] for name in imported(module)}
    assert part(module) == "ui" or "streamlit" not in outside
    assert part(module) in ("aws", "demo", "trigger") or not outside & {"boto3", "botocore", "moto"}
    assert part(module) != "ui" or not outside & {"duckdb", "sqlalchemy", "boto3", "botocore"}


def test_the_trigger_stands_alone():
    assert not of_the_library(imported(ROOT / "lib" / "trigger.py"))


@pytest.mark.parametrize("page", sorted((ROOT / "pages").glob("*.py")), ids=lambda page: page.name)
def test_a_page_imports_streamlit_and_the_library_only(page):
    allowed = sys.stdlib_module_names | {"streamlit", "lib"}
    assert {name.split(".")[0] for name in imported(page)} <= allowed


def test_the_help_of_the_command_line_loads_nothing_heavy():
    heavy = ("pandas", "streamlit", "boto3", "moto", "duckdb", "plotly", "sqlalchemy")
    script = f"import sys, lib.cli; print([module for module in {heavy} if module in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_a_text_links_to_is_there(text):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / text).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
