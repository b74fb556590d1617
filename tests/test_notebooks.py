from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_on_the_demo(path: Path, home: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in shown if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert figures
    assert all(any(trace.get("x") for trace in _traces(figure)) for figure in figures)
    assert any("accounts" in output.get("data", {}).get("text/plain", "").partition("Read ")[2] for output in shown)
    assert (home / "snapshots" / "demo").is_dir()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    ran = [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert ran == []


def _traces(figure: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    traces: list[nbformat.NotebookNode] = figure["data"]["application/vnd.plotly.v1+json"]["data"]
    return traces
