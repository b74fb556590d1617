"""A pool, a table and an API on one port, with a gate in front that breaks writes and bears witness of them."""

import io
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.config import Config
from moto.cognitoidp.models import CognitoIdpUser, cognitoidp_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from lib import reconcile
from lib.aws import pool, table, writers
from lib.aws.session import Aws
from lib.config import Settings
from lib.demo.appsync import AppSync
from lib.demo.server import Server
from lib.model import INVOCATIONS, SEEN, Wiring, iso, now
from lib.repair.plan import plan
from lib.snapshot import Snapshot

REGION = "eu-west-1"
KEYS = ("testing", "testing")
_WRITES = ("PutItem", "UpdateItem", "DeleteItem")


@dataclass(frozen=True)
class Fault:
    """What befalls a write: an HTTP status or `reset`, before the service hears of it or after it did it."""

    how: int | str
    after: bool = False
    code: str = "InternalServerError"


class _Quiet(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Gate:
    """WSGI in front of the services: breaks the writes it is told to, counts those that were done."""

    def __init__(self, services: Callable[..., Iterable[bytes]]) -> None:
        self._services = services
        self._lock = threading.Lock()
        self.faults: list[Fault | None] = []
        self.read_faults: list[Fault | None] = []
        self.before_write: Callable[[], None] | None = None
        self.done: list[str] = []
        self.tried = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        kind = self._kind(environ, body)
        if environ.get("HTTP_X_PLAIN"):
            return self._services(environ, start_response)
        if kind == "read":
            with self._lock:
                fault = self.read_faults.pop(0) if self.read_faults else None
            answer = self._answer(fault, environ) if fault else self._services
            return answer(environ, start_response)
        with self._lock:
            self.tried += 1
            fault = self.faults.pop(0) if self.faults else None
        if self.before_write:
            self.before_write()
        if fault and not fault.after:
            return self._answer(fault, environ)(environ, start_response)
        answer = Response.from_app(self._services, environ)
        said = answer.get_data(as_text=True)
        if answer.status_code == 200 and '"errors"' not in said:
            with self._lock:
                self.done.append(kind)
        if fault:
            return self._answer(fault, environ)(environ, start_response)
        return answer(environ, start_response)

    @staticmethod
    def _kind(environ: dict[str, Any], body: bytes) -> str:
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if target in _WRITES:
            return target
        if environ.get("PATH_INFO") == "/graphql" and b"mutation" in body:
            return json.loads(body)["query"].split()[1].partition("(")[0]
        return "read"

    @staticmethod
    def _answer(fault: Fault, environ: dict[str, Any]) -> Response:
        if fault.how == "reset":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        content = json.dumps({"__type": fault.code, "message": "told to", "errors": [{"errorType": fault.code}]})
        return Response(content, int(fault.how), content_type="application/x-amz-json-1.0")


class Town:
    """One environment of its own behind the gate."""

    def __init__(self, server: "Services", *, versioned: bool, writer: str, handler: str = "AUTOMERGE") -> None:
        self.gate = server.gate
        self.gate.faults, self.gate.read_faults, self.gate.done, self.gate.tried = [], [], [], 0
        self.gate.before_write = None
        self.dynamodb = server.client("dynamodb")
        self._cognito = server.client("cognito-idp")
        self.pool = self._cognito.create_user_pool(PoolName="people")["UserPool"]["Id"]
        self.table = f"User-{self.pool.rpartition('_')[2]}"
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.api = AppSync(
            table=self.table,
            dynamodb_client=self.dynamodb,
            api_id="a" * 26,
            region=REGION,
            versioned=versioned,
            conflict_handler=handler,
        )
        server.services.open(SimpleNamespace(api=self.api))
        self.versioned = versioned
        self.settings = Settings(
            "test",
            self.pool,
            REGION,
            endpoint_url=server.url,
            table=self.table,
            graphql_url=f"{server.url}/graphql" if writer == "appsync" else None,
            writer=writer,
            api_key=self.api.add_key(now() + timedelta(days=7)).key,
            credentials=KEYS,
            list_users_rps=1000,
            max_repair_percent=100,
        )
        self.aws = server.aws_of(self.settings)
        self.wiring = Wiring(
            self.pool,
            REGION,
            table=self.table,
            versioned=versioned,
            grace_minutes=0,
            graphql_url=self.settings.graphql_url,
        )
        self.world = writers.world(self.aws, self.wiring, writer)

    def account(self, name: str, email: str | None = "", **attributes: str) -> None:
        email = f"{name}@mail.test" if email == "" else email
        given = {"sub": f"sub-{name}", **({"email": email, "email_verified": "true"} if email else {}), **attributes}
        listed = [{"Name": key, "Value": value} for key, value in given.items()]
        user = CognitoIdpUser(self.pool, name, None, "CONFIRMED", listed)
        user.id = given["sub"]
        user.update_attributes([{"Name": "sub", "Value": user.id}])
        user.create_date = user.last_modified_date = now() - timedelta(days=1)
        self._users[name] = user

    def change_email(self, name: str, email: str) -> None:
        self._users[name].update_attributes([{"Name": "email", "Value": email}])

    def forget(self, name: str) -> None:
        del self._users[name]

    @property
    def _users(self) -> Any:
        return cognitoidp_backends[DEFAULT_ACCOUNT_ID][REGION].user_pools[self.pool].users

    def row(self, name: str, **attributes: Any) -> dict[str, Any]:
        at = {"S": iso(now() - timedelta(days=1))}
        item = {"id": {"S": name}, "email": {"S": f"{name}@mail.test"}, "owner": {"S": f"sub-{name}::{name}"}}
        item |= {"__typename": {"S": "User"}, "createdAt": at, "updatedAt": at}
        if self.versioned:
            item |= {"_version": {"N": "1"}, "_lastChangedAt": {"N": "1700000000000"}}
        item |= attributes
        self.dynamodb.put_item(TableName=self.table, Item=item)
        return item

    def change(self, id: str, name: str, value: dict[str, Any]) -> None:
        self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": id}},
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues={":v": value},
        )

    def remove(self, id: str) -> None:
        self.dynamodb.delete_item(TableName=self.table, Key={"id": {"S": id}})

    def rows(self) -> dict[str, dict[str, Any]]:
        items = self.dynamodb.scan(TableName=self.table)["Items"]
        return {item["id"]["S"]: item for item in items}

    def snapshot(self) -> Snapshot:
        began = now()
        accounts, rows = pool.read_accounts(self.aws), table.read_rows(self.aws, self.table)
        assert accounts.source.complete, accounts.source.why_not
        assert rows.source.complete, rows.source.why_not
        tables = [accounts.table, rows.table, INVOCATIONS.empty_table(), SEEN.empty_table()]
        sources = {"accounts": accounts.source, "rows": rows.source, "invocations": replace(rows.source, count=0)}
        manifest = {
            "environment": "test",
            "started_at": iso(began),
            "complete": True,
            "suspicious": False,
            "reasons": [],
            "sources": {name: source.manifest() for name, source in sources.items()},
            "wiring": self.wiring.manifest(),
            "digest": iso(began),
        }
        read = dict(zip(("accounts", "rows", "invocations", "seen"), tables, strict=True))
        read["findings"] = reconcile.findings(reconcile.reconcile(*tables, manifest))
        return Snapshot(iso(began), manifest, read.__getitem__)

    def plan(self, **chosen: Any) -> Any:
        return plan(self.snapshot(), self.settings, **chosen)


class Services:
    """The port that all towns share, one after the other."""

    def __init__(self) -> None:
        self.services = Server(REGION)
        self.gate = Gate(self.services)
        self._aws: Aws | None = None
        self._clients: dict[str, Any] = {}
        self._server = make_server("127.0.0.1", 0, self.gate, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def aws_of(self, settings: Settings) -> Aws:
        """Return the clients, made once, for another town: making them takes a second."""
        self._aws = self._aws or Aws(settings)
        self._aws.settings = settings
        return self._aws

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._plain_client(service)
        return self._clients[service]

    def _plain_client(self, service: str) -> Any:
        client = boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
            config=Config(proxies={}),
        )
        client.meta.events.register("before-sign", lambda request, **_: request.headers.add_header("x-plain", "1"))
        return client

    def town(self, *, versioned: bool, writer: str, handler: str = "AUTOMERGE") -> Town:
        return Town(self, versioned=versioned, writer=writer, handler=handler)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.services.stop()
