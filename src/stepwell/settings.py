"""Every knob, in one frozen value. A typo never becomes a default."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stepwell.errors import SettingsError

PREFIX = "STEPWELL_"
# read by the embedded Postgres and by our own tests
EXTRAS = frozenset({"STEPWELL_HOME", "STEPWELL_PG_BIN"})
MAX_PAYLOAD = 16 * 2**20
TEST_PREFIX = "STEPWELL_TEST_"
_KINDS = {"str": "text", "int": "a whole number", "float": "a number of seconds"}


def _knob(
    default: Any,
    says: str,
    least: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "seconds",
    most: float = math.inf,
) -> Any:
    facts = {"help": says, "least": least, "above": above, "most": most}
    return field(default=default, metadata=facts | {"choices": choices, "unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What a client and a worker can be told. Times are seconds.

    >>> Settings(dsn="postgresql://ada:secret@db/shop", concurrency=50)
    Settings(dsn='postgresql://ada:***@db/shop', concurrency=50)
    """

    dsn: str = _knob("", "Postgres connection string; empty: libpq's own PG* variables")
    name: str = _knob("worker", "what the worker is called in the database and in logs")
    processes: int = _knob(1, "worker processes that `stepwell worker` starts", least=1, most=1000)
    concurrency: int = _knob(10, "tasks one worker runs at once", least=1)
    flow_concurrency: str = _knob(
        "", "of some flows, machines or jobs fewer at once: greet=5,send_welcome=2"
    )
    threads: int = _knob(0, "sync handlers it runs at once; 0: as many as concurrency", least=0)
    body_processes: int = _knob(
        0, "child processes for bodies with process=True; 0: as many as there are cores", least=0
    )
    lease: float = _knob(30.0, "seconds until a lost worker's tasks are in other hands", above=0)
    grace: float = _knob(20.0, "seconds running tasks get to finish after a stop", least=0)
    poll: float = _knob(2.0, "longest sleep between two looks for work when idle", above=0)
    queues: str = _knob("", "queues a worker serves, separated by commas; empty: all of its app")
    listen_dsn: str = _knob("", "direct address for LISTEN when dsn is a transaction pooler")
    connect_timeout: float = _knob(10.0, "seconds to wait for a connection to Postgres", above=0)
    wake: str = _knob(
        "notify",
        "how an idle worker hears of work: notify (it listens, and polls) or poll (it only polls)",
        choices=("notify", "poll"),
    )
    health_port: int = _knob(
        0, "port of the health endpoint; 0: there is none", least=0, most=65535
    )
    health_host: str = _knob("", "address of the health endpoint; empty: all of this machine")
    traces: str = _knob(
        "auto",
        "auto: spans of OpenTelemetry where the program has set up a tracer provider; off: none",
        choices=("auto", "off"),
    )
    metrics: str = _knob(
        "off",
        "on: Prometheus metrics at /metrics of the health port; shared: in the program's registry",
        choices=("off", "on", "shared"),
    )
    log_lines: int = _knob(1000, "lines of ctx.log that an attempt keeps; 0: none", least=0)
    log_bytes: int = _knob(262_144, "bytes of them that it keeps", least=0)
    max_payload: int = _knob(
        MAX_PAYLOAD, "bytes of JSON that one input, signal or outcome may have", least=1024
    )
    retention: float = _knob(
        30.0,
        "days that ended runs are kept, where their definition says nothing; 0: for ever",
        least=0,
        unit="days",
    )
    audit_retention: float = _knob(
        90.0, "days that rows of the audit are kept; 0: for ever", least=0, unit="days"
    )

    def __post_init__(self) -> None:
        for knob in fields(self):
            value = _whole(knob.type, getattr(self, knob.name))
            object.__setattr__(self, knob.name, _checked(knob.name, knob.name, value))
        _caps(self.flow_concurrency)

    def __repr__(self) -> str:
        said = (
            f"{knob.name}={without_password(getattr(self, knob.name))!r}"
            for knob in fields(self)
            if getattr(self, knob.name) != knob.default
        )
        return f"Settings({', '.join(said)})"

    def serves(self, queue: str) -> bool:
        """Whether a worker with these settings looks into that queue."""
        return not self.queue_names or queue in self.queue_names

    @property
    def queue_names(self) -> tuple[str, ...]:
        """What `queues` names; none: all are meant."""
        return tuple(name.strip() for name in self.queues.split(",") if name.strip())

    @property
    def most_of(self) -> dict[str, int]:
        """How many tasks of a flow, machine or job one worker runs at once, where that is said."""
        return _caps(self.flow_concurrency)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Put the settings together: an argument goes before STEPWELL_* (and DATABASE_URL for
        `dsn`), that before [tool.stepwell] in ./pyproject.toml. An override of None is none."""
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in overrides.items() if value is not None}
        for name in given:
            if name not in _BY_NAME:
                raise SettingsError(f"there is no setting {name!r}{_meant(name, _BY_NAME)}")
        return cls(**{**_from_pyproject(Path("pyproject.toml")), **_from_environ(environ), **given})


_BY_NAME = {knob.name: knob for knob in fields(Settings)}


def without_password(value: object) -> object:
    """A connection string that can be shown; anything else comes back as it is."""
    if not isinstance(value, str):
        return value
    value = re.sub(r"(?i)(password\s*=\s*)('(?:\\.|[^'\\])*'?|(?:\\.|[^\s&\\])+)", r"\1***", value)
    return re.sub(r"(?i)(\w://[^:/@?]*:).*@", r"\1***@", value, flags=re.DOTALL)


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {PREFIX + name.upper(): name for name in _BY_NAME}
    found: dict[str, Any] = {}
    if environ.get("DATABASE_URL"):
        found["dsn"] = environ["DATABASE_URL"]
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in EXTRAS:
            continue
        if variable in known and text:  # set to nothing is not set
            name = known[variable]
            found[name] = _checked(variable, name, _parsed(variable, name, text))
        elif variable not in known and not variable.startswith(TEST_PREFIX):
            raise SettingsError(
                f"{variable} is set, but there is no such setting"
                f"{_meant(variable, [*known, *EXTRAS], PREFIX)}; correct or unset it"
            )
    return found


def _from_pyproject(path: Path) -> dict[str, Any]:
    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"./{path} cannot be read: {error}") from error
    found: dict[str, Any] = {}
    for key, value in tools.get("stepwell", {}).items():
        where = f"[tool.stepwell] {key} in ./{path}"
        name = key.replace("-", "_")
        if name not in _BY_NAME:
            raise SettingsError(f"{where} is no setting{_meant(name, _BY_NAME)}; correct it")
        found[name] = _checked(where, name, _whole(_BY_NAME[name].type, value))
    return found


def _parsed(variable: str, name: str, text: str) -> object:
    kind = _BY_NAME[name].type
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        raise _refusal(variable, name, text) from None


def _checked(where: str, name: str, value: object) -> object:
    """The value when it is one that the setting can have; the message begins with `where`."""
    kind = str(_BY_NAME[name].type) if name in _BY_NAME else ""
    bounds = _BY_NAME[name].metadata
    good = type(value).__name__ == kind
    if good and isinstance(value, int | float):
        good = math.isfinite(value)
        good = good and (bounds["least"] is None or value >= bounds["least"])
        good = good and (bounds["above"] is None or value > bounds["above"])
        good = good and value <= bounds["most"]
    if good and bounds["choices"]:
        good = value in bounds["choices"]
    if not good or (isinstance(value, str) and "\0" in value):
        raise _refusal(where, name, value)
    return value


def _whole(kind: object, value: object) -> object:
    """Ten seconds may be written as 10."""
    return float(value) if kind == "float" and type(value) is int else value


def _caps(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        slug, _, number = (word.strip() for word in part.partition("="))
        if not slug or not number.isdecimal() or int(number) < 1 or slug in found:
            raise SettingsError(
                f"flow_concurrency has {part!r}; it must be names with numbers of at least 1, each "
                "name once: greet=5,send_welcome=2"
            )
        found[slug] = int(number)
    return found


def _refusal(where: str, name: str, value: object) -> SettingsError:
    knob = _BY_NAME[name]
    return SettingsError(
        f"{where} is {without_password(value)!r}; it must be {allowed(knob)} "
        f"({knob.metadata['help']})"
    )


def allowed(knob: Field[Any]) -> str:
    """The values that a setting can have, in words."""
    least, above = knob.metadata["least"], knob.metadata["above"]
    bound = f" of at least {least:g}" if least is not None else ""
    bound = f" above {above:g}" if above is not None else bound
    bound += f" and at most {knob.metadata['most']:g}" if knob.metadata["most"] < math.inf else ""
    kind = _KINDS[str(knob.type)].replace("seconds", knob.metadata["unit"])
    return (" or ".join(knob.metadata["choices"]) or kind) + bound


def _meant(word: str, known: Iterable[str], prefix: str = "") -> str:
    names = sorted(name.removeprefix(prefix) for name in known)
    close = get_close_matches(word.removeprefix(prefix), names, n=1, cutoff=0.6)
    return f" (did you mean {prefix}{close[0]}?)" if close else f"; there are {', '.join(names)}"
