"""Puts a history into moto's backends: what its API would refuse or not back-date goes in directly."""

import io
import json
import secrets
import string
import zipfile
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.cognitoidp.models import CognitoIdpUser, CognitoIdpUserPool, cognitoidp_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.logs.models import LogEvent, logs_backends

from lib.demo.history import History, Place, by_stream
from lib.demo.loglines import MEMORY_MB, TIMEOUT_S
from lib.demo.scenes import DAY
from lib.demo.story import Account

REGION = "ap-southeast-1"
METRIC_DAYS = 2
_LETTERS = string.ascii_letters + string.digits
_ROLE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]}


def random_id(length: int, letters: str = _LETTERS) -> str:
    """Return an id as AWS makes them up; worlds must differ in theirs, so no seed decides it."""
    return "".join(secrets.choice(letters) for _ in range(length))


def create_pool(region: str, function_arn: str) -> CognitoIdpUserPool:
    """Create the pool: people sign in with their e-mail, so Cognito makes up the usernames."""
    config = {
        "UsernameAttributes": ["email"],
        "AutoVerifiedAttributes": ["email"],
        "UsernameConfiguration": {"CaseSensitive": False},
        "LambdaConfig": {"PreSignUp": function_arn},
    }
    pool = CognitoIdpUserPool(DEFAULT_ACCOUNT_ID, region, "pooltable-dev", config)
    pool.id = f"{region}_{random_id(9)}"
    pool.arn = f"arn:aws:cognito-idp:{region}:{DEFAULT_ACCOUNT_ID}:userpool/{pool.id}"
    backend = cognitoidp_backends[DEFAULT_ACCOUNT_ID][region]
    backend.user_pools[pool.id] = pool
    return pool


def create_table(dynamodb: Any, name: str) -> None:
    """Create the table as Amplify does."""
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def create_function(iam: Any, function: Any, name: str, variables: dict[str, str]) -> str:
    """Create the trigger as far as it can be described, and return its ARN; nothing here ever runs it."""
    role = iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(_ROLE))
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.js", "exports.handler = async (event) => event;\n")
    created = function.create_function(
        FunctionName=name,
        Runtime="nodejs22.x",
        Handler="index.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": package.getvalue()},
        Timeout=TIMEOUT_S,
        MemorySize=MEMORY_MB,
        Environment={"Variables": variables},
    )
    return str(created["FunctionArn"])


def let_cognito_invoke(function: Any, name: str, pool_arn: str) -> None:
    """Add the statement to the function's resource policy that Amplify deploys with the trigger."""
    function.add_permission(
        FunctionName=name,
        StatementId="cognito",
        Action="lambda:InvokeFunction",
        Principal="cognito-idp.amazonaws.com",
        SourceArn=pool_arn,
    )


def count_runs(history: History, region: str, function: str) -> None:
    """Put Lambda's own count of the last days' runs and errors into CloudWatch, a point an hour."""
    since = history.now - METRIC_DAYS * DAY
    runs = [(run, story.at + timedelta(seconds=run.after_s)) for story in history.stories for run in story.runs]
    counts: Counter[tuple[str, datetime]] = Counter()
    for run, started_at in runs:
        hour = started_at.replace(minute=0, second=0, microsecond=0)
        if since <= hour and run.ending != "incomplete":
            counts["Invocations", hour] += 1
            counts["Errors", hour] += run.ending != "completed"
    points = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "FunctionName", "Value": function}],
            "Timestamp": hour.replace(tzinfo=None),  # moto keeps UTC without saying so
            "Value": float(count),
            "Unit": "Count",
        }
        for (metric, hour), count in counts.items()
    ]
    cloudwatch_backends[DEFAULT_ACCOUNT_ID][region].put_metric_data("AWS/Lambda", points)


def create_log_group(logs: Any, region: str, name: str, created_at: datetime) -> None:
    """Create the log group, of any age, keeping its events for ever."""
    logs.create_log_group(logGroupName=name)
    logs_backends[DEFAULT_ACCOUNT_ID][region].groups[name].creation_time = created_at.replace(tzinfo=None)


def seed(history: History, place: Place, table: str, log_group: str) -> None:
    """Fill pool, table and log group."""
    pool = cognitoidp_backends[DEFAULT_ACCOUNT_ID][place.region].user_pools[place.pool]
    for account in history.accounts():
        add_account(pool, account)
    items = dynamodb_backends[DEFAULT_ACCOUNT_ID][place.region].tables[table]
    for row in history.rows():
        items.put_item(row)
    for stream, events in by_stream(history.events(place)):
        put_events(place.region, log_group, stream, events)


def add_account(pool: CognitoIdpUserPool, account: Account) -> None:
    """Put an account into the pool as it is, dates and status too."""
    attributes = [{"Name": name, "Value": value} for name, value in account.attributes.items()]
    user = CognitoIdpUser(pool.id, account.username, None, account.status, attributes)
    user.id = account.attributes["sub"]
    user.update_attributes([{"Name": "sub", "Value": user.id}])
    user.enabled, user.create_date, user.last_modified_date = account.enabled, account.created_at, account.modified_at
    pool.users[account.username] = user


def has_row(region: str, table: str, row_id: str) -> bool:
    """Return whether the table holds a row of this id."""
    items = dynamodb_backends[DEFAULT_ACCOUNT_ID][region].tables[table]
    return items.get_item(DynamoType({"S": row_id})) is not None


def put_events(region: str, log_group: str, stream: str, events: list[dict[str, Any]]) -> None:
    """Append events to a stream, with their own ids and whatever their age."""
    group = logs_backends[DEFAULT_ACCOUNT_ID][region].groups[log_group]
    if stream not in group.streams:
        group.create_log_stream(stream)
    group.streams[stream].put_log_events([])
    added = []
    for event in events:
        kept = LogEvent(event["ingestionTime"], event)
        kept.event_id = int(event["eventId"])
        added.append(kept)
    group.streams[stream].events += added


def forget(region: str, pool: str, table: str, log_group: str) -> None:
    """Take a world's pool, table and log group out of this process again."""
    cognitoidp_backends[DEFAULT_ACCOUNT_ID][region].user_pools.pop(pool, None)
    dynamodb_backends[DEFAULT_ACCOUNT_ID][region].tables.pop(table, None)
    logs_backends[DEFAULT_ACCOUNT_ID][region].groups.pop(log_group, None)
