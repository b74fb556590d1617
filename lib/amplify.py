"""What an Amplify project's own files tell of its environments. Pure: text in, facts out; nothing of it is executed.

The files may hold an API key: nothing but the facts below is ever taken from them, and each only in its known form.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from lib.config import is_pool_id

META, TEAM, LOCAL = "amplify-meta.json", "team-provider-info.json", "local-env-info.json"
CLIENTS = (
    "aws-exports.js",
    "amplifyconfiguration.json",
    "amplifyconfiguration.dart",
    "amplify_outputs.json",
    "amplify_outputs.dart",
)
FILES = frozenset({META, TEAM, LOCAL, *CLIENTS})

# What is deployed stands before what is being worked on.
_DEPLOYED = "#current-cloud-backend"
_NAME = re.compile(r"(?!da2-)[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-\d")
_URL = re.compile(r"https://[a-z0-9.-]{1,200}/graphql")
_OBJECTS_TRIED = 20


@dataclass(frozen=True)
class AmplifyEnvironment:
    """One environment as the files tell it; ``pool`` is None where none of them names it."""

    file: str
    name: str | None = None
    pool: str | None = None
    region: str | None = None
    stack: str | None = None
    api_id: str | None = None
    graphql_url: str | None = None


def environments(files: Mapping[str, str]) -> tuple[list[AmplifyEnvironment], list[str]]:
    """Return the environments that the files (relative path -> text) tell of, and what was wrong with the files.

    Of two files that speak of the same pool the more trusted one counts: amplify-meta.json before what is generated
    for the app. Each pool comes once.
    """
    parsed, problems = {}, []
    for path, text in sorted(files.items()):
        try:
            parsed[path] = _object(text)
        except ValueError:
            problems.append(f"{path} cannot be read: it holds no whole JSON object. It was left out.")
    found = [each for root in sorted(_roots(parsed)) for each in _project(root, parsed)]
    return _each_pool_once(found), problems


def _each_pool_once(found: list[AmplifyEnvironment]) -> list[AmplifyEnvironment]:
    kept: dict[str, AmplifyEnvironment] = {}
    for position, each in enumerate(found):
        first = kept.setdefault(each.pool or f"no pool {position}", each)
        # A file for the app knows the endpoint where amplify-meta.json may not.
        kept[each.pool or f"no pool {position}"] = replace(
            first, name=first.name or each.name, graphql_url=first.graphql_url or each.graphql_url
        )
    return list(kept.values())


def _roots(files: Mapping[str, Any]) -> set[str]:
    """Return the folders of the projects: what holds `amplify`, and any other folder with a file for the app."""
    inside = {path for path in files if "amplify" in PurePosixPath(path).parts[:-1]}
    roots = {_above_amplify(path) for path in inside}
    return roots | {_root(path, roots) for path in set(files) - inside}


def _above_amplify(path: str) -> str:
    parts = PurePosixPath(path).parts
    return str(PurePosixPath(*parts[: parts.index("amplify")]))


def _root(path: str, roots: set[str]) -> str:
    above = [str(parent) for parent in PurePosixPath(path).parents]
    return next((folder for folder in above if folder in roots), above[0])


def _project(root: str, files: Mapping[str, dict[str, Any]]) -> Iterator[AmplifyEnvironment]:
    """Yield the environments of one project: as deployed, as the team's file lists them, as the app's files know."""
    roots = _roots(files)
    of_project = {
        path: content
        for path, content in files.items()
        if (_above_amplify(path) if "amplify" in PurePosixPath(path).parts[:-1] else _root(path, roots)) == root
    }
    team = {name: each for path in _named(of_project, TEAM) for name, each in _team(path, of_project[path])}
    current = next((_form(_NAME, of_project[path].get("envName")) for path in _named(of_project, LOCAL)), None)
    deployed = sorted(_named(of_project, META), key=lambda path: _DEPLOYED not in path)
    metas = [_of_meta(path, of_project[path], team, current) for path in deployed]
    known = next((each for each in metas if each.pool), None)
    if known:
        yield known
    for path in _named(of_project, *CLIENTS):
        each = _of_client(path, of_project[path])
        if each.pool:
            # It was generated for the environment that is checked out: a pool of another one is some other's.
            yield each if known else replace(each, name=current)
    named = {known.name if known else current}
    for name, each in team.items():
        if each.pool or name not in named or not (known or _clients_know(of_project)):
            yield each


def _clients_know(files: Mapping[str, dict[str, Any]]) -> bool:
    return any(_of_client(path, files[path]).pool for path in _named(files, *CLIENTS))


def _named(files: Mapping[str, Any], *names: str) -> list[str]:
    return [path for path in files if PurePosixPath(path).name in names]


def _team(path: str, content: Mapping[str, Any]) -> Iterator[tuple[str, AmplifyEnvironment]]:
    for name, each in content.items():
        if not _form(_NAME, name):
            continue
        cloud = _at(each, "awscloudformation")
        # Only of an imported pool does this file know the id.
        pools = (_pool(_at(auth, "userPoolId")) for auth in _values(_at(each, "categories", "auth")))
        yield (
            name,
            AmplifyEnvironment(
                path,
                name,
                next(filter(None, pools), None),
                _form(_REGION, _at(cloud, "Region")),
                _form(_NAME, _at(cloud, "StackName")),
            ),
        )


def _of_meta(
    path: str, content: Mapping[str, Any], team: Mapping[str, AmplifyEnvironment], current: str | None
) -> AmplifyEnvironment:
    stack = _form(_NAME, _at(content, "providers", "awscloudformation", "StackName"))
    name = next((each.name for each in team.values() if stack and each.stack == stack), current)
    outputs = [_at(each, "output") for each in _values(content.get("auth")) if _at(each, "service") == "Cognito"]
    apis = [_at(each, "output") for each in _values(content.get("api")) if _at(each, "service") == "AppSync"]
    api = apis[0] if len(apis) == 1 else None
    pool = next(filter(None, (_pool(_at(output, "UserPoolId")) for output in outputs)), None)
    return AmplifyEnvironment(
        path,
        name,
        pool,
        _form(_REGION, _at(content, "providers", "awscloudformation", "Region")),
        stack,
        _form(_NAME, _at(api, "GraphQLAPIIdOutput")),
        _form(_URL, _at(api, "GraphQLAPIEndpointOutput")),
    )


def _of_client(path: str, content: Mapping[str, Any]) -> AmplifyEnvironment:
    """Return what a file for the app tells: of either generation, or in the shape for iOS and Android."""
    mobile = _at(content, "auth", "plugins", "awsCognitoAuthPlugin", "CognitoUserPool", "Default")
    apis = _values(_at(content, "api", "plugins", "awsAPIPlugin"))
    endpoints = [_at(each, "endpoint") for each in apis if _at(each, "endpointType") == "GraphQL"]
    pools = (content.get("aws_user_pools_id"), _at(content, "auth", "user_pool_id"), _at(mobile, "PoolId"))
    urls = (content.get("aws_appsync_graphqlEndpoint"), _at(content, "data", "url"), *endpoints)
    return AmplifyEnvironment(
        path,
        pool=next(filter(None, map(_pool, pools)), None),
        graphql_url=next(filter(None, (_form(_URL, url) for url in urls)), None),
    )


def _object(text: str) -> dict[str, Any]:
    """Return the first JSON object in a text, such as the literal in aws-exports.js; raise ``ValueError`` without."""
    decoder, start = json.JSONDecoder(), -1
    for _ in range(_OBJECTS_TRIED):
        start = text.find("{", start + 1)
        if start < 0:
            break
        try:
            found, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found:
            return found
    raise ValueError("no JSON object")


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []


def _pool(value: Any) -> str | None:
    return value if is_pool_id(value) else None


def _form(pattern: re.Pattern[str], value: Any) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
