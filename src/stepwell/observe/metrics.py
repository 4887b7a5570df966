"""Subscriber: Prometheus metrics. The library is imported when the first Metrics is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from stepwell.errors import SettingsError
from stepwell.observe import meters
from stepwell.observe.counted import counted, unlucky
from stepwell.observe.events import Event
from stepwell.observe.meters import METERS, Meter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MOST_SERIES = 500  # flows with their steps, or queues; what comes later is counted together
MOST_KEPT = 50 * MOST_SERIES  # series that are found without looking at their labels again
REST = "(others)"

MANY = frozenset({"flow", "step", "queue"})  # labels that users' names are in
LEAST = frozenset({meters.LEASE_LEFT.name, meters.DATABASE_UP.name})

Sample = Mapping[tuple[str, str], float]  # by metric and label


class Named(Protocol):
    """A number of the database."""

    @property
    def metric(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def value(self) -> float: ...


class Metrics:
    """Counts what events tell, and shows what workers know and what was last asked of the
    database. Labels are names of definitions, steps and queues, never ids; there are at most
    MOST_SERIES of each."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._library = library()
        self.registry: Any = registry or self._library.CollectorRegistry()
        self._kept = {
            name: self._made(meter)
            for name, meter in METERS.items()
            if meter.kind in ("counter", "histogram")
        }
        self._known: dict[str, set[tuple[str, ...]]] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._workers: list[Callable[[], Mapping[str, float]]] = []
        self._sample: Sample = {}
        self.registry.register(self)

    def __call__(self, event: Event) -> None:
        for meter, value, labels in counted(event):
            kept = self._one(meter, labels)
            if meter.kind == "counter":
                kept.inc(value)
            else:
                kept.observe(value)

    def expect(self, steps: Collection[tuple[str, str, str]], queues: Collection[str]) -> None:
        """What goes wrong is counted from 0: of a series that begins with its first failure
        Prometheus sees no increase. Not where it would take up the names that others need."""
        few = max(len(steps), len(queues)) <= MOST_SERIES
        for meter, labels in unlucky(steps if few else (), queues if few else ()):
            self._one(meter, labels)

    def watch(self, worker: Callable[[], Mapping[str, float]]) -> Callable[[], None]:
        """Ask a worker how it is at each look; answers with how to stop that."""
        self._workers.append(worker)
        return lambda: self._workers.remove(worker)

    def sampled(self, rows: Iterable[Named] | None) -> None:
        """What the database answered; None: it is out of reach, and nothing is said of it."""
        self._sample = {(row.metric, row.label): row.value for row in rows or ()}

    def page(self) -> tuple[str, bytes]:
        """What a scrape gets: its content type, and the text."""
        return self._library.CONTENT_TYPE_LATEST, self._library.generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The gauges, as prometheus_client asks for them."""
        told: dict[str, float] = {}
        for worker in list(self._workers):
            for name, value in worker().items():
                before = told.get(name)
                together = min if name in LEAST else sum
                told[name] = value if before is None else together((before, value))
        away = told.get(meters.DATABASE_UP.name) == 0
        sample = {} if away else dict(self._sample)
        for meter in METERS.values():
            if meter.kind == "gauge":
                values = _of(meter, sample) if meter.sampled else _alone(told.get(meter.name))
                yield self._gauge(meter, values)

    def describe(self) -> Iterator[Metric]:
        """So that registering it twice in one registry is noticed."""
        return (self._gauge(m, {}) for m in METERS.values() if m.kind == "gauge")

    def _gauge(self, meter: Meter, values: Mapping[str, float]) -> Metric:
        core: Any = import_module("prometheus_client.core")
        family = core.GaugeMetricFamily(f"stepwell_{meter.name}", meter.says, labels=meter.labels)
        for label, value in values.items():
            family.add_metric([label] if meter.labels else [], value)
        return family

    def _made(self, meter: Meter) -> Any:
        known: dict[str, Any] = {"labelnames": meter.labels, "registry": self.registry}
        if meter.kind == "histogram":
            known["buckets"] = meter.buckets
        kind = {"counter": "Counter", "histogram": "Histogram"}[meter.kind]
        return getattr(self._library, kind)(f"stepwell_{meter.name}", meter.says, **known)

    def _one(self, meter: Meter, labels: tuple[str, ...]) -> Any:
        """The series to count in, made once."""
        found = self._series.get((meter.name, labels))
        if found is None:
            found = self._kept[meter.name]
            found = found.labels(*self._bounded(meter, labels)) if meter.labels else found
            if len(self._series) < MOST_KEPT:
                self._series[meter.name, labels] = found
        return found

    def _bounded(self, meter: Meter, labels: tuple[str, ...]) -> Sequence[str]:
        """The labels; past MOST_SERIES names of users' own the rest of them is one."""
        pairs = list(zip(meter.labels, labels, strict=True))
        names = tuple(label for name, label in pairs if name in MANY)
        known = self._known.setdefault(meter.name, set())
        if names in known or len(known) < MOST_SERIES:
            known.add(names)
            return labels
        return [REST if name in MANY else label for name, label in pairs]


_shared: list[Metrics] = []


def metrics_of(mode: str) -> Metrics | None:
    """As the setting says. `on`: in a registry of its own; `shared`: in that of the program, once
    for all workers that it has."""
    if mode == "shared":
        if not _shared:
            _shared.append(Metrics(library().REGISTRY))
        return _shared[0]
    return Metrics() if mode == "on" else None


def library() -> Any:
    try:
        return import_module("prometheus_client")
    except ImportError as error:
        raise SettingsError(
            "metrics want prometheus-client: pip install 'stepwell[prometheus]', or leave the "
            "setting metrics off"
        ) from error


def _of(meter: Meter, sample: Sample) -> dict[str, float]:
    return {label: value for (name, label), value in sample.items() if name == meter.name}


def _alone(value: float | None) -> dict[str, float]:
    return {} if value is None else {"": value}
