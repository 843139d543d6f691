"""S04, S34, S35 and S36: data that a campaign of 10,000 records leaves on disk and in the log.

One campaign runs over a real socket, with a journal, a token store and a results file. Its files are read as bytes
while it runs and again after its end, and its log is collected at DEBUG.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import re
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from truecaller_async import CallRecord, Summary, TruecallerClient, read_csv
from truecaller_async.journal.maintenance import purge
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .canary import Collected, collecting, leaks, traces_of_secret
from .host import CALLER, KEY

ROWS = 10_000
LONG_NUMBER = re.compile(rb"\d{9,}")
DIGITS = 12
PACKED = 6
"""Bytes of such a number as an integer in a table."""


def receiver(row: int) -> str:
    """Return the records; the sandbox rejects one in a hundred."""
    return f"9198{row * 7919 % 1_000_000:06d}{13 if row % 100 == 7 else 0:02d}"


RECEIVERS = [receiver(row) for row in range(1, ROWS + 1)]


@attrs.frozen
class Left:
    """Files and log of the campaign."""

    folder: Path
    summary: Summary
    collected: Collected
    token: str
    while_running: dict[str, bytes]
    temporary: list[str]

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def numbers_in(data: bytes) -> set[str]:
    """Return the receivers that the bytes contain, as digits or as integers."""
    digits, packed = set(RECEIVERS), {int(number).to_bytes(PACKED, "big"): number for number in RECEIVERS}
    found = {
        run[start : start + DIGITS].decode()
        for run in LONG_NUMBER.findall(data)
        for start in range(len(run) - DIGITS + 1)
    }
    windows = {data[start : start + PACKED] for start in range(len(data) - PACKED + 1)}
    return (found & digits) | {packed[window] for window in windows & packed.keys()}


def files_in(folder: Path) -> dict[str, bytes]:
    """Return all files except the input."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".csv"}


async def campaign(folder: Path) -> tuple[Summary, str, dict[str, bytes]]:
    settings = SandboxSettings(api_key=KEY, limits=SPEEDS["off"], resolve_after=0.0)
    seen: dict[str, bytes] = {}
    async with await Sandbox.start(settings) as sandbox:
        label = sandbox.settings.labels[0].id
        write_input(folder / "input.csv", label)
        state = f"sqlite:///{folder / 'state.db'}"
        async with TruecallerClient.from_env(sandbox.environment(), state=state) as client:
            async with client.push_many(read_csv(folder / "input.csv"), journal=folder / "campaign.db") as stream:
                async for result in stream:
                    if result.row == ROWS // 2:
                        seen = files_in(folder)
            with closing(sqlite3.connect(folder / "state.db")) as db:
                (token,) = db.execute("SELECT token FROM token").fetchone()
    return stream.summary, token, seen


def write_input(path: Path, label: str) -> None:
    start = datetime.now(UTC)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["caller", "receiver", "label_id", "reason", "starts_at", "ends_at", "key"])
        ends = (start + timedelta(hours=4)).isoformat()
        reason = "Calling about your delivery"
        for row, number in enumerate(RECEIVERS, 1):
            writer.writerow([CALLER, number, label, reason, start.isoformat(), ends, f"k{row}"])


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder, temporary = tmp_path_factory.mktemp("campaign"), tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch, collecting() as collected:
        patch.setattr(tempfile, "tempdir", str(temporary))
        summary, token, seen = asyncio.run(campaign(folder))
    assert summary.read == ROWS
    assert (summary.delivered, summary.failed) == (ROWS - 100, 100)
    assert seen.keys() >= {"campaign.db", "campaign.db-wal", "campaign.db-shm", "state.db"}
    return Left(folder, summary, collected, token, seen, sorted(path.name for path in temporary.iterdir()))


@pytest.mark.fault("S04")
def test_key_is_in_no_file_and_token_only_in_the_token_file(left: Left) -> None:
    key, token = {"key": traces_of_secret(KEY)}, {"token": traces_of_secret(left.token)}
    texts = [(name, data.decode("latin-1")) for name, data in left.while_running.items()]
    texts += [(name, data.decode("latin-1")) for name, data in files_in(left.folder).items()]
    assert leaks(key, texts) == []
    assert {leak.place for leak in leaks(token, texts)} == {"state.db", "state.db-wal"}


@pytest.mark.fault("S04")
def test_campaign_files_are_private_and_no_temporary_file_remains(left: Left) -> None:
    own = {path.name: stat.S_IMODE(path.stat().st_mode) for path in left.folder.iterdir() if path.suffix != ".csv"}
    assert own == {"campaign.db": 0o600, "state.db": 0o600}
    assert left.temporary == []


