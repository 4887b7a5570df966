"""Ports for servers of tests."""

import random
import socket
from contextlib import ExitStack, suppress

OURS = (15_000, 30_000)  # below those that a system hands out by itself


def free_ports(count: int = 1) -> int:
    """The first of some in a row that nobody has."""
    while True:
        first = random.randrange(*OURS)
        with ExitStack() as probes, suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.socket()).bind(("", port))
            return first
