"""The settings of each environment, from `pooltable.toml`.

A wrong value fails here, at start, with the file, the key and what was expected; never later in a page.
"""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lib.model import CORRELATIONS, ConfigError

SERVICES = ("cognito-idp", "dynamodb", "logs", "lambda", "appsync", "sts", "iam", "cloudwatch")
DEMO = "demo"

# AWS's own pattern; the part before the underscore is the region.
_POOL_ID = re.compile(r"(?P<region>[\w-]+)_[0-9a-zA-Z]+", re.ASCII)
_POOL_ID_LENGTH = 55


@dataclass(frozen=True)
class Settings:
    """One environment: a user pool, and what is set about the chain behind it. None means: to be discovered."""

    name: str
    user_pool_id: str
    region: str
    profile: str | None = None
    endpoint_url: str | None = None
    endpoint_urls: Mapping[str, str] = field(default_factory=dict)
    table: str | None = None
    log_groups: tuple[str, ...] = ()
    graphql_url: str | None = None
    api_id: str | None = None
    writer: str | None = None
    correlation: str | None = None
    expects_row: str | None = None
    grace_minutes: float = 15
    log_days: float = 30
    list_users_rps: float = 5
    max_repairs: int = 1000
    max_repair_percent: float = 10
    max_shrink_percent: float = 20
    min_overlap_percent: float = 50
    plan_max_age_minutes: float = 60
    read_only: bool | None = None
    row: Mapping[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    credentials: tuple[str, str] | None = field(default=None, repr=False)  # the demo's own; never from the file


@dataclass(frozen=True)
class Config:
    """All environments, and where state is kept. `demo` is always among them."""

    environments: Mapping[str, Settings]
    home: Path
    journal_url: str
    snapshots_path: str
    keep: int = 30
    purge_after_days: float | None = None
    file: Path | None = None

    def settings(self, name: str | None = None) -> Settings:
        """Return the named environment, or the only one there is; raise ``ConfigError`` when it is not clear."""
        configured = [known for known in self.environments if known != DEMO]
        if name is None:
            if len(configured) > 1 or (self.file and not configured):
                raise ConfigError(f"Which environment? Name one with --env: {', '.join(self.environments)}.")
            name = configured[0] if configured else DEMO
        if name not in self.environments:
            raise ConfigError(
                f"There is no environment {name!r} in {self.file or 'the configuration (no pooltable.toml was found)'}."
                f"{nearest(name, self.environments)}"
            )
        return self.environments[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence (with a leading space) that offers the nearest known name, or lists them all."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def load(environ: Mapping[str, str] = os.environ, directory: Path | None = None) -> Config:
    """Read the configuration that ``environ`` and the working directory name.

    Without a file there is one environment, the demo. Raises ``ConfigError``.
    """
    home = Path(environ.get("POOLTABLE_HOME") or ".pooltable")
    file = _file(environ, directory or Path())
    content = _parsed(file) if file else {}
    _refuse_unknown(content, ("environments", "journal", "snapshots"), f"{file}")
    tables = _table(content, "environments", file)
    environments = {name: _environment(name, keys, file, environ) for name, keys in tables.items()}
    environments.setdefault(DEMO, Settings(DEMO, user_pool_id="", region="", log_days=60))
    journal = _checked(_table(content, "journal", file), _JOURNAL, f"{file}: [journal]")
    snapshots = _checked(_table(content, "snapshots", file), _SNAPSHOTS, f"{file}: [snapshots]")
    return Config(
        environments=environments,
        home=home,
        journal_url=journal.get("url", f"sqlite:///{home / 'journal.db'}"),
        snapshots_path=snapshots.get("path", str(home / "snapshots")),
        keep=snapshots.get("keep", 30),
        purge_after_days=journal.get("purge_after_days"),
        file=file,
    )


@dataclass(frozen=True)
class _Key:
    expected: str
    holds: Callable[[Any], bool]


def _number(low: float, high: float = float("inf"), *, whole: bool = False) -> _Key:
    between = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"

    def holds(value: Any) -> bool:
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return is_number and low <= value <= high

    return _Key(f"a {'whole ' if whole else ''}number {between}", holds)


def _one_of(*choices: str) -> _Key:
    return _Key(" or ".join(f'"{choice}"' for choice in choices), lambda value: value in choices)


def is_pool_id(value: Any) -> bool:
    """Return whether a value can be a user pool's id, such as `eu-west-1_AbCdEf123`."""
    return isinstance(value, str) and len(value) <= _POOL_ID_LENGTH and bool(_POOL_ID.fullmatch(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_url(value: Any) -> bool:
    return _is_text(value) and urlsplit(value).scheme in ("http", "https") and bool(urlsplit(value).hostname)


def _is_text_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_TEXT = _Key("text", _is_text)
_URL = _Key('a URL such as "http://127.0.0.1:4566"', _is_url)
_KEYS = {
    "user_pool_id": _Key(
        'a user pool id such as "eu-west-1_AbCdEf123"',
        is_pool_id,
    ),
    "profile": _TEXT,
    "region": _TEXT,
    "endpoint_url": _URL,
    "endpoint_urls": _Key(
        f"a table of service = URL, the services being {', '.join(SERVICES)}",
        lambda value: isinstance(value, dict) and set(value) <= set(SERVICES) and all(map(_is_url, value.values())),
    ),
    "table": _TEXT,
    "log_group": _Key(
        "the name of a log group, or a list of them",
        lambda value: _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value))),
    ),
    "graphql_url": _URL,
    "api_id": _TEXT,
    "writer": _one_of("appsync", "dynamodb"),
    "correlation": _one_of(*CORRELATIONS),
    "expects_row": _one_of("pre_sign_up", "post_confirmation"),
    "grace_minutes": _number(0),
    "log_days": _number(0.01),
    "list_users_rps": _number(0.1),
    "max_repairs": _number(0, whole=True),
    "max_repair_percent": _number(0, 100),
    "max_shrink_percent": _number(0, 100),
    "min_overlap_percent": _number(0, 100),
    "plan_max_age_minutes": _number(0),
    "read_only": _Key("true or false", lambda value: isinstance(value, bool)),
    "row": _Key('a table of attribute = text, such as owner = "{sub}::{username}"', _is_text_table),
}
_JOURNAL = {
    "url": _Key('a database URL such as "sqlite:///.pooltable/journal.db"', _is_text),
    "purge_after_days": _number(0),
}
_SNAPSHOTS = {"path": _Key('a folder or "s3://bucket/prefix"', _is_text), "keep": _number(1, whole=True)}


def _file(environ: Mapping[str, str], directory: Path) -> Path | None:
    named = environ.get("POOLTABLE_CONFIG")
    if not named:
        file = directory / "pooltable.toml"
        return file if file.exists() else None
    if not Path(named).is_file():
        raise ConfigError(f"POOLTABLE_CONFIG names {named}, which is no file. Correct it, or unset it to see the demo.")
    return Path(named)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror}.") from error


