"""Checks and error texts of a fault plan that the JSON decoder does not provide."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator

VALUE_MAX_CHARS = 60
"""Maximum length of a wrong value in an error message."""

HEAD_CHARS, TAIL_CHARS = 90, 60
"""Lengths of the start (the problem) and the end (the JSON path) that remain of a long error message."""


def without_bom(text: str | bytes) -> str | bytes:
    """Return the text without the byte order mark that some editors write."""
    return text.removeprefix("\ufeff") if isinstance(text, str) else text.removeprefix(codecs.BOM_UTF8)


def duplicate_fields(text: str | bytes) -> Iterator[str]:
    """Yield the JSON paths of fields that occur more than once in one object.

    The text must be valid JSON. A decoder would silently use one of the values.
    """
    return _duplicates(json.loads(text, object_pairs_hook=tuple), "")


def _duplicates(value: object, json_path: str) -> Iterator[str]:
    """Yield JSON paths; an object is a tuple of pairs here, and an array is a list."""
    if isinstance(value, tuple):
        before = f"{json_path}." if json_path else ""
        for name, count in Counter(name for name, _ in value).items():
            if count > 1:
                yield before + name
        for name, inner in value:
            yield from _duplicates(inner, before + name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _duplicates(inner, f"{json_path}[{index}]")


def short_repr(value: object) -> str:
    """Return the repr of a value, cut to `VALUE_MAX_CHARS`."""
    text = repr(value)
    return text if len(text) <= VALUE_MAX_CHARS else f"{text[:VALUE_MAX_CHARS]}..."


def shorten_middle(sentence: str) -> str:
    """Remove the middle of a sentence that contains a long value."""
    return (
        sentence if len(sentence) <= HEAD_CHARS + TAIL_CHARS else f"{sentence[:HEAD_CHARS]}...{sentence[-TAIL_CHARS:]}"
    )
