"""Check the arguments of `python -m tests.simulation`."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import main


@pytest.mark.parametrize(
    "asked",
    [
        ("--seeds", "0"),
        ("--seeds", "-3"),
        ("--seeds", "many"),
        ("--seeds=-1",),
        ("--jobs", "0"),
        ("--first", "-1"),
        ("--seed", "-1"),
    ],
)
def test_zero_count_is_refused_with_the_usage(
    asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulation", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: python -m tests.simulation")
    assert "is not a whole number of" in said
