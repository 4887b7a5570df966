"""What a test expects, beside what there is."""

from __future__ import annotations

import re
from typing import Any

from stepwell.define.payload import decoder, encode

ErrorLike = str | type[BaseException]
ANYTHING: Any = object()
WERE = {"completed": "completed", "failed": "failed", "cancelled": "was cancelled"}
_plain = decoder(Any)


def fits(error: ErrorLike, error_type: str | None, said: str) -> bool:
    if isinstance(error, str):
        return re.search(error, said) is not None
    return error.__name__ == error_type


def as_json(value: Any) -> Any:
    """As it would come back from the database."""
    return _plain(encode(value))
