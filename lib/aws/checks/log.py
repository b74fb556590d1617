"""The checks of the log group, of what the log hides, and of Lambda's own count against it."""

from functools import partial
from typing import Any

from lib.aws import logs
from lib.aws.checks.check import Check, Link, Look, Runs
from lib.aws.session import Aws
from lib.config import is_loopback
from lib.display import counted
from lib.model import NotReadable

GROUP = Link("log_group", "Log group", "Causes stay unknown.")
RETENTION = Link("log_retention", "Log retention", "Older accounts without a row get no cause.")
FORMAT = Link("log_format", "Log format", "Runs cannot be told apart, so causes stay unknown.")
METRICS = Link("metrics", "Lambda's metrics", "Some sign-ups were refused, or some runs are missing from the log.")

_QUIET_SYSTEM = ("WARN",)
_QUIET_APPLICATION = ("WARN", "ERROR", "FATAL")
_COUNTED = ("Invocations", "Errors", "Throttles")
_LAG = 0.05  # a run at the edge of the hour, an event that came late


def group(look: Look) -> Check:
    """Whether the log group is there."""
    names = look.wiring.log_groups
    if not names:
        return GROUP.warning("Log group not known", "It is not configured and was not found.", "Set log_group.")
    for name in names:
        if _group(look, name) is None:
            raise NotReadable(f"The log group {name} does not exist. Correct log_group, or wait for the first sign-up.")
    return GROUP.ok("Log group answers", ", ".join(names))


def retention(look: Look) -> Check:
    """Whether the log is kept as long as causes are asked of it."""
    wanted = look.aws.settings.log_days
    kept = [facts.retention_days for name in look.wiring.log_groups if (facts := _group(look, name))]
    if not kept:
        raise NotReadable("There is no log group")
    shortest = min((days for days in kept if days), default=None)
    if shortest and shortest < wanted:
        cause = f"Events are deleted after {counted(shortest, 'day')}; log_days asks for {wanted:g}."
        fix = f"Keep them for {wanted:g} days or more, or set log_days = {shortest}."
        return RETENTION.warning(f"The log is kept for {counted(shortest, 'day')} only", cause, fix)
    return RETENTION.ok("The log is kept long enough", counted(shortest, "day") if shortest else "for ever")


def log_format(look: Look) -> Check:
    """Whether the log shows each run, and for whom it ran."""
    for each in look.functions():
        if each.log_format == "JSON" and each.system_log_level in _QUIET_SYSTEM:
            cause = f"The system log level of {each.name} is {each.system_log_level}: no START, no REPORT is logged."
            return FORMAT.problem("The log hides runs", cause, "Set the system log level to INFO.")
        if each.log_format == "JSON" and each.application_log_level in _QUIET_APPLICATION:
            level = each.application_log_level
            cause = f"The application log level of {each.name} is {level}: the line that names the account is dropped."
            return FORMAT.problem("The log hides for whom the trigger ran", cause, "Set it to DEBUG.")
    runs = look.seen.runs
    if runs and runs.count and not runs.named:
        cause = f"None of the last {counted(runs.count, 'run')} names the account it ran for."
        return FORMAT.problem("The log hides for whom the trigger ran", cause, "Let the handler log its event.")
    return FORMAT.ok("The log hides no run")


def metrics(look: Look) -> Check:
    """Whether Lambda counted as many runs and errors as the log shows, and refused none."""
    runs = look.seen.runs
    if runs is None:
        return METRICS.unknown("No snapshot has read the log to its end yet.", "Refresh.")
    if is_loopback(look.aws.endpoint("cloudwatch")) != is_loopback(look.aws.endpoint("lambda")):
        raise NotReadable("CloudWatch is another world than Lambda. Set endpoint_url for both or for none")
    if not look.wiring.functions:
        raise NotReadable("No trigger function is known")
    counts = _sums(look.aws, look.wiring.functions, runs)
    if counts["Throttles"]:
        cause = f"Lambda refused {counted(counts['Throttles'], 'call')} in 24 hours: too many runs at a time."
        return METRICS.warning("Sign-ups were throttled", cause, "Raise the function's reserved concurrency.")
    if not counts["Invocations"] and runs.count:
        raise NotReadable(f"CloudWatch has no metrics of the {counted(runs.count, 'run')} that the log shows")
    if counts["Invocations"] - runs.count > max(2, _LAG * runs.count):
        cause = f"Lambda counted {counted(counts['Invocations'], 'run')} in 24 hours, the log shows {runs.count}."
        return METRICS.warning("The log misses runs", cause, "Look at the log format, filters and log_group.")
    if counts["Errors"] - runs.failed > max(2, _LAG * runs.count):
        cause = f"Lambda counted {counted(counts['Errors'], 'error')} in 24 hours, the log shows {runs.failed}."
        return METRICS.warning("The log misses errors", cause, "Look at the log format, filters and log_group.")
    return METRICS.ok("Lambda's count agrees with the log", f"{counted(runs.count, 'run')} in 24 hours")


def _group(look: Look, name: str) -> logs.GroupFacts | None:
    return look.once(("group", name), partial(logs.group, look.aws, name))


def _sums(aws: Aws, names: tuple[str, ...], runs: Runs) -> dict[str, int]:
    """Return Lambda's counts over the functions; a metric without points counts 0."""
    queries: list[dict[str, Any]] = [
        {
            "Id": f"{metric.lower()}{number}",
            "Label": metric,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": metric,
                    "Dimensions": [{"Name": "FunctionName", "Value": name}],
                },
                "Period": 3600,
                "Stat": "Sum",
            },
        }
        for number, name in enumerate(names)
        for metric in _COUNTED
    ]
    with aws.calling(f"read the metrics of {', '.join(names)}", action="cloudwatch:GetMetricData"):
        found = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=queries, StartTime=runs.since, EndTime=runs.until
        )["MetricDataResults"]
    sums = dict.fromkeys(_COUNTED, 0)
    for each in found:
        sums[each["Label"]] += int(sum(each["Values"]))
    return sums
