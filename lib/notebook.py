"""What a Jupyter notebook shows while it waits."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lib.model import Progress


@contextmanager
def progress() -> Iterator[Progress | None]:
    """Show a progress bar below the running cell until the block ends; give None outside of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        yield None
        return
    from IPython.display import display

    counts: dict[str, int] = {}
    bar: Any = display(_bar(counts), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(source: str, count: int) -> None:
        counts[source] = count
        bar.update(_bar(counts), raw=True)

    try:
        yield show
    finally:
        bar.update(_bar(counts, ended=True), raw=True)


def _bar(counts: dict[str, int], *, ended: bool = False) -> dict[str, str]:
    # AWS tells no totals beforehand, so the bar only says that it goes on.
    text = "Read " + (", ".join(f"{count:,} {source}" for source, count in counts.items()) or "…")
    return {"text/plain": text, "text/html": f"<progress {'value=1' if ended else ''}></progress> {text}"}
