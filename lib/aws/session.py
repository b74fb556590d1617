"""One session and one client per service for an environment; every call to AWS starts here."""

import os
import threading
from contextlib import AbstractContextManager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from lib.aws import errors
from lib.aws.bulk import watch_answers
from lib.config import Settings, is_loopback
from lib.model import ConfigError, CredentialsError

SERVICES = ("cognito-idp", "dynamodb", "logs", "lambda", "appsync", "sts")
WORKERS = 4
"""Threads that read one source at a time."""

_READS = {"mode": "adaptive", "total_max_attempts": 8}
_WRITES = {"mode": "standard", "total_max_attempts": 3}
_ONCE = {"mode": "standard", "total_max_attempts": 1}
_USES: dict[str, tuple[dict[str, Any], int]] = {"read": (_READS, 20), "write": (_WRITES, 20), "once": (_ONCE, 60)}
"""How often a request is sent, and how many seconds an answer may take."""


class Aws:
    """The AWS account behind one environment. Safe to share between threads; nothing is contacted before a call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.region = settings.region or settings.user_pool_id.rpartition("_")[0]
        # Sessions are not thread-safe, clients are: everything on the session happens under this lock.
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._clients: dict[tuple[str, str], Any] = {}

    def calling(self, doing: str, *, action: str) -> AbstractContextManager[None]:
        """Return ``errors.calling`` for this environment's profile."""
        return errors.calling(doing, action, self.settings.profile)

    def client(self, service: str) -> Any:
        """Return the client that reads from a service; made once. Bulk answers of it stay unparsed (see ``bulk``)."""
        return self._made(service, "read")

    def writer(self, service: str) -> Any:
        """Return the client that writes to a service; made once. It retries less, and its answers are parsed."""
        return self._made(service, "write")

    def once(self, service: str) -> Any:
        """Return the client that sends each request but once, and waits a minute for its answer; made once."""
        return self._made(service, "once")

    def endpoint(self, service: str) -> str:
        """Return the URL that a service is called at."""
        return self._configured_endpoint(service) or str(self.client(service).meta.endpoint_url)

    def on_loopback(self, *others: str) -> bool:
        """Return whether every service (and every URL in ``others``) is on this machine.

        Raises ``ConfigError`` where some are and some are not: that would repair one world by another's facts.
        """
        endpoints = {service: self.endpoint(service) for service in SERVICES} | {url: url for url in others}
        local = {name for name, url in endpoints.items() if is_loopback(url)}
        if local and len(local) < len(endpoints):
            raise ConfigError(
                f"{self.settings.name} mixes this machine ({', '.join(sorted(local))}) with AWS "
                f"({', '.join(sorted(set(endpoints) - local))}). Set endpoint_url for all services or for none."
            )
        return bool(local)

    def identity(self) -> str:
        """Return the ARN that AWS knows the caller by."""
        with self.calling("ask AWS who is calling", action="sts:GetCallerIdentity"):
            return str(self.client("sts").get_caller_identity()["Arn"])

    def credentials(self) -> ReadOnlyCredentials:
        """Return the credentials of this moment, for signing a request by hand."""
        with self._lock, self.calling("sign a request", action=""):
            found = self._opened().get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        if frozen is None:
            raise CredentialsError(
                "Cannot sign a request: there are no AWS credentials. Set `profile` for the environment in "
                "pooltable.toml, or give AWS credentials the way the AWS CLI takes them.",
                action="",
                code="NoCredentialsError",
            )
        return frozen

    def _made(self, service: str, use: str) -> Any:
        with self._lock:
            if (service, use) not in self._clients:
                with self.calling(f"set up the client of {service}", action=""):
                    self._clients[service, use] = self._new_client(service, use)
            return self._clients[service, use]

    def _new_client(self, service: str, use: str) -> Any:
        endpoint = self._configured_endpoint(service)
        config = self._config(endpoint, *_USES[use])
        try:
            client = self._opened().client(service, region_name=self.region, endpoint_url=endpoint, config=config)
        except ValueError as error:
            raise ConfigError(
                f"{endpoint!r} cannot be the endpoint of {service}. Correct it in pooltable.toml."
            ) from error
        watch_answers(client, keep_bulk=use == "read")
        return client

    def _opened(self) -> boto3.Session:
        if self._session is None:
            self._session = _isolated(self.settings.credentials) if self.settings.credentials else self._of_profile()
        return self._session

    def _of_profile(self) -> boto3.Session:
        # boto3 itself ignores AWS_REGION: the region always comes from the pool id.
        return boto3.Session(profile_name=self.settings.profile, region_name=self.region)

    def _configured_endpoint(self, service: str) -> str | None:
        return self.settings.endpoint_urls.get(service) or self.settings.endpoint_url

    @staticmethod
    def _config(endpoint: str | None, retries: dict[str, Any], read_timeout: int) -> Config:
        return Config(
            retries=retries,
            connect_timeout=3,
            read_timeout=read_timeout,
            max_pool_connections=2 * WORKERS,
            # A proxy of the environment would be asked for its own 127.0.0.1.
            proxies={} if endpoint and is_loopback(endpoint) else None,
        )


def _isolated(credentials: tuple[str, str]) -> boto3.Session:
    """Return a session that reads none of the user's own AWS configuration, which must not reach an embedded world."""
    nothing: dict[str, Any] = {
        "profile": (None, [], None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session = botocore.session.Session(session_vars=nothing)
    return boto3.Session(
        botocore_session=session, aws_access_key_id=credentials[0], aws_secret_access_key=credentials[1]
    )
