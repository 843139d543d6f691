"""What is written to the log, and that an observer can do no harm."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from truecaller_async.telemetry import GuardedObserver, LogObserver

NAME = "truecaller_async"


class Broken:
    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        raise ValueError("a secret perhaps")

    def stage(self, name: str, fields: Mapping[str, object]) -> None:
        raise ValueError("a secret perhaps")


def test_a_stage_is_one_line_at_info_with_its_fields_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=NAME):
        LogObserver().stage("token.minted", {"token_id": "0123456789ab", "live": 2})
    (line,) = caplog.records
    assert line.getMessage() == "token.minted token_id=0123456789ab live=2"
    assert (line.tc_token_id, line.tc_live) == ("0123456789ab", 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "error", "said"), [(200, None, "push 200 in 0.250 s"), (None, "NotSent", "push NotSent in 0.250 s")]
)
def test_a_request_is_one_line_at_debug(
    caplog: pytest.LogCaptureFixture, status: int | None, error: str | None, said: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger=NAME):
        LogObserver().request("push", "0123456789ab", status, 0.25, error)
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [("DEBUG", said)]


def test_nothing_is_said_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=NAME):
        LogObserver().stage("token.minted", {})
        LogObserver().request("push", None, 200, 0.1, None)
    assert caplog.records == []


def test_the_librarys_logger_is_silent_unless_someone_listens() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(NAME).handlers)


def test_what_an_observer_raises_is_noted_once_by_class_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    observer = GuardedObserver(Broken())
    with caplog.at_level(logging.WARNING, logger=NAME):
        observer.request("push", None, 200, 0.1, None)
        observer.stage("token.minted", {})
    assert [line.getMessage() for line in caplog.records] == ["the observer Broken raised ValueError"]