@pytest.mark.fault("S34")
def test_debug_log_contains_none_of_ten_thousand_numbers(left: Left) -> None:
    log_text = "\n".join(text for _, text in left.collected.texts())
    own = [record for record in left.collected.log.records if record.name == "truecaller_async"]
    assert len(own) > sum(left.summary.requests.values()) > 2 * ROWS / 500
    assert numbers_in(log_text.encode()) == set()
    assert numbers_in(f"{log_text} {RECEIVERS[77]}".encode()) == {RECEIVERS[77]}


@pytest.mark.fault("S35")
def test_journal_contains_no_number_during_and_after_writing(left: Left) -> None:
    parts = {name: data for name, data in left.while_running.items() if name.startswith("campaign.db")}
    assert sum(len(data) for data in parts.values()) > 100_000
    parts["afterwards"] = left.file("campaign.db")
    assert {name: found for name, data in parts.items() if (found := numbers_in(data))} == {}
    assert len(numbers_in(left.file("input.csv"))) == len(set(RECEIVERS)), "the search finds what is there"


@pytest.mark.fault("S35")
def test_purge_removes_kept_records_from_the_journal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    asyncio.run(stopped_at_once(path))
    with closing(sqlite3.connect(path)) as db:
        kept = [payload for (payload,) in db.execute("SELECT records FROM payload")]
        salt = db.execute("SELECT salt FROM campaign").fetchone()[0]
    assert kept
    before = path.read_bytes()
    assert all(payload[start : start + 24] in before for payload in kept for start in (0, len(payload) // 2))
    purge(path, force=True)
    after = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for payload in kept:
        assert not any(payload[start : start + 24] in after for start in range(0, len(payload) - 24, 24))
    assert salt not in after


async def stopped_at_once(path: Path) -> None:
    """Run a campaign whose input cannot be read again, so that the journal holds its records."""
    start = datetime.now(UTC)
    rows = (CallRecord(CALLER, number, start, start + timedelta(hours=4)) for number in RECEIVERS[:2000])
    async with (
        await Sandbox.start(SandboxSettings(resolve_after=60.0)) as sandbox,
        TruecallerClient.from_env(sandbox.environment(), state="memory:") as client,
        client.push_many(rows, journal=path) as stream,
    ):
        while stream.progress.read < 1000:  # noqa: ASYNC110 - the stream rings no bell
            await asyncio.sleep(0.005)
        await stream.abort()
        async for _ in stream:
            pass


DIGESTS = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s", "sha3_256")


def plain_digests(number: str) -> Iterator[bytes]:
    """Return hashes of a number that need no salt, in full and in the length of a fingerprint."""
    for name in DIGESTS:
        digest = hashlib.new(name, number.encode()).digest()
        yield from (digest, digest[:8], digest.hex().encode(), digest[:8].hex().encode())
    yield hashlib.blake2b(number.encode(), digest_size=8).digest()


@pytest.mark.fault("S36")
def test_journal_has_no_unkeyed_digest_of_a_number(left: Left) -> None:
    data = left.file("campaign.db")
    assert not [number for number in RECEIVERS[::100] if any(digest in data for digest in plain_digests(number))]


@pytest.mark.fault("S36")
def test_equal_rows_have_other_fingerprints_in_another_campaign(left: Left, tmp_path: Path) -> None:
    async def again() -> None:
        async with (
            await Sandbox.start(SandboxSettings(limits=SPEEDS["off"], resolve_after=0.0)) as sandbox,
            TruecallerClient.from_env(sandbox.environment(), state="memory:") as client,
            client.push_many(read_csv(left.folder / "input.csv"), journal=tmp_path / "again.db") as stream,
        ):
            async for _ in stream:
                pass

    asyncio.run(again())
    first, second = prints_of(left.folder / "campaign.db"), prints_of(tmp_path / "again.db")
    assert len(first.salt) >= 16
    assert first.salt != second.salt
    assert min(len(first.fingerprints), len(second.fingerprints)) >= ROWS // 500
    assert not first.fingerprints & second.fingerprints


@attrs.frozen
class Kept:
    """Return the fingerprints in a journal."""

    salt: bytes
    fingerprints: set[bytes]


def prints_of(path: Path) -> Kept:
    with closing(sqlite3.connect(path)) as db:
        salt = db.execute("SELECT salt FROM campaign").fetchone()[0]
        return Kept(salt, {row[0] for row in db.execute("SELECT fingerprints FROM read_block")})
