"""How many sign-ups a day are at stake: what an expired key would lose, with an honest interval.

The last whole days are counted, and one coming day is predicted from them. Each day's count is taken for Poisson with
an unknown rate; Jeffreys' prior makes the prediction a negative binomial (Gelman et al., Bayesian Data Analysis,
3rd ed., 2.6). Sign-ups vary more than that, by weekday for one: the variance is widened by the dispersion that the
counted days show, Pearson's chi-squared over its degrees of freedom (McCullagh and Nelder, Generalized Linear Models,
2nd ed., 6.2.3), never narrowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp, lgamma, log, sqrt

from lib.snapshot import Snapshot

DAYS = 14
"""How many days are counted: two of each weekday, and still the present rate."""

LEVEL = 0.95
"""How often the count of a day lies within the interval."""

_LEAST_DAYS = 2

# A sign-up that the trigger was seen to run for, or one of a kind that it runs for: creation by staff, import and
# federation may or may not run it, so there only the log tells.
_COVERED = """
select cast(date_diff('second', a.created_at, cast($until as timestamptz)) // 86400 as integer) as days_ago,
    count(*) as sign_ups
from accounts a
where a.created_at < $until
    and (
        coalesce(a.status, '') not in ('FORCE_CHANGE_PASSWORD', 'RESET_REQUIRED', 'EXTERNAL_PROVIDER', $never)
        or exists (
            select 1 from invocations i
            where i.username = a.username
                and (starts_with(i.trigger_source, 'PreSignUp_')
                    or i.trigger_source = 'PostConfirmation_ConfirmSignUp')
        )
    )
group by 1
"""


@dataclass(frozen=True)
class Forecast:
    """The sign-ups of one coming day: expected, and the interval that holds 95 % of such days."""

    expected: float
    low: int
    high: int
    days: int  # how many were counted

    def __str__(self) -> str:
        return f"about {self.expected:.0f} sign-ups a day ({self.low} to {self.high})"


def sign_ups_a_day(snapshot: Snapshot) -> Forecast | None:
    """Return how many sign-ups of a coming day the trigger is to write a row for; None where too little was seen."""
    until = datetime.fromisoformat(snapshot.manifest["sources"]["accounts"]["started_at"]).astimezone(UTC)
    never = "UNCONFIRMED" if snapshot.wiring.trigger == "post_confirmation" else ""
    counted = snapshot.sql(_COVERED, until=until, never=never)
    by_day = dict(zip(counted["days_ago"].tolist(), counted["sign_ups"].tolist(), strict=True))
    # A young app has no two weeks; its first day is not a whole one.
    days = min(DAYS, max(by_day, default=0))
    if days < _LEAST_DAYS:
        return None
    return forecast([by_day.get(day, 0) for day in range(days)])


def forecast(counts: Sequence[int], level: float = LEVEL) -> Forecast:
    """Return the forecast of one more day from the counts of at least two; ``level`` is what the interval holds."""
    days = len(counts)
    mean = (sum(counts) + 0.5) / days
    dispersion = max(1.0, sum((count - mean) ** 2 for count in counts) / mean / (days - 1))
    variance = dispersion * mean * (1 + 1 / days)
    tail = (1 - level) / 2
    return Forecast(sum(counts) / days, _quantile(tail, mean, variance), _quantile(1 - tail, mean, variance), days)


def _quantile(level: float, mean: float, variance: float) -> int:
    """Return the smallest count that a negative binomial of this mean and variance stays at or below so often."""
    size = mean * mean / (variance - mean)
    count = max(0, int(mean - 12 * sqrt(variance)))
    at_zero = size * log(size / (size + mean)) - lgamma(size)
    growth = log(mean / (size + mean))
    below = 0.0
    while True:
        below += exp(at_zero + lgamma(count + size) - lgamma(count + 1) + count * growth)
        if below >= level:
            return count
        count += 1
