from __future__ import annotations

import pytest

from truecaller_async.cli.formatting import counted, duration, masked, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (75, "1 min 15 s"),
        (1800, "30 min"),
        (3725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_duration_is_formatted_in_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_are_formatted_in_english() -> None:
    assert [counted(1, "batch"), counted(2, "batch"), counted(1000, "record")] == [
        "1 batch",
        "2 batches",
        "1,000 records",
    ]


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mb\u202e") == "a\\x1b[31mb\\u202e"
    assert masked("call 919812345678 now") == "call ********5678 now"
