"""Refuse every connection that leaves this machine, in the tests and in each process they start.

Python imports this by itself where the folder is on PYTHONPATH; conftest.py puts it there and imports it too.
"""

import socket

_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def _refuse_outside(address: object) -> None:
    if isinstance(address, tuple) and not str(address[0]).startswith(_LOCAL):
        raise RuntimeError(f"a test tried to reach {address[0]}, which is not on this machine")


class GuardedSocket(socket.socket):
    """A socket that connects to loopback and to local files only."""

    def connect(self, address, /):
        _refuse_outside(address)
        return super().connect(address)

    def connect_ex(self, address, /):
        _refuse_outside(address)
        return super().connect_ex(address)


socket.socket = GuardedSocket
