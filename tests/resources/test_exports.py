"""The deprecated exports: the link, its trusted hosts, and a file that is complete or absent."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.resources.script import ACCOUNT, FILE, REFUSED_TOKEN, Script, Step, answer, client_of, playing
from truecaller_async import (
    BadRequest,
    ConfigError,
    DecodeError,
    Forbidden,
    NotFound,
    NotSent,
    ResponseLost,
    RetryPolicy,
    ServerError,
    TruecallerClient,
    TruecallerError,
    UnexpectedRedirect,
    ValidationError,
)
from truecaller_async.errors import TruecallerDeprecationWarning
from truecaller_async.models import Answer, Secret
from truecaller_async.ports import Write
from truecaller_async.storage import part_file

FROM = datetime(2022, 1, 1, 5, 37, 9, tzinfo=UTC)
TO = datetime(2022, 1, 7, 10, 36, 17, tzinfo=UTC)
LINK = "https://files.truecaller.com/log.csv?X-Signature=s3cr3t"

PART = re.compile(r"log\.csv\.[0-9a-f]{8}\.part")

pytestmark = pytest.mark.filterwarnings("ignore::truecaller_async.errors.TruecallerDeprecationWarning")

Save = Callable[..., Awaitable[Path]]


def feedback(client: TruecallerClient, path: Path, **settings: Any) -> Awaitable[Path]:
    return client.exports.user_feedback("survey-1", path, **{"from_date": FROM, **settings})


def call_me_back(client: TruecallerClient, path: Path, **settings: Any) -> Awaitable[Path]:
    return client.exports.call_me_back(path, **{"start": FROM, "end": TO, **settings})


EXPORTS = [feedback, call_me_back]


def linked(link: str = LINK, **settings: Any) -> Script:
    """Make a transport whose API answers with a link, without latency."""
    script = playing(answer(200, {"url": link}), latency=0.0)
    for name, value in settings.items():
        setattr(script, name, value)
    return script


def answering(*steps: Step) -> Script:
    return playing(*steps, latency=0.0)


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("save", EXPORTS)
async def test_export_is_downloaded_and_saved_completely(save: Save, tmp_path: Path) -> None:
    script = linked()
    saved = await save(client_of(script), tmp_path / "log.csv")
    assert saved == tmp_path / "log.csv"
    assert saved.read_bytes() == FILE.body
    assert saved.stat().st_mode & 0o077 == 0
    assert script.downloads == [(LINK, 1024**3)]
    assert names(tmp_path) == ["log.csv"]


async def test_link_is_requested_as_documented(tmp_path: Path) -> None:
    script = linked()
    client = client_of(script)
    await feedback(client, tmp_path / "1")
    await call_me_back(client, tmp_path / "2")
    await call_me_back(client, tmp_path / "3", unit="milliseconds")
    openapi = f"/clients/{ACCOUNT}/openapi"
    assert [request.path for _, request in script.sent] == [
        f"{openapi}/feedback_stack/survey-1/export_report?from_date=1641015429",
        f"{openapi}/callback-logs/summary?from=1641015429&to=1641551777",
        f"{openapi}/callback-logs/summary?from=1641015429000&to=1641551777000",
    ]
    assert {request.call for _, request in script.sent} == {"exports"}


async def test_path_may_be_text(tmp_path: Path) -> None:
    saved = await client_of(linked()).exports.user_feedback("s", str(tmp_path / "log.csv"), from_date=FROM)
    assert saved == tmp_path / "log.csv"


@pytest.mark.parametrize("save", EXPORTS)
async def test_existing_file_is_overwritten_only_on_request(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("existing")
    script = linked()
    with pytest.raises(ValidationError, match="overwrite=True"):
        await save(client_of(script), path)
    assert (path.read_text(), script.sent, script.minted) == ("existing", [], [])
    await save(client_of(script), path, overwrite=True)
    assert path.read_bytes() == FILE.body


@pytest.mark.parametrize("save", EXPORTS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": "files.example"},
        {"hosts": ["https://files.example"]},
        {"max_bytes": 0},
        {"max_bytes": 1.5},
        {"from_date": FROM.replace(tzinfo=None), "start": FROM.replace(tzinfo=None)},
        {"from_date": 1641015429, "end": FROM - timedelta(days=1)},
    ],
)
async def test_invalid_arguments_are_refused_before_sending_or_writing(
    save: Save, wrong: dict[str, Any], tmp_path: Path
) -> None:
    accepted = {"hosts", "max_bytes", *(("from_date",) if save is feedback else ("start", "end"))}
    script = linked()
    with pytest.raises(ValidationError):
        await save(client_of(script), tmp_path / "log.csv", **{k: v for k, v in wrong.items() if k in accepted})
    assert (script.sent, script.minted, names(tmp_path)) == ([], [], [])


@pytest.mark.parametrize("path", ["", ".", "/", "a\0b", "\ud800", b"log.csv", None, 7])
async def test_invalid_file_path_is_refused(path: Any) -> None:
    script = linked()
    with pytest.raises(ValidationError, match="path"):
        await feedback(client_of(script), path)
    assert (script.sent, script.minted) == ([], [])


async def test_missing_folder_is_reported_before_sending(tmp_path: Path) -> None:
    script = linked()
    with pytest.raises(ConfigError, match="No such file or directory"):
        await feedback(client_of(script), tmp_path / "missing" / "log.csv")
    assert (script.sent, script.minted) == ([], [])


@pytest.mark.parametrize("save", EXPORTS)
async def test_only_a_trusted_host_is_followed(save: Save, tmp_path: Path) -> None:
    script = linked("https://bucket.storage.example/log.csv?X-Signature=s3cr3t")
    with pytest.raises(ConfigError, match=r"bucket\.storage\.example.*hosts=") as caught:
        await save(client_of(script), tmp_path / "log.csv")
    assert "s3cr3t" not in str(caught.value)
    assert (script.downloads, names(tmp_path)) == ([], [])
    await save(client_of(script), tmp_path / "log.csv", hosts=["bucket.storage.example"])
    assert (tmp_path / "log.csv").exists()


def status(code: int) -> Answer:
    return attrs.evolve(FILE, status=code)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"download_error": ResponseLost("broke")}, ResponseLost),
        ({"download_error": NotSent("refused")}, NotSent),
        ({"download_error": DecodeError("the file is larger than 7 bytes")}, DecodeError),
        ({"file": status(206)}, DecodeError),
        ({"file": status(302)}, UnexpectedRedirect),
        ({"file": status(403)}, Forbidden),
        ({"file": status(404)}, NotFound),
        ({"file": status(503)}, ServerError),
    ],
)
async def test_incomplete_file_is_removed(
    settings: dict[str, Any], kind: type[TruecallerError], tmp_path: Path
) -> None:
    script = linked(**settings)
    with pytest.raises(kind):
        await feedback(client_of(script), tmp_path / "log.csv")
    assert len(script.downloads) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer(200, {"message": "No CMB found for client Id"}), BadRequest),
        (answer(404, {"message": "No CMB found for client Id"}), NotFound),
        (answer(200, {}), DecodeError),
        (answer(200, {"url": "https://user@files.truecaller.com/"}), DecodeError),
    ],
)
async def test_answer_without_a_usable_link_leaves_no_file(
    step: Step, kind: type[TruecallerError], tmp_path: Path
) -> None:
    script = answering(step)
    with pytest.raises(kind):
        await feedback(client_of(script, retry=RetryPolicy(attempts=1)), tmp_path / "log.csv")
    assert (script.downloads, names(tmp_path)) == ([], [])


async def test_refused_file_does_not_count_against_the_token(tmp_path: Path) -> None:
    script = linked(file=attrs.evolve(REFUSED_TOKEN, body=b""))
    client = client_of(script)
    with pytest.raises(TruecallerError):
        await feedback(client, tmp_path / "log.csv")
    script.file = FILE
    await feedback(client, tmp_path / "log.csv")
    assert len(script.minted) == 1


async def test_cancelled_export_leaves_no_file(tmp_path: Path) -> None:
    script = linked(latency=0.0)
    halfway = asyncio.Event()

    class Endless(Script):
        async def download(self, link: Secret, write: Write, *arguments: Any, **settings: Any) -> Answer:
            await write(b"the beginning")
            halfway.set()
            return await asyncio.Future()

    saving = asyncio.ensure_future(feedback(client_of(Endless(script.steps, latency=0.0)), tmp_path / "log.csv"))
    await halfway.wait()
    assert [name for name in names(tmp_path) if PART.fullmatch(name)] == names(tmp_path) != []
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
async def test_full_disk_is_reported_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_full_disk(path: str, flags: int) -> int:
        Path(path).touch()
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(part_file, "_open_private", on_a_full_disk)
    for body in (b"x" * 1_000_000, b"flushed at the end"):
        script = linked(file=attrs.evolve(FILE, body=body))
        with pytest.raises(ConfigError, match="No space left on device"):
            await feedback(client_of(script), tmp_path / "log.csv")
        assert names(tmp_path) == []


async def test_link_planted_at_the_part_file_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "log.csv.guessed.part").symlink_to(victim)
    with pytest.raises(ConfigError, match="cannot be written"):
        await feedback(client_of(linked()), tmp_path / "log.csv")
    assert victim.read_text() == "precious"


async def test_two_exports_to_one_path_do_not_write_into_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    has_begun, may_continue = asyncio.Event(), asyncio.Event()

    class Slow(Script):
        async def download(self, link: Secret, write: Write, *arguments: Any, **settings: Any) -> Answer:
            await write(b"slow beginning")
            has_begun.set()
            await may_continue.wait()
            await write(b", slow end")
            return attrs.evolve(FILE, body=b"")

    slow = asyncio.ensure_future(feedback(client_of(Slow(linked().steps, latency=0.0)), path, overwrite=True))
    await has_begun.wait()
    await feedback(client_of(linked()), path)
    assert path.read_bytes() == FILE.body
    may_continue.set()
    await slow
    assert path.read_bytes() == b"slow beginning, slow end"
    assert names(tmp_path) == ["log.csv"]


async def test_leftover_part_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    left = tmp_path / "log.csv.01234567.part"
    left.write_text("a beginning")
    await feedback(client_of(linked()), tmp_path / "log.csv")
    assert sorted(names(tmp_path)) == ["log.csv", left.name]
    assert left.read_text() == "a beginning"


@pytest.mark.parametrize("overwrite", [False, True])
async def test_folder_at_the_file_path_is_reported_before_sending(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    script = linked()
    with pytest.raises(ValidationError, match="it is a folder"):
        await feedback(client_of(script), tmp_path / "log.csv", overwrite=overwrite)
    assert (script.sent, script.minted, names(tmp_path)) == ([], [], ["log.csv"])


async def test_undeletable_part_file_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ResponseLost, match="broke"):
        await feedback(client_of(linked(download_error=ResponseLost("broke"))), tmp_path / "log.csv")


async def test_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    class Racing(Script):
        async def download(self, *arguments: Any, **settings: Any) -> Answer:
            path.write_text("of another writer")
            return await super().download(*arguments, **settings)

    script = linked()
    racing = Racing(script.steps, latency=0.0)
    with pytest.raises(ValidationError, match="exists already"):
        await feedback(client_of(racing), path)
    assert path.read_text() == "of another writer"
    assert names(tmp_path) == ["log.csv"]


async def test_observer_sees_a_download_without_a_token(tmp_path: Path) -> None:
    seen: list[tuple[str, bool, int | None, str | None]] = []

    class RecordingObserver:
        def request(
            self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None
        ) -> None:
            seen.append((call, token_id is not None, status, error))

        def event(self, name: str, fields: object) -> None:
            """Ignore events."""

    await feedback(client_of(linked(), observer=RecordingObserver()), tmp_path / "log.csv")
    assert seen == [("mint", False, 200, None), ("exports", True, 200, None), ("download", False, 200, None)]


@pytest.mark.parametrize(("save", "name"), [(feedback, "user_feedback"), (call_me_back, "call_me_back")])
async def test_each_export_warns_and_names_its_replacement(save: Save, name: str, tmp_path: Path) -> None:
    with pytest.warns(TruecallerDeprecationWarning, match=rf"exports\.{name}.*do not work.*webhooks"):
        await save(client_of(linked()), tmp_path / "log.csv")
