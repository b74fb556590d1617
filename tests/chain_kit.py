"""A whole chain as Amplify deploys it, on a scripted AWS, for a test to take a link away from or to change one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from aws_kit import POOL, Answer, Hasty, ScriptedAws, described_table, page, scripted_aws, settings

from lib.aws.discovery import Chain, chain
from lib.model import Wiring, now

KEY = "da2-abcdefghijklmnopqrstuvwxyz"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:PreSignup-dev"
OTHER = "arn:aws:lambda:eu-west-1:123456789012:function:Confirm-dev:live"
API = {
    "API_APP_GRAPHQLAPIIDOUTPUT": "abc",
    "API_APP_GRAPHQLAPIENDPOINTOUTPUT": "https://x.appsync-api.eu-west-1.amazonaws.com/graphql",
    "API_APP_GRAPHQLAPIKEYOUTPUT": KEY,
}
EXPIRES = int((now() + timedelta(days=5)).timestamp())


def attached(fake: ScriptedAws, **triggers: Any) -> None:
    fake.script("DescribeUserPool", page(UserPool={"Id": POOL, "LambdaConfig": triggers}))


def function(fake: ScriptedAws, arn: str, variables: dict[str, str] | None, **members: Any) -> None:
    environment = {"Environment": {"Variables": variables}} if variables is not None else {}
    answer = page(FunctionName=arn.split(":")[6], State="Active", **environment, **members)
    for name in (arn.replace(":", "%3A"), arn.split(":")[6]):
        fake.script(f"GET /2015-03-31/functions/{name}/configuration", answer)


def source(name: str, table: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "type": "AMAZON_DYNAMODB", "dynamodbConfig": {"tableName": table, "awsRegion": "x"} | config}


@contextmanager
def whole_chain() -> Iterator[ScriptedAws]:
    arn = b"<R><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/me</Arn></GetCallerIdentityResult></R>"
    with scripted_aws() as served:
        served.script("POST /", Answer(arn))
        attached(served, PreSignUp=FUNCTION)
        function(served, FUNCTION, API)
        function(served, OTHER, {})
        sources = [{"name": "NONE_DS", "type": "NONE"}, source("PostTable", "Post-abc-dev")]
        sources.append(source("UserTable", "User-abc-dev", versioned=True))
        served.script("GET /v1/apis/abc/datasources", page(dataSources=sources))
        sync = {"conflictDetection": "VERSION", "conflictHandler": "AUTOMERGE"}
        resolvers = [{"fieldName": "createPost", "dataSourceName": "PostTable"}]
        resolvers.append({"fieldName": "createUser", "dataSourceName": "UserTable", "syncConfig": sync})
        served.script("GET /v1/apis/abc/types/Mutation/resolvers", page(resolvers=resolvers))
        served.script("GET /v1/apis", page(graphqlApis=[]))
        served.script("GET /v1/apis/abc/apikeys", page(apiKeys=[{"id": KEY, "expires": EXPIRES}]))
        group = {"logGroupName": "/aws/lambda/PreSignup-dev", "creationTime": 1694153465123, "retentionInDays": 45}
        served.script("DescribeLogGroups", page(logGroups=[group]))
        served.script("DescribeTable", described_table())
        yield served


def discovered(fake: ScriptedAws, **changed: Any) -> Wiring:
    return chained(fake, **changed).wiring


def chained(fake: ScriptedAws, **changed: Any) -> Chain:
    return chain(Hasty(settings(fake.url, **changed)))


def graphql_api(api_id: str, url: str, pool: str | None = None, *, first: bool = False) -> dict[str, Any]:
    by_pool = {"authenticationType": "AMAZON_COGNITO_USER_POOLS", "userPoolConfig": {"userPoolId": pool}}
    by_key = {"authenticationType": "API_KEY"}
    ways = (by_pool, by_key) if first else (by_key, by_pool)
    return {"apiId": api_id, "uris": {"GRAPHQL": url}, **ways[0], "additionalAuthenticationProviders": [ways[1]]}
