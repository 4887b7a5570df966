"""What search_runs finds, in which order, and the labels that it finds runs by."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell import DefinitionError

from .hands import Hands
from .shapes import single


def search(hands: Hands, most: int = 50, **filters: Any) -> list[UUID]:
    said = json.dumps(filters, default=str)
    return [
        row[0]
        for row in hands.rows("select run_id from pgflow.search_runs(%s::jsonb, %s)", said, most)
    ]


def start(hands: Hands, slug: str, given: object = 1, key: str | None = None, **said: Any) -> UUID:
    [row] = hands.started(slug, [given], [key], **said)
    return row.run_id


@pytest.fixture
def two(hands: Hands) -> Hands:
    hands.define(single("one"))
    hands.define(single("two"))
    return hands


def test_runs_are_found_by_what_they_are(two: Hands) -> None:
    a = start(
        two, "one", {"customer": {"id": 7, "at": "x"}}, "order:1", tags=["vip", "eu"],
        metadata={"shop": {"id": 1}},
    )  # fmt: skip
    b = start(two, "two", {"customer": {"id": 8}}, "order_2", tags=["vip"])
    c = start(two, "one", [1, 2])
    everything = [c, b, a]
    assert search(two) == everything == search(two, oldest_first=True)[::-1]
    expected: list[tuple[dict[str, Any], list[UUID]]] = [
        ({"tags": ["vip"]}, [b, a]),
        ({"tags": ["eu", "vip", "eu"]}, [a]),
        ({"tags": "eu"}, [a]),
        ({"tags": []}, everything),
        ({"tags": ["none"]}, []),
        ({"key": "order:1"}, [a]),
        ({"key": "order:1", "tags": ["vip"], "flow": "one"}, [a]),
        ({"key": "order"}, []),
        ({"key_prefix": "order"}, [b, a]),
        ({"key_prefix": "order_"}, [b]),
        ({"key_prefix": "%"}, []),
        ({"status": "started"}, everything),
        ({"status": ["failed", "started"], "flow": "one"}, [c, a]),
        ({"status": ["completed"]}, []),
        ({"flow": ["one", "no such flow"]}, [c, a]),
        ({"kind": ["job", "machine"]}, []),
        ({"input": {"customer": {"id": 7}}}, [a]),
        ({"input": [2]}, [c]),
        ({"metadata": {"shop": {}}}, [a]),
        ({"before": {"id": c}}, [b, a]),
        ({"after": {"id": a}, "oldest_first": True}, [b, c]),
        ({"before": {"id": c}, "after": {"id": a}}, [b]),
        ({"since": 3600, "until": 0}, everything),
        ({"since": "2020-01-01 00:00+00", "until": "2020-01-02"}, []),
        ({"ended_since": 3600}, []),
        ({"parent": a}, []),
        ({"status": None, "flow": None}, everything),
    ]
    for filters, found in expected:
        assert search(two, **filters) == found, filters
    assert search(two, 1, after={"id": a}, oldest_first=True) == [b]


def test_what_ended_is_found_by_how_and_when(two: Hands) -> None:
    done, failed, cancelled, live = (start(two, slug) for slug in ("one", "two", "one", "two"))
    by_run = {task.run_id: task for task in two.claim()}
    two.complete([by_run[done]], 1)
    two.fail([by_run[failed]], permanent=True)
    two.cancel(cancelled)
    assert search(two, status="completed") == [done]
    assert search(two, status="failed") == [failed]
    assert search(two, status=["cancelled", "failed"]) == [cancelled, failed]
    assert search(two, status=["started", "completed"]) == [live, done]
    assert search(two, ended_since=3600) == [cancelled, failed, done]
    assert search(two, ended_since=3600, flow="two") == [failed]
    assert search(two, ended_until=3600) == []
    two.retry(failed)
    assert search(two, status="failed") == []
    assert search(two, status="started") == [live, failed]


def test_live_runs_are_found_wherever_their_tasks_are(two: Hands) -> None:
    """More open tasks than are looked through make it walk from the newest run on."""
    ready, delayed, paused, running = (
        start(two, "one"), start(two, "one", delay=99), start(two, "one"), start(two, "two"),
    )  # fmt: skip
    two.value("select pgflow.pause_run(%s)", paused)
    two.claim(1)
    everything = [running, paused, delayed, ready]
    assert search(two, status="started") == everything
    many = two.start("two", *range(5100))
    assert two.value("select pgflow.open_runs(5000)") is None
    assert search(two, 6000, status="started", flow="one") == everything[1:]
    assert len(search(two, 6000, status="started")) == 4 + len(many)


def test_a_page_goes_on_where_the_last_one_ended_also_when_that_run_is_gone(two: Hands) -> None:
    runs = two.start("one", *range(5))
    page = two.rows("select run_id, started_at from pgflow.search_runs('{}', 2)")
    last, at = page[-1]
    two.cancel(last)
    two.value("select pgflow.delete_run(%s)", last)
    rest = sorted(set(runs) - {page[0][0], last}, reverse=True)
    assert search(two, before={"id": last, "at": at}) == rest
    with pytest.raises(psycopg.Error, match="Begin again with the first page") as refused:
        search(two, before={"id": last})
    assert refused.value.sqlstate == "PF404" or "PF404" in str(refused.value)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"statuses": "failed"}, "runs have no filter 'statuses'"),
        ({"status": ["done"]}, "no run has status 'done'"),
    ],
)
def test_what_no_run_can_be_is_refused(two: Hands, filters: dict[str, Any], said: str) -> None:
    with pytest.raises(psycopg.Error, match=said):
        search(two, **filters)


def test_ids_that_begin_alike_are_told_apart(two: Hands) -> None:
    [run] = two.start("one", 1)
    between = "select pgflow.runs_between(%s, %s)"
    assert two.rows(between, run, run) == [(run,)]
    assert two.rows(between, uuid4(), UUID(int=0)) == []


def test_labels_are_changed_together_and_stay_small(two: Hands) -> None:
    run = start(two, "one", tags=["b", "a", "b"], metadata={"x": [None, 1], "y": 2})
    label = "select tags, metadata_now from pgflow.label_run(%s, %s, %s, %s::jsonb, 'ann')"
    tags = "select tag from pgflow.run_tags where run_id = %s order by 1"
    assert two.rows(label, run, [], [], "{}") == [(["b", "a"], {"x": [None, 1], "y": 2})]
    assert two.rows(label, run, ["c", "a"], ["b"], '{"y": null, "z": {"n": null}}') == [
        (["a", "c"], {"x": [None, 1], "z": {"n": None}})
    ]
    assert two.rows(tags, run) == [("a",), ("c",)]
    assert two.rows(label, run, [], ["a", "c"], '{"x": null, "z": null}') == [([], {})]
    assert two.rows("select tags, metadata from pgflow.runs") == [(None, None)]
    assert two.rows(tags, run) == []
    actions = two.rows("select action, actor, detail from pgflow.list_audit(%s)", run)
    assert [(row[0], row[1]) for row in actions] == [("label", "ann")] * 2
    assert actions[1][2]["remove"] == ["b"]
    for wrong_tags, wrong in (
        ([str(n) for n in range(21)], {}),
        ([""], {}),
        (["x" * 101], {}),
        ([], {"x": "y" * 9000}),
        ([], [1]),
    ):
        with pytest.raises(psycopg.Error, match=r"tag|metadata"):
            two.rows(label, run, wrong_tags, [], json.dumps(wrong))
        with pytest.raises(DefinitionError, match=r"tag|metadata"):
            start(two, "one", tags=wrong_tags, metadata=wrong)
    with pytest.raises(psycopg.Error, match="no run"):
        two.rows(label, uuid4(), ["a"], [], "{}")


def test_tags_go_with_their_runs_and_come_back_with_what_repeats_them(two: Hands) -> None:
    run = start(two, "one", tags=["vip"], metadata={"x": {"y": None}})
    two.complete(two.claim(), 1)
    for step in (None, "s0"):
        [(again, _)] = two.rows("select * from pgflow.restart_run(%s, %s)", run, step)
        [(tags, metadata)] = two.rows("select tags, metadata from pgflow.get_runs(%s)", [again])
        assert (tags, metadata) == (["vip"], {"x": {"y": None}})
        two.cancel(again)
        two.value("select pgflow.delete_run(%s)", again)
    assert two.rows("select tag, run_id from pgflow.run_tags") == [("vip", run)]
    two.value("select pgflow.delete_run(%s)", run)
    assert two.rows("select * from pgflow.run_tags") == []
