"""What a Jupyter notebook shows while it waits."""

import sys
from typing import Any

from lib.model import Progress


def progress() -> Progress | None:
    """Return a progress that shows itself below the running cell; None outside of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    counts: dict[str, int] = {}
    line: Any = display(_text(counts), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(source: str, count: int) -> None:
        counts[source] = count
        line.update(_text(counts), raw=True)

    return show


def _text(counts: dict[str, int]) -> dict[str, str]:
    return {"text/plain": "Read " + (", ".join(f"{count:,} {source}" for source, count in counts.items()) or "…")}
