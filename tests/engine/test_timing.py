"""Only what the machine was away for is measured again."""

from __future__ import annotations

from .timing import explained


def test_a_hiccup_explains_no_lost_wake_up() -> None:
    assert explained(0.25, bound=0.1, longest=0.1, away=0.1)
    assert explained(1.4, bound=1, longest=0.3, away=0.4)
    assert not explained(0.11, bound=0.1, longest=0.01, away=0.01)
    assert not explained(29.0, bound=0.1, longest=1.0, away=3.0)
