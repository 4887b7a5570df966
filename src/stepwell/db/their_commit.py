"""After a transaction of the caller's: what its library calls once it is committed. Neither
SQLAlchemy nor Django is imported before the caller brought something of theirs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from importlib import import_module
from typing import Any

Send = Callable[..., None]
PENDING = "stepwell after commit"  # in Session.info: who is called, with what


def after_commit(conn: Any, send: Send, what: Iterable[Hashable]) -> bool:
    """Have `send(*what)` called once the transaction of `conn` is committed, and never if it is
    rolled back; False where its library has no such hook."""
    if is_of(conn, "django"):
        conn.on_commit(partial(send, *what))
        return True
    session = session_of(conn)
    if session is None:
        return False
    pending: dict[Send, set[Hashable]] | None = session.info.get(PENDING)
    if pending is None:
        pending = session.info[PENDING] = {}
        listen = import_module("sqlalchemy.event").listen
        listen(session, "after_commit", send_pending)
        listen(session, "after_rollback", forget_pending)
    pending.setdefault(send, set()).update(what)
    return True


def send_pending(session: Any) -> None:
    if session.in_nested_transaction():  # a savepoint that is released is no commit
        return
    pending: dict[Send, set[Hashable]] = session.info[PENDING]
    for send, what in list(pending.items()):
        send(*what)
    pending.clear()


def forget_pending(session: Any) -> None:
    if not session.in_nested_transaction():
        session.info[PENDING].clear()


def session_of(conn: Any) -> Any:
    """The session of SQLAlchemy inside of what the caller brought; its connections have no hook for
    what comes after a commit."""
    if not is_of(conn, "sqlalchemy"):
        return None
    if hasattr(conn, "registry") and callable(conn):  # scoped_session, async_scoped_session
        conn = conn()
    session = getattr(conn, "sync_session", conn)
    return session if hasattr(session, "get_bind") else None


def is_of(value: object, package: str) -> bool:
    """Whether a class of this package made it."""
    return any(cls.__module__.partition(".")[0] == package for cls in type(value).__mro__)
