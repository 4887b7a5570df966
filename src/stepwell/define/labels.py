"""What callers say about a run: tags to find it by, metadata to read beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from stepwell.define.payload import encode, storable
from stepwell.errors import DefinitionError, PayloadError

MOST_TAGS = 20
LONGEST_TAG = 100
LARGEST_METADATA = 8192  # bytes of JSON

Tags = Iterable[str]
Metadata = Mapping[str, Any]


def checked_tags(tags: object, what: str) -> tuple[str, ...]:
    """The tags, each once; DefinitionError for what no run can have."""
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise DefinitionError(f"{what}: tags are {tags!r}; give a list of texts, as in ['vip']")
    found = tuple(dict.fromkeys(cast("Iterable[Any]", tags)))
    for tag in found:
        if not isinstance(tag, str) or not 1 <= len(tag) <= LONGEST_TAG or not storable(tag):
            raise DefinitionError(
                f"{what}: {tag!r} cannot be a tag; a tag is a text of 1 to {LONGEST_TAG} characters"
            )
    if len(found) > MOST_TAGS:
        raise DefinitionError(f"{what}: {len(found)} tags; a run has at most {MOST_TAGS}")
    return found


def checked_metadata(metadata: object, what: str) -> dict[str, Any]:
    """The metadata, which is JSON and small; DefinitionError when it is not."""
    if not isinstance(metadata, Mapping):
        raise DefinitionError(f"{what}: metadata is {metadata!r}; give a dict, as in {{'shop': 7}}")
    given = cast("Mapping[Any, Any]", metadata)
    for name in given:
        if not isinstance(name, str):
            raise DefinitionError(f"{what}: metadata has the name {name!r}; a name is a text")
    try:
        size = len(encode(given))
    except PayloadError as error:
        raise DefinitionError(f"{what}: metadata: {error}") from error
    if size > LARGEST_METADATA:
        raise DefinitionError(
            f"{what}: metadata has {size} bytes of JSON; a run has at most {LARGEST_METADATA} "
            "(what is larger belongs into its input)"
        )
    return dict(given)
