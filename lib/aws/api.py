"""What AppSync says of an API: its endpoint, its tables, and who wins a conflict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.aws.session import Aws


@dataclass(frozen=True)
class ApiFacts:
    """One GraphQL API; ``pools`` are the user pools whose accounts it lets in."""

    id: str
    name: str
    url: str | None
    authentication: tuple[str, ...]
    pools: tuple[str, ...]


@dataclass(frozen=True)
class DataSource:
    """A DynamoDB table behind an API, by the name that the API's resolvers use."""

    name: str
    table: str
    versioned: bool


def described(aws: Aws, api_id: str) -> ApiFacts:
    """Return one API's facts."""
    with aws.calling(f"describe API {api_id}", action="appsync:GetGraphqlApi"):
        return _facts(aws.client("appsync").get_graphql_api(apiId=api_id)["graphqlApi"])


def listed(aws: Aws) -> list[ApiFacts]:
    """Return every GraphQL API of the account and region."""
    with aws.calling("list the GraphQL APIs", action="appsync:ListGraphqlApis"):
        pages = aws.client("appsync").get_paginator("list_graphql_apis").paginate()
        return [_facts(each) for page in pages for each in page["graphqlApis"]]


def data_sources(aws: Aws, api_id: str) -> list[DataSource]:
    """Return the DynamoDB tables behind an API."""
    with aws.calling(f"list the data sources of API {api_id}", action="appsync:ListDataSources"):
        pages = aws.client("appsync").get_paginator("list_data_sources").paginate(apiId=api_id)
        sources = [source for page in pages for source in page["dataSources"]]
    return [_source(each["name"], each["dynamodbConfig"]) for each in sources if "dynamodbConfig" in each]


def conflict_handler(aws: Aws, api_id: str, source: DataSource) -> str | None:
    """Return who wins a conflicting write to a versioned table: AUTOMERGE, OPTIMISTIC_CONCURRENCY or LAMBDA.

    None where the resolvers do not say: in a pipeline its functions may.
    """
    with aws.calling(f"list the resolvers of API {api_id}", action="appsync:ListResolvers"):
        pages = aws.client("appsync").get_paginator("list_resolvers").paginate(apiId=api_id, typeName="Mutation")
        resolvers = [resolver for page in pages for resolver in page["resolvers"]]
    model = source.name.removesuffix("Table")
    writing = {f"{verb}{model}" for verb in ("create", "update", "delete")}
    syncs = [
        each.get("syncConfig") or {}
        for each in resolvers
        if each.get("dataSourceName") == source.name or each.get("fieldName") in writing
    ]
    return next((sync["conflictHandler"] for sync in syncs if sync.get("conflictHandler")), None)


def at_url(apis: Iterable[ApiFacts], urls: set[str]) -> list[ApiFacts]:
    """Return the APIs that answer at one of the endpoints."""
    wanted = {url.rstrip("/") for url in urls}
    return [each for each in apis if each.url and each.url.rstrip("/") in wanted]


def _facts(api: Mapping[str, Any]) -> ApiFacts:
    providers = [api, *(api.get("additionalAuthenticationProviders") or ())]
    pools = [(each.get("userPoolConfig") or {}).get("userPoolId") for each in providers]
    return ApiFacts(
        id=api["apiId"],
        name=str(api.get("name") or ""),
        url=(api.get("uris") or {}).get("GRAPHQL"),
        authentication=tuple(each["authenticationType"] for each in providers if each.get("authenticationType")),
        pools=tuple(pool for pool in pools if pool),
    )


def _source(name: str, config: Mapping[str, Any]) -> DataSource:
    return DataSource(name, config["tableName"], bool(config.get("versioned") or config.get("deltaSyncConfig")))
