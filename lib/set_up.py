"""A first `pooltable.toml`: from an Amplify project's files, or from the pools of an account. It never replaces one."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.amplify import FILES, AmplifyEnvironment
from lib.aws.pools import SIGN_UP_TRIGGERS, PoolFacts
from lib.config import DEMO
from lib.display import visible
from lib.model import ConfigError

_DEPTH = 8
_LARGEST = 20_000_000  # bytes: Gen 2 puts a whole schema into amplify_outputs.json
_PASSED_OVER = frozenset({"node_modules", ".git", ".venv", "venv", "Pods", "build", "dist", ".next", "__pycache__"})
_HEAD = """\
# The environments of Pooltable, as `python -m lib init` writes them. Yours to edit.
# A pool's id is all that is needed: trigger, function, API, table and log group are found from it. What stands
# commented out below an id may help where something is not found; it then comes before what AWS says.
# An API key for repairs is never kept here: it comes from the variable POOLTABLE_<ENVIRONMENT>_API_KEY.
"""


@dataclass(frozen=True)
class Proposal:
    """One environment to write; without a pool, or not ``active``, it is written commented out."""

    name: str
    pool: str | None
    origin: str  # where it is known from
    profile: str | None = None
    perhaps: Mapping[str, str] | None = None  # keys that are only commented
    to_do: str = ""  # what to fill in where there is no pool
    active: bool = True


def target(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file to write; raise ``ConfigError`` where there is one already."""
    file = Path(environ.get("POOLTABLE_CONFIG") or "pooltable.toml")
    if file.exists() or file.is_symlink():
        raise ConfigError(f"{file} is there already, and is never overwritten. Edit it, or move it away first.")
    return file


def amplify_files(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the text of each Amplify file below a folder by its relative path, and which could not be read."""
    if folder.name == "amplify" and (folder / "backend").is_dir():
        folder = folder.resolve().parent
    files, problems = {}, []
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        try:
            if path.stat().st_size > _LARGEST:
                problems.append(f"{visible(name)} is too large to be Amplify's. It was left out.")
            else:
                files[name] = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            problems.append(f"{visible(name)} cannot be read: {error.strerror}. It was left out.")
    return files, problems


def of_amplify(
    found: Sequence[AmplifyEnvironment], profile: str | None = None, fallback: str = "app"
) -> list[Proposal]:
    """Return what to write of an Amplify project's environments; ``fallback`` names one that its files do not name."""
    proposals = [
        Proposal(
            name=each.name or fallback,
            pool=each.pool,
            origin=each.file,
            profile=profile,
            perhaps=_perhaps(each),
            to_do=_to_do(each),
        )
        for each in found
    ]
    return _named_apart(proposals)


def of_pools(pools: Iterable[PoolFacts], profile: str | None = None, *, even_idle: bool = False) -> list[Proposal]:
    """Return what to write of pools; one that runs nothing at sign-up is commented out unless ``even_idle``."""
    return _named_apart(
        Proposal(pool.name, pool.id, _triggers(pool), profile, active=even_idle or pool.runs_at_sign_up)
        for pool in pools
    )


def text(proposals: Iterable[Proposal]) -> str:
    """Return the content of `pooltable.toml`."""
    return "\n".join([_HEAD, *map(_environment, proposals)])


def write(content: str, file: Path) -> None:
    """Write a file that is not there yet; raise ``ConfigError`` where it is, or cannot be written."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(content)
    except FileExistsError:
        raise ConfigError(f"{file} is there already, and is never overwritten.") from None
    except OSError as error:
        raise ConfigError(f"Cannot write {file}: {error.strerror}. Go to a folder you may write to.") from error


def _walk(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        folders[:] = sorted(set(folders) - _PASSED_OVER) if depth < _DEPTH else []
        # A link may lead out of the project.
        found = (Path(path) / name for name in sorted(FILES.intersection(names)))
        yield from (file for file in found if file.is_file() and not file.is_symlink())


def _perhaps(each: AmplifyEnvironment) -> dict[str, str]:
    known = {"api_id": each.api_id, "graphql_url": each.graphql_url}
    if each.api_id and each.name:
        # <Model>-<apiId>-<env> is how Amplify names a table unless told otherwise.
        known["table"] = f"User-{each.api_id}-{each.name}"
    return {key: value for key, value in known.items() if value}


def _to_do(each: AmplifyEnvironment) -> str:
    place = f"the Cognito console of {each.region}" if each.region else "the Cognito console"
    stack = f" (stack {each.stack})" if each.stack else ""
    return f"fill in the id of its pool{stack} from {place}, or run `amplify env checkout {each.name}` and init again"


def _triggers(pool: PoolFacts) -> str:
    at_sign_up = [name for name in SIGN_UP_TRIGGERS if name in pool.triggers]
    return f"calls {' and '.join(at_sign_up)} at sign-up" if at_sign_up else "runs nothing at sign-up"


def _named_apart(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals under names that TOML takes bare, each another, none that of the demo."""
    taken, named = {DEMO}, []
    for each in proposals:
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", each.name).strip("-")[:64] or "app"
        names = (base if count == 1 else f"{base}-{count}" for count in range(1, len(taken) + 2))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        named.append(replace(each, name=name))
    return named


def _environment(each: Proposal) -> str:
    lines = [f"[environments.{each.name}]  # {_comment(each.origin)}"]
    if each.pool:
        lines.append(f"user_pool_id = {_text(each.pool)}")
    else:
        lines.append(f'user_pool_id = ""  # {_comment(each.to_do)}')
    lines.append(f"profile = {_text(each.profile)}" if each.profile else '# profile = "..."  # else the AWS CLI\'s own')
    lines += [f"# {key} = {_text(value)}" for key, value in (each.perhaps or {}).items()]
    lines.append("# read_only = false  # lets the dashboard repair it, for whoever can open it on this machine")
    active = each.pool and each.active
    return "\n".join(lines if active else [line if line.startswith("# ") else f"# {line}" for line in lines]) + "\n"


def _comment(value: str) -> str:
    return visible(value)


def _text(value: str) -> str:
    return '"' + visible(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
