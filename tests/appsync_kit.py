"""AppSync's stand-in on a port of its own, over a table in moto, and its clients."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
import pytest
import urllib3
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler, make_server

from lib.demo.appsync import AppSync
from lib.model import now

REGION = "ap-southeast-1"
API = "abcdefghijklmnopqrstuvwxyz"
APPLICATION = "id email owner createdAt updatedAt __typename"
SYNC = f"{APPLICATION} _version _deleted _lastChangedAt"
LOST_RACE = "DynamoDB:ConditionalCheckFailedException"
CREATE = b'{"query": "mutation { createUser(input: {id: \\"a\\"}) { id } }"}'

unversioned = pytest.mark.parametrize("served", [{"versioned": False}], indirect=True, ids=["unversioned"])
optimistic = pytest.mark.parametrize("served", [{"conflict_handler": "OPTIMISTIC_CONCURRENCY"}], indirect=True)
both_handlers = pytest.mark.parametrize(
    "served", [{}, {"conflict_handler": "OPTIMISTIC_CONCURRENCY"}], indirect=True, ids=["automerge", "optimistic"]
)


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def client(service: str, url: str) -> Any:
    names = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
    return boto3.client(service, endpoint_url=url, **names)


@contextmanager
def tables() -> Iterator[Any]:
    """Yield a DynamoDB client of a moto server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield client("dynamodb", f"http://{host}:{port}")
    server.stop()


class Served:
    """One API on a port of its own, as its clients see it."""

    def __init__(self, dynamodb: Any, **options: Any) -> None:
        self.table = f"User-{now().timestamp()}-dev"
        self.dynamodb = dynamodb
        dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.appsync = AppSync(table=self.table, dynamodb_client=dynamodb, api_id=API, region=REGION, **options)
        self.server = make_server("127.0.0.1", 0, self.appsync.wsgi_app, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.appsync.url = f"{self.base}/graphql"
        self.key = self.appsync.add_key(now() + timedelta(days=7)).key
        self.http = urllib3.PoolManager()
        self.fields = SYNC if options.get("versioned", True) else APPLICATION

    def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        answer = self.http.request("POST", self.appsync.url, body=body, headers=headers, retries=False, timeout=10)
        html = answer.headers["Content-Type"].startswith("text/html")
        return answer.status, answer.data.decode() if html else answer.json()

    def ask(self, query: str, **variables: Any) -> Any:
        status, body = self.post(json.dumps({"query": query, "variables": variables}).encode(), {"x-api-key": self.key})
        assert status == 200
        return body

    def mutate(self, verb: str, condition: Any = None, **given: Any) -> Any:
        """Return the whole answer of createUser, updateUser or deleteUser."""
        names = f"$input: {verb.title()}UserInput!, $condition: ModelUserConditionInput"
        call = f"{verb}User(input: $input, condition: $condition) {{ {self.fields} }}"
        return self.ask(f"mutation M({names}) {{ {call} }}", input=given, condition=condition)

    def done(self, verb: str, condition: Any = None, **given: Any) -> dict[str, Any]:
        body = self.mutate(verb, condition, **given)
        assert "errors" not in body
        return dict(body["data"][f"{verb}User"])

    def refused(self, verb: str, condition: Any = None, **given: Any) -> dict[str, Any]:
        body = self.mutate(verb, condition, **given)
        assert body["data"] == {f"{verb}User": None}
        return dict(body["errors"][0])

    def item(self, id: str) -> dict[str, Any]:
        return dict(self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": id}}).get("Item", {}))

    def stop(self) -> None:
        self.http.clear()
        self.server.shutdown()
        self.server.server_close()
