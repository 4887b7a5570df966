"""Lists of runs: what each filter finds, in which order, and how much is read for it."""
from __future__ import annotations
import json
from .hands import Hands
from .shapes import single

def search(hands, most=50, **filters):
    return [r[0] for r in hands.rows("select run_id from pgflow.search_runs(%s::jsonb, %s)", json.dumps(filters, default=str), most)]

def test_try(hands: Hands) -> None:
    hands.define(single("one")); hands.define(single("two"))
    [a]=[r.run_id for r in hands.started("one",[{"customer":{"id":7}}],["order:1"],tags=["vip","eu"],metadata={"x":[None,1]})]
    [b]=[r.run_id for r in hands.started("two",[{"customer":{"id":8}}],["order_2"],tags=["vip"])]
    [c]=hands.start("one", 3)
    assert search(hands)==[c,b,a]
    assert search(hands, oldest_first=True)==[a,b,c]
    assert search(hands, tags=["vip"])==[b,a]
    assert search(hands, tags=["vip","eu"])==[a]
    assert search(hands, tags="eu")==[a]
    assert search(hands, key="order:1")==[a]
    assert search(hands, key_prefix="order")==[b,a]
    assert search(hands, key_prefix="order_")==[b]
    assert search(hands, status=["started"])==[c,b,a]
    assert search(hands, status=["failed","started","completed"],flow="one")==[c,a]
    assert search(hands, input={"customer":{"id":7}})==[a]
    assert search(hands, before={"id":c})==[b,a]
    assert search(hands, after={"id":a}, oldest_first=True, most=1)==[b]
    assert search(hands, since=3600, kind=["flow"])==[c,b,a]
    print(hands.rows("select * from pgflow.label_run(%s, '{x}', '{vip}', '{\"y\":1,\"x\":null}')", a))
    assert search(hands, tags="x")==[a]
    assert search(hands, tags=["vip"])==[b]
    hands.value("select pgflow.cancel_run(%s)", b)
    assert search(hands, status="cancelled")==[b]
    assert search(hands, status="cancelled", tags=["vip"])==[b]
    hands.rows("select pgflow.delete_run(%s)", b)
    assert hands.rows("select tag from pgflow.run_tags order by 1")==[("eu",),("x",)]
