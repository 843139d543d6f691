"""Lines of the log, and the isolation of a failing observer."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.architecture.sources import REPOSITORY
from tests.campaign.world import World, records
from tests.virtual import run_virtual
from truecaller_async import Summary
from truecaller_async.models import Request
from truecaller_async.telemetry import LoggingObserver, SafeObserver

NAME = "truecaller_async"


class Broken:
    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        raise ValueError("a secret perhaps")

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        raise ValueError("a secret perhaps")


def test_event_is_one_info_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=NAME):
        LoggingObserver().event("token.minted", {"token_id": "0123456789ab", "live_tokens": 2})
    (line,) = caplog.records
    assert line.getMessage() == "token.minted token_id=0123456789ab live_tokens=2"
    assert (line.tc_event, line.tc_token_id, line.tc_live_tokens) == ("token.minted", "0123456789ab", 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "level"), [("breaker.closed", "INFO"), ("breaker.opened", "WARNING"), ("not.catalogued", "INFO")]
)
def test_an_event_is_logged_at_the_level_of_the_catalogue(
    caplog: pytest.LogCaptureFixture, name: str, level: str
) -> None:
    with caplog.at_level(logging.INFO, logger=NAME):
        LoggingObserver().event(name, {})
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [(level, name)]


@pytest.mark.parametrize(
    ("status", "error", "line_text"),
    [
        (200, None, "push 200 in 0.250 s token_id=0123456789ab"),
        (None, "NotSent", "push NotSent in 0.250 s token_id=0123456789ab"),
        (429, "RateLimited", "push 429 RateLimited in 0.250 s token_id=0123456789ab"),
    ],
)
def test_request_is_one_line_at_debug(
    caplog: pytest.LogCaptureFixture, status: int | None, error: str | None, line_text: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger=NAME):
        LoggingObserver().request("push", "0123456789ab", status, 0.25, error)
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [("DEBUG", line_text)]


def test_request_without_a_token_shows_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=NAME):
        LoggingObserver().request("mint", None, 200, 0.25, None)
    assert caplog.messages == ["mint 200 in 0.250 s"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ('a "quoted"', "\"a 'quoted'\""),
        ("a=b", '"a=b"'),
        ("", '""'),
        (0.5, "0.500"),
        (None, "None"),
    ],
)
def test_end_of_each_value_is_visible(caplog: pytest.LogCaptureFixture, value: object, shown: str) -> None:
    with caplog.at_level(logging.INFO, logger=NAME):
        LoggingObserver().event("any", {"said": value, "next": 1})
    assert caplog.messages == [f"any said={shown} next=1"]


def test_nothing_is_logged_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=NAME):
        LoggingObserver().event("token.minted", {})
        LoggingObserver().request("push", None, 200, 0.1, None)
    assert caplog.records == []


def test_library_logger_is_silent_by_default() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger(NAME).handlers)


def test_observer_exception_is_logged_once_per_class_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    observer = SafeObserver(Broken())
    with caplog.at_level(logging.WARNING, logger=NAME):
        observer.request("push", None, 200, 0.1, None)
        observer.event("token.minted", {})
    assert [line.getMessage() for line in caplog.records] == ["the observer Broken raised ValueError"]


class StoringObserver:
    """Observer that stores what it receives."""

    def __init__(self) -> None:
        self.received: list[Mapping[str, object]] = []

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        self.received.append({"call": call})

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self.received.append(fields)


@pytest.mark.fault("S34")
def test_server_message_is_logged_on_one_line_without_numbers_tokens_links() -> None:
    observer = StoringObserver()
    fields = {
        "status": "queued for 919900765432\nINFO forged line",
        "error": "HTTP 400: Bearer abc.def see https://files.example/x?signature=s3cr3t",
        "token_id": "012345678901",
        "batch_id": "d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6",
        "rows": 919900765432,
        "until": "2026-11-21T18:25:30+00:00",
    }
    SafeObserver(observer).event("status_value.first_seen", fields)
    assert observer.received == [
        fields
        | {
            "status": "queued for ********5432 INFO forged line",
            "error": "HTTP 400: Bearer *** see https://files.example/x?***",
        }
    ]


def fault(request: Request, number: int, _: object) -> str | None:
    """Fail one request of each kind: rate limit, lost answer, 5xx."""
    return {("submit", 2): "429:2", ("submit", 3): "lost_after", ("status", 1): "500_before"}.get(
        (request.call, number)
    )


def campaign(level: int) -> tuple[Summary, list[logging.LogRecord]]:
    """Run a campaign of three batches and return its summary and all log records from a level on."""
    collected: list[logging.LogRecord] = []

    class LogCollector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record)

    async def scene() -> Summary:
        collected.clear()  # the event loop logs too
        _, summary, broke = await World(fault=fault).run(records(1200))
        assert broke is None
        return summary

    root, collector = logging.getLogger(), LogCollector()
    before = root.level
    root.addHandler(collector)
    root.setLevel(level)
    try:
        return run_virtual(scene), collected
    finally:
        root.setLevel(before)
        root.removeHandler(collector)


def test_debug_log_has_one_line_per_request_and_no_other_logger() -> None:
    summary, records = campaign(logging.DEBUG)
    requests = [record for record in records if record.levelno == logging.DEBUG]
    assert {record.name for record in records} == {NAME}
    assert Counter(record.tc_call for record in requests) == summary.requests  # type: ignore[attr-defined]
    assert len(requests) == sum(summary.requests.values()) >= 9
    form = re.compile(r"(mint|submit|status) (\d{3}|\d{3} [A-Z]\w+|[A-Z]\w+) in \d+\.\d{3} s( token_id=[0-9a-f]{12})?")
    assert [line for line in (record.getMessage() for record in requests) if not form.fullmatch(line)] == []


def test_info_log_has_one_line_per_event_with_its_fields() -> None:
    summary, records = campaign(logging.INFO)
    assert {record.levelname for record in records} == {"INFO", "WARNING"}
    events = [record.tc_event for record in records]  # type: ignore[attr-defined]
    assert (events[0], events[-1]) == ("campaign.started", "campaign.finished")
    assert Counter(events)["token.minted"] == summary.tokens_minted
    done = records[-1]
    assert (done.tc_read, done.tc_delivered, done.tc_unsent) == (1200, 1200, 0)  # type: ignore[attr-defined]
    for record in records:
        fields = {name.removeprefix("tc_"): value for name, value in vars(record).items() if name.startswith("tc_")}
        assert record.getMessage().startswith(str(fields.pop("event")))
        assert all(f" {name}=" in record.getMessage() for name in fields)


def test_every_line_suits_a_json_formatter() -> None:
    own = vars(logging.makeLogRecord({})).keys()
    for record in campaign(logging.DEBUG)[1]:
        fields = {name: value for name, value in vars(record).items() if name not in own and name != "message"}
        assert fields
        assert all(name.startswith("tc_") for name in fields)
        assert json.loads(json.dumps({"message": record.getMessage(), **fields}))


SILENT = """
import logging
from tests.telemetry.test_logging_observer import World, fault, records, run_virtual

async def scene():
    return await World(fault=fault).run(records(1200))

results, summary, _ = run_virtual(scene)
print(summary.delivered)
"""


def test_unconfigured_logging_prints_nothing() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-c", SILENT], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("1200\n", "")
