"""What a run can be started of: a machine with its state, a call of a job or of a flow."""

from __future__ import annotations


class Startable:
    """Marks the values that `client.start`, `client.enqueue` and `Spawn` take."""

    __slots__ = ()
