"""A tiny bus: `subscribed` a function, `emit` a value. A broken subscriber never breaks a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from stepwell.observe.events import Event

Subscriber = Callable[[Event], None]

_subscribers: ContextVar[tuple[Subscriber, ...]] = ContextVar("stepwell_subscribers", default=())
log = logging.getLogger("stepwell")


def emit(event: Event) -> None:
    for subscriber in _subscribers.get():
        try:
            subscriber(event)
        except Exception:
            log.exception("subscriber %r failed on %r", subscriber, event)


@contextmanager
def subscribed(*subscribers: Subscriber) -> Generator[None]:
    """Subscribe for the length of a block, and for every task started inside it."""
    token = _subscribers.set(_subscribers.get() + subscribers)
    try:
        yield
    finally:
        _subscribers.reset(token)
