"""What each AWS call needs of IAM: the action that stands beside the call, on which link of the chain, and for what.

A test compares this with the calls themselves, and with what really goes out.
"""

from dataclasses import dataclass

READ = "read"
REPAIR = "repair"
SET_UP = "set_up"
"""Only to choose a pool, by `init` and by the pages where nothing is configured: no part of an environment's policy."""


@dataclass(frozen=True)
class Permission:
    """One action on one kind of resource; ``anything`` is for actions that IAM cannot narrow down."""

    action: str
    on: str  # pool, table, function, log_group, api, query, mutation or anything
    use: str = READ


PERMISSIONS = (
    Permission("cognito-idp:DescribeUserPool", "pool"),
    Permission("cognito-idp:ListUsers", "pool"),
    Permission("dynamodb:DescribeTable", "table"),
    Permission("dynamodb:DescribeContinuousBackups", "table"),
    Permission("dynamodb:Scan", "table"),
    Permission("dynamodb:BatchGetItem", "table"),
    Permission("lambda:GetFunctionConfiguration", "function"),
    Permission("lambda:GetPolicy", "function"),
    Permission("logs:FilterLogEvents", "log_group"),
    Permission("appsync:GetGraphqlApi", "api"),
    Permission("appsync:GraphQL", "query"),
    Permission("appsync:ListApiKeys", "anything"),
    Permission("appsync:ListDataSources", "anything"),
    Permission("appsync:ListGraphqlApis", "anything"),
    Permission("appsync:ListResolvers", "anything"),
    Permission("cloudwatch:GetMetricData", "anything"),
    Permission("logs:DescribeLogGroups", "anything"),
    Permission("sts:GetCallerIdentity", "anything"),
    Permission("cognito-idp:AdminGetUser", "pool", REPAIR),
    Permission("dynamodb:GetItem", "table", REPAIR),
    Permission("dynamodb:PutItem", "table", REPAIR),
    Permission("dynamodb:UpdateItem", "table", REPAIR),
    Permission("dynamodb:DeleteItem", "table", REPAIR),
    Permission("appsync:GraphQL", "mutation", REPAIR),
    Permission("lambda:InvokeFunction", "function", REPAIR),
    Permission("appsync:UpdateApiKey", "anything", REPAIR),
    Permission("cognito-idp:ListUserPools", "anything", SET_UP),
)

GRAPHQL_FIELDS = {
    "query": ("getUser", "__type", "__typename"),
    "mutation": ("createUser", "updateUser", "deleteUser"),
}
"""The fields of the app's API that are called; IAM allows each by itself."""
