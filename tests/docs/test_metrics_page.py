"""The page of metrics and the dashboard name the metrics that the code has, and their labels."""

import json
import re
from collections.abc import Iterator
from typing import Any

from stepwell.observe.meters import METERS, Meter
from tests.docs.pages import REFERENCE, ROOT

DASHBOARD = ROOT / "docs" / "grafana" / "stepwell.json"
OF_PROMETHEUS = {"instance", "job"}
GROUPED = re.compile(r"\bby \(([^)]*)\)")
METRIC = re.compile(r"\bstepwell_(\w+)(?:\{([^}]*)\})?")


def test_every_metric_has_its_row() -> None:
    rows = (REFERENCE / "metrics.md").read_text().splitlines()
    told = [row for row in rows if row.startswith("| `stepwell_")]
    wanted: list[str] = []
    for meter in METERS.values():
        labels = ", ".join(f"`{label}`" for label in meter.labels)
        cells = f"| `stepwell_{meter.name}` | {meter.kind} | {labels} | {meter.says} |"
        wanted.append(cells.replace("|  |", "| |"))
    assert told == wanted


def shown_as(meter: Meter) -> Iterator[str]:
    """The names of its series."""
    if meter.kind == "histogram":
        yield from (f"{meter.name}_{part}" for part in ("bucket", "sum", "count"))
    else:
        yield meter.name


SERIES = {name: meter for meter in METERS.values() for name in shown_as(meter)}


def queries_of(dashboard: Any) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = list(queries_of(dashboard))
    asked: set[str] = set()
    for query in queries:
        found = METRIC.findall(query)
        assert found, query
        for name, selected in found:
            assert name in SERIES, f"{query}: there is no stepwell_{name}"
            meter = SERIES[name]
            asked.add(meter.name)
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected))
            for group in GROUPED.findall(query):
                labels |= {label.strip() for label in group.split(",")}
            own = {"le"} if meter.kind == "histogram" else set[str]()
            assert labels <= {*meter.labels, *OF_PROMETHEUS, *own}, f"{query}: {labels}"
        assert query.count("(") == query.count(")") and query.count("{") == query.count("}")
    assert asked == set(METERS), "a metric that no panel shows"


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"]
    named = {name for query in queries_of(dashboard) for name in re.findall(r"\$(\w+)", query)}
    assert {name for name in named if not name.startswith("__")} <= variables
