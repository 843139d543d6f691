"""A fault plan as a text: what a reader of JSON passes over in silence, and what of it may be said back."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator

VALUE_MAX_CHARS = 60
"""Characters of a wrong value that are said back."""

HEAD_CHARS, TAIL_CHARS = 90, 60
"""Characters of a long sentence that are kept: what is wrong stands at its beginning, the place at its end."""


def without_bom(text: str | bytes) -> str | bytes:
    """Without the byte order mark that some editors write."""
    return text.removeprefix("\ufeff") if isinstance(text, str) else text.removeprefix(codecs.BOM_UTF8)


def duplicate_fields(text: str | bytes) -> Iterator[str]:
    """The places of fields that stand in one object more than once, in JSON that was found good but for that.

    Of such fields a reader takes one, and nobody can see which.
    """
    return _duplicates(json.loads(text, object_pairs_hook=tuple), "")


def _duplicates(value: object, json_path: str) -> Iterator[str]:
    """An object is a tuple of pairs here, and an array a list."""
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
    """A value as it is said back."""
    text = repr(value)
    return text if len(text) <= VALUE_MAX_CHARS else f"{text[:VALUE_MAX_CHARS]}..."


def shorten_middle(sentence: str) -> str:
    """A sentence in which a long value may stand."""
    return (
        sentence if len(sentence) <= HEAD_CHARS + TAIL_CHARS else f"{sentence[:HEAD_CHARS]}...{sentence[-TAIL_CHARS:]}"
    )
