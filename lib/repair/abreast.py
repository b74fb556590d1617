"""Steps side by side: a few at once, fewer while the service asks for it, each by itself as if it were alone."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from lib.repair.carry_out import Outcome
from lib.repair.step import Step

_TRIES = 4
"""How often a step is tried that the service did not let through; botocore has tried several times in each."""

_SHORTEST_S, _LONGEST_S = 0.5, 8.0


@dataclass
class Pace:
    """How many steps may go on at once: half as many after a throttled one, slowly more again after others."""

    most: int
    limit: float = 0
    pause_s: float = 0

    def __post_init__(self) -> None:
        self.limit = self.limit or float(self.most)

    def heard(self, outcome: Outcome) -> None:
        """Take what the service said into account."""
        if outcome.throttled:
            self.limit = max(1.0, self.limit / 2)
            self.pause_s = min(_LONGEST_S, max(_SHORTEST_S, 2 * self.pause_s))
        else:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
            self.pause_s = 0


def abreast(
    steps: Iterable[Step], carry_out: Callable[[Step], Outcome], most: int, cancelled: Callable[[], bool]
) -> Iterator[tuple[Step, Outcome]]:
    """Carry out the steps, at most so many at once, and yield each with its outcome when it has ended.

    Steps on one row follow each other in their order. None begins after the run was cancelled, after one that
    ``stops``, or after one that raised; what has begun ends before this does, so that nothing is written once the
    lease is given back. A throttled step is tried again.
    """
    waiting, pace = _by_row(steps), Pace(most)
    running: dict[Future[Outcome], deque[Step]] = {}
    tries: dict[int, int] = {}
    ended = False
    with ThreadPoolExecutor(most, thread_name_prefix="step") as pool:
        while True:
            while waiting and len(running) < int(pace.limit) and not ended:
                ended = cancelled()
                if not ended:
                    time.sleep(pace.pause_s)
                    line = waiting.popleft()
                    running[pool.submit(carry_out, line[0])] = line
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                line, outcome = running.pop(future), future.result()
                pace.heard(outcome)
                tries[outcome.number] = tries.get(outcome.number, 0) + 1
                ended = ended or outcome.stops
                again = outcome.throttled and not ended and tries[outcome.number] < _TRIES
                step = line[0] if again else line.popleft()
                if line:
                    waiting.append(line)
                if not again:
                    yield step, outcome


def _by_row(steps: Iterable[Step]) -> deque[deque[Step]]:
    lines: dict[str, deque[Step]] = {}
    for step in steps:
        lines.setdefault(step.row_id, deque()).append(step)
    return deque(lines.values())
