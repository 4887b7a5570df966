"""The blocking client is what tools/sync.py makes of the other one."""

from __future__ import annotations

import pytest

from tools.sync import GENERATED, made, twin_of


@pytest.mark.parametrize("name", GENERATED)
def test_a_blocking_file_is_current(name: str) -> None:
    assert twin_of(name).read_text() == made(name), "run `python -m tools.sync`"