def _table(content: Mapping[str, Any], name: str, file: Path | None) -> dict[str, Any]:
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: {name} must be a table, such as [{name}], not {_kind(found)}.")
    return found


def _environment(name: str, keys: Any, file: Path | None, environ: Mapping[str, str]) -> Settings:
    where = f"{file}: [environments.{name}]"
    if not isinstance(keys, dict):
        raise ConfigError(f"{where} must be a table, not {_kind(keys)}.")
    known = dict(_checked(keys, _KEYS, where))
    if name == DEMO:
        known = {"log_days": 60, **known, "user_pool_id": "", "region": ""}
    elif "user_pool_id" not in known:
        raise ConfigError(f"{where} needs user_pool_id, {_KEYS['user_pool_id'].expected}.")
    else:
        known["region"] = _region(known, where)
    groups = known.pop("log_group", ())
    return Settings(
        name=name,
        log_groups=(groups,) if isinstance(groups, str) else tuple(groups),
        api_key=environ.get(f"POOLTABLE_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_API_KEY"),
        **known,
    )


def _region(known: Mapping[str, Any], where: str) -> str:
    pool = known["user_pool_id"]
    from_pool = pool.rpartition("_")[0]
    region = known.get("region", from_pool)
    if region != from_pool:
        raise ConfigError(
            f"{where}: region {region!r} contradicts user_pool_id {pool!r}, which is in {from_pool}. Remove region."
        )
    return str(region)


def _checked(keys: Mapping[str, Any], known: Mapping[str, _Key], where: str) -> Mapping[str, Any]:
    _refuse_unknown(keys, known, where)
    for name, value in keys.items():
        if not known[name].holds(value):
            raise ConfigError(f"{where} {name} must be {known[name].expected}, not {_kind(value)}.")
    return keys


def _refuse_unknown(keys: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = list(known)
    for name in keys:
        if name not in known:
            raise ConfigError(f"{where}: unknown key {name!r}.{nearest(name, known)}")


def _kind(value: Any) -> str:
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine only."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name, and be it 127.example.com.
        return False
