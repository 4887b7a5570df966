"""Which runs are meant: what every list can be told, checked and written for the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, cast, get_args
from uuid import UUID

from stepwell.client.identity import Handle, checked, run_id_of
from stepwell.client.reading import LONGEST_LIST, checked_limit
from stepwell.db.call import Call
from stepwell.db.inspect import RunSummary, search_runs
from stepwell.define.definition import Definition, slug_of
from stepwell.define.labels import Metadata, checked_metadata, checked_tags
from stepwell.define.payload import encode
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError, PayloadError

Kind = Literal["flow", "machine", "job"]
Status = Literal["started", "completed", "failed", "cancelled"]
Definitions = Definition | str | Sequence[Definition | str]
Moment = datetime | timedelta
Place = UUID | RunSummary


class Filters(TypedDict, total=False):
    """What a list of runs can be asked for beside definition, kind and status; a run fits all that
    is said, and None says nothing.

    `tags`: it has all of them. `since` and `until`: when it started; `ended_since` and
    `ended_until`: when it ended; a timedelta is so long ago. `input` and `metadata`: parts of
    those of the run, as in `{"customer.id": 7}`.
    """

    key: str | None
    key_prefix: str | None
    schedule: str | None
    tags: Iterable[str] | None
    parent: UUID | str | Handle | None
    since: Moment | None
    until: Moment | None
    ended_since: Moment | None
    ended_until: Moment | None
    input: Mapping[str, Any] | None
    metadata: Metadata | None


def filters_of(
    flow: Definitions | None,
    kind: Kind | Iterable[Kind] | None,
    status: Status | Iterable[Status] | None,
    filters: Mapping[str, Any],
) -> dict[str, Any]:
    """The filters as search.sql names them; PayloadError for what no run can be."""
    said: dict[str, Any] = {}
    if flow is not None:
        several = flow if isinstance(flow, Sequence) and not isinstance(flow, str) else [flow]
        said["flow"] = [slug_of(each) for each in several]
    if kind is not None:
        said["kind"] = _words(kind, get_args(Kind), "is of kind")
    if status is not None:
        said["status"] = _words(status, get_args(Status), "has status")
    for name, value in filters.items():
        if name not in _WRITE:
            raise TypeError(f"a list of runs has no filter {name!r}{meant(name, _WRITE)}")
        if value is not None:
            said[name] = _WRITE[name](name, value)
    return said


def page_of(
    said: Mapping[str, Any],
    limit: int,
    before: Place | None = None,
    after: Place | None = None,
    *,
    oldest_first: bool = False,
) -> Call[RunSummary]:
    """One page of what these filters find. What lies just after a run is asked for from there on,
    so it comes oldest first."""
    page = dict(said)
    if before is not None:
        page["before"] = _place(before)
    if after is not None:
        page["after"] = _place(after)
    if oldest_first or (after is not None and before is None):
        page["oldest_first"] = True
    return search_runs(encode(page).decode(), checked_limit(limit, LONGEST_LIST))


def newest_first(
    rows: Sequence[RunSummary], before: Place | None, after: Place | None
) -> list[RunSummary]:
    """The page as it is shown."""
    return list(rows if after is None or before is not None else reversed(rows))


def _place(run: Place) -> dict[str, Any]:
    """A summary knows its place itself, also when the run was deleted meanwhile."""
    if isinstance(run, RunSummary):
        return {"id": run.id, "at": run.started_at}
    return {"id": run_id_of(run)}


def _words(given: object, known: Sequence[str], what: str) -> list[str]:
    words = [given] if isinstance(given, str) else list(cast("Iterable[Any]", given))
    for word in words:
        if word not in known:
            raise PayloadError(f"no run {what} {word!r}; it is one of {', '.join(known)}")
    return words


def _text(name: str, value: object) -> str:
    if name == "key":
        return checked(value)
    if not isinstance(value, str) or not value:
        raise PayloadError(f"{name} is {value!r}; give some text")
    return value


def _tags(name: str, value: object) -> list[str]:
    try:
        return list(checked_tags(value, "a list of runs"))
    except DefinitionError as error:
        raise PayloadError(str(error)) from error


def _parent(name: str, value: Any) -> UUID:
    return run_id_of(getattr(value, "id", value))


def _moment(name: str, value: object) -> str | float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise PayloadError(
            f"{name} is {value!r}; give a timedelta, for so long ago, or a datetime with a time "
            "zone, as in datetime(..., tzinfo=UTC)"
        )
    return value.isoformat()


def _parts(name: str, value: object) -> dict[str, Any]:
    """`{"customer.id": 7}` as what contains it: `{"customer": {"id": 7}}`."""
    try:
        given = checked_metadata(value, "a list of runs")
    except DefinitionError as error:
        raise PayloadError(str(error).replace("metadata", name)) from error
    found: dict[str, Any] = {}
    for path, part in given.items():
        for step in reversed(path.split(".")):
            part = {step: part}
        found = _merged(found, part, f"{name}: {path!r}")
    return found


def _merged(there: Mapping[str, Any], more: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Two paths may lead into the same object, and not to two values."""
    both = dict(there)
    for name, part in more.items():
        if name not in there:
            both[name] = part
        elif isinstance(there[name], Mapping) and isinstance(part, Mapping):
            both[name] = _merged(there[name], cast("Mapping[str, Any]", part), what)
        else:
            raise PayloadError(f"{what} contradicts another path at {name!r}; say each once")
    return both


_WRITE: Mapping[str, Callable[[str, Any], Any]] = {
    "key": _text,
    "key_prefix": _text,
    "schedule": _text,
    "tags": _tags,
    "parent": _parent,
    "since": _moment,
    "until": _moment,
    "ended_since": _moment,
    "ended_until": _moment,
    "input": _parts,
    "metadata": _parts,
}
