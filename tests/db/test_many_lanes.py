"""A worker with very many lanes, as old versions and flows from data make them: a claim looks where
something is ready. It looks each time, so there is nothing that could be out of date."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from .explain import explained
from .hands import Hands
from .shapes import single

LANES = 200


@pytest.fixture
def old(hands: Hands) -> list[int]:
    """Versions of a flow from the oldest to the newest, served beside a flow of another name."""
    current = hands.define(single("flow"))
    hands.define(single("other"))
    hands.conn.execute(
        "insert into pgflow.versions (flow_slug, version, created_at)"
        " select 'flow', n, now() from generate_series(2, %s) n",
        (LANES,),
    )
    hands.conn.execute(
        "insert into pgflow.steps"
        " select (jsonb_populate_record(s, jsonb_build_object('version_id', v.version_id))).*"
        " from pgflow.steps s join pgflow.versions v on v.flow_slug = s.flow_slug and v.version > 1"
        " where s.version_id = %s",
        (current,),
    )
    rows = hands.rows("select version_id from pgflow.versions where flow_slug = 'flow' order by 1")
    versions = [version for (version,) in rows]
    assert versions[0] == current
    hands.lanes += [("flow", version) for version in versions[1:]]
    return versions


def start_on(hands: Hands, versions: Sequence[int]) -> list[UUID]:
    """A run on each of these, the first first."""
    runs = hands.start("flow", *[{}] * len(versions))
    for run, version in zip(runs, versions, strict=True):
        hands.conn.execute(
            "update pgflow.step_tasks set version_id = %s where run_id = %s", (version, run)
        )
        hands.conn.execute(
            "update pgflow.runs set version_id = %s where run_id = %s", (version, run)
        )
    return runs


def claimed(hands: Hands, want: int = 1000) -> list[UUID]:
    return [task.run_id for task in hands.claim(want)]


@pytest.mark.parametrize("full", [1, 3, LANES // 16, LANES // 16 + 1, LANES])
def test_what_is_ready_is_found_wherever_it_is(hands: Hands, old: list[int], full: int) -> None:
    """In a few lanes, in as many as are looked for one by one, and in more."""
    assert claimed(hands) == []
    some = old[:: LANES // full][:full]
    runs = start_on(hands, some)
    assert len(runs) == full
    hands.conn.execute("update pgflow.step_tasks set priority = 7 where run_id = %s", (runs[0],))
    [urgent] = hands.start("other")
    hands.conn.execute("update pgflow.step_tasks set priority = -7 where run_id = %s", (urgent,))
    assert claimed(hands, 1) == [urgent]
    found = claimed(hands)
    assert sorted(found) == sorted(runs) and found[-1] == runs[0]
    assert claimed(hands) == []


def test_a_start_on_an_old_version_is_seen_by_the_next_claim(hands: Hands, old: list[int]) -> None:
    for version in (old[50], old[0], old[-1], old[50]):
        assert claimed(hands) == []
        [run] = start_on(hands, [version])
        assert claimed(hands) == [run]


def test_only_our_own_lanes_are_claimed_of(hands: Hands, old: list[int]) -> None:
    """A version in a queue that it is not served in, one that is not served, and other flows."""
    theirs = [f"x{n}" for n in range(3)]
    worker = Hands(hands.conn, lanes=[lane for lane in hands.lanes if lane[1] != old[9]])
    for slug in theirs:
        hands.define(single(slug))
    strange, foreign, ours = start_on(hands, [old[7], old[9], old[8]])
    hands.conn.execute(
        "update pgflow.step_tasks set queue = 'elsewhere' where run_id = %s", (strange,)
    )
    for slug in theirs:
        hands.start(slug)
    assert claimed(worker) == [ours]
    worker.lanes.append(("elsewhere", old[7]))  # one version in two queues
    [again] = start_on(hands, [old[7]])
    assert sorted(claimed(worker)) == sorted([strange, again])
    assert foreign in claimed(hands)


def test_pauses_caps_and_fair_queues_hold(hands: Hands, old: list[int]) -> None:
    fair = single("fair", fairnessBy=["tenant"])
    hands.define(fair)
    hands.register()
    shared = hands.start("fair", *[{"tenant": name} for name in "aaab"])
    assert len(set(claimed(hands, 2))) == 2
    start_on(hands, old[:3])
    hands.conn.execute("select pgflow.pause_flow('flow')")
    assert set(claimed(hands)) <= set(shared)
    hands.conn.execute("select pgflow.resume_flow('flow')")
    hands.limit("flow", "flow", 2)
    assert len(claimed(hands)) == 2


def test_lanes_at_rest_cost_nothing(hands: Hands, old: list[int]) -> None:
    hands.define(single("zz"))
    start_on(hands, [old[4], old[5]])
    hands.start("zz", *[{}] * 20)
    hands.conn.execute("analyze pgflow.step_tasks")
    hands.lanes.pop()
    hands.claim(1)
    statements = explained(hands.conn, lambda: hands.claim(1))
    scans = [scan for each in statements for scan in each.scans if scan.table == "step_tasks"]
    assert scans and all("Index" in scan.kind for scan in scans)
    assert sum(scan.rows for scan in scans) <= 20
    assert max(each.buffers for each in statements) < LANES  # less than one page for each
