"""One port of 127.0.0.1 behind which all of the world's services answer."""

import dataclasses
import json
import os
import threading
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.session import Session
from moto.core.base_backend import AccountSpecificBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from lib.demo import invoking, joining
from lib.demo.moto_speed import Quick

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from lib.demo.world import World

HOST = "127.0.0.1"
_HOSTS = (HOST, "localhost")
# Whatever profile or files this machine's user has set up for AWS, none of it is meant for the demo.
_NOBODYS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


def _session() -> boto3.Session:
    return boto3.Session(botocore_session=Session(_NOBODYS))


class _Handler(MotoRequestHandler):
    """Serves without a line per request on the terminal."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Server:
    """The world's web server: moto at once, the AppSync stand-in and the demo's own questions once it is open."""

    def __init__(self, region: str, port: int = 0) -> None:
        self._region = region
        # moto asks botocore for AWS's regions, which fails where AWS_PROFILE names a profile that is not there.
        AccountSpecificBackend.get_session = cache(_session)  # type: ignore[method-assign]
        self._world: World | None = None
        self._moto = Quick(DomainDispatcherApplication(create_backend_app), region)
        self._server = make_server(HOST, port, self, threaded=True, request_handler=_Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo world", daemon=True)
        self._thread.start()

    def open(self, world: "World") -> None:
        """Let the world's own parts answer too."""
        self._world = world

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, service: str, credentials: tuple[str, str]) -> Any:
        """Return a boto3 client that can reach nothing but this server."""
        return _session().client(
            service,
            region_name=self._region,
            endpoint_url=self.url,
            aws_access_key_id=credentials[0],
            aws_secret_access_key=credentials[1],
            config=Config(proxies={}, max_pool_connections=50, retries={"total_max_attempts": 1}),
        )

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request, whichever service it is for."""
        path = environ.get("PATH_INFO", "")
        # A web page may point a name of its own at 127.0.0.1; moto's control routes could erase the world.
        if environ.get("HTTP_HOST", "").rpartition(":")[0] not in _HOSTS or path.startswith("/moto-api"):
            return Response("Not here.", 403)(environ, start_response)
        world = self._world
        if world and path.startswith("/_demo/"):
            return _answer(world, Request(environ))(environ, start_response)
        if world and invoking.matches(world, path):
            return invoking.answer(world, Request(environ))(environ, start_response)
        if world and world.api.matches(path):
            return world.api.wsgi_app(environ, start_response)
        return self._moto(environ, start_response)


def _answer(world: "World", request: Request) -> Response:
    """Answer the demo's own questions; those about itself want JSON, which no foreign page can send."""
    what = request.path.removeprefix("/_demo/")
    if what in joining.BROKEN_APIS:
        return joining.BROKEN_APIS[what]()
    if request.mimetype != "application/json":
        return Response("Wants application/json.", 415)
    if what == "facts":
        return _json(dataclasses.asdict(world.facts))
    if what == "truth":
        return _json(world.truth().to_dict("records"))
    if what == "sign-up" and request.method == "POST":
        return _json(dataclasses.asdict(joining.perform(world, **request.get_json())))
    return Response("Not found.", 404)


def _json(value: Any) -> Response:
    return Response(json.dumps(value, default=str), content_type="application/json")
