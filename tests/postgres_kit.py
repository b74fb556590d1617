"""A PostgreSQL server of the tests' own: in a folder of its own, on a port of its own, gone with the process."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

MISSING = "PostgreSQL is not installed here. On Debian: apt install postgresql."
_PATIENCE_S = 60


def programs() -> Path | None:
    """Where the newest server's programs are, None where there are none."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    # Debian keeps them off the PATH, one folder per version.
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[4]))
    return installed[-1].parent if installed else None


class Postgres:
    """One running server; each ``url()`` leads to an empty place in it."""

    def __init__(self) -> None:
        found = programs()
        assert found, MISSING
        self._numbers = count()
        self._folder = Path(tempfile.mkdtemp(prefix="pooltable-postgres-"))
        # It refuses to run as root.
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        self._options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        if user:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data, self._port = str(self._folder / "data"), _free_port()
        made = [found / "initdb", "-D", data, "-U", "pooltable", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run(made, check=True, **self._options)
        settings = {"listen_addresses": "127.0.0.1", "port": self._port, "unix_socket_directories": self._folder}
        settings |= {"fsync": "off", "max_connections": 80}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen([found / "postgres", "-D", data, *given], **self._options)
        self._until_it_answers()

    @property
    def _dsn(self) -> str:
        return f"postgresql://pooltable@127.0.0.1:{self._port}/postgres"

    def url(self) -> str:
        """Return the URL of a new, empty schema."""
        name = f"journal{next(self._numbers)}"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self._dsn.replace('postgresql:', 'postgresql+psycopg:')}?options=-csearch_path%3D{name}"

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        # The fast way: without it the server waits for every client to go.
        self._server.send_signal(signal.SIGINT)
        self._server.wait(_PATIENCE_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _until_it_answers(self) -> None:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                psycopg.connect(self._dsn).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
