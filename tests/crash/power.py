"""Cut the power at random moments of a campaign: only synced data is certainly on the disk.

Algorithm:
    One campaign is run to its end under `strace`, which records each call on the files of the journal and on the log of
    the server, with its data. From the record the content of the disk at any moment is built. A cut is such a moment:
    each write before the last sync of its file is on the disk; each later one is there, or is not, or is torn within a
    sector; renames and unlinks are there if their folder was synced afterwards, otherwise a random number of them. What
    the server had applied stays applied, and outcomes that were reported stay reported. Then the campaign is resumed
    on that disk, and the laws are checked.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import attrs

from tests.crash.campaigns import rows_of, write_csv
from tests.crash.forker import ProcessForker
from tests.crash.points import FILE_SUFFIXES, ROWS_COUNT, SEED, SHARES, violated_laws
from tests.crash.small_campaign import DONE, ENDING, INPUT, JOURNAL, OUTCOMES, REQUESTS, SETTINGS
from truecaller_async.errors import JournalError
from truecaller_async.journal.reader import JournalReader

CALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename"
DATA_MAX_BYTES = 1_000_000
SECTOR_BYTES = 512
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
ON_HANDLE = re.compile(r"^\d+<([^>]*)>(?:, (.*))?$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:, (\d+))?(?:, (\d+))?')


@attrs.frozen
class Step:
    """One call that changed something."""

    kind: str
    """write, append, truncate, sync, unlink, rename or create."""
    path: Path
    data: bytes = b""
    offset: int = 0
    to: Path | None = None


@attrs.define
class CutResults:
    """The results of all cuts."""

    cuts: int = 0
    resumed: int = 0
    restarted: int = 0
    refused: int = 0
    seconds: float = 0.0
    violations: list[str] = attrs.field(factory=list)


def cut_power(folder: Path, cuts: int, seed: int, policy: str = "resend") -> CutResults:
    """Cut the power of one campaign at random moments."""
    results = CutResults()
    start = time.monotonic()
    rng = Random(f"power {seed}")
    rows = rows_of(ROWS_COUNT, Random(SEED), SHARES)
    whole = folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(mode=0o700, parents=True)
    write_csv(whole / INPUT, rows, SETTINGS.labels[0].id)
    with ProcessForker("tests.crash.small_campaign") as forker:
        steps = _record(whole, forker, policy)
        for number in range(cuts):
            cut = folder / f"cut-{number}"
            shutil.rmtree(cut, ignore_errors=True)
            cut.mkdir(mode=0o700)
            moment = rng.randrange(len(steps) + 1)
            _write_files(steps[:moment], whole, cut, rng)
            violations = _resume(cut, forker, policy, results)
            violations = violations or violated_laws(cut, rows, policy)
            results.cuts += 1
            results.violations += [f"cut {number}, after {moment} of {len(steps)} steps: {text}" for text in violations]
            if not violations:
                shutil.rmtree(cut)
    results.seconds = time.monotonic() - start
    return results


def _resume(cut: Path, forker: ProcessForker, policy: str, results: CutResults) -> list[str]:
    """Resume the campaign on the remaining files; return what went wrong."""
    try:
        has_campaign = _has_campaign(cut / JOURNAL)
    except JournalError as error:
        results.refused += 1
        return [f"the journal is refused: {error}"]
    results.resumed += has_campaign
    results.restarted += not has_campaign
    end = forker.run({"folder": str(cut), "policy": policy}, cut / "log")
    if end.code != DONE:
        output = (cut / ENDING).read_text() if (cut / ENDING).exists() else (cut / "log").read_text()[-300:]
        return [f"the next process ended with {end.code}: {output}"]
    return []


def _has_campaign(journal: Path) -> bool:
    if not journal.exists() or not journal.stat().st_size:
        return False
    with JournalReader(journal) as reader:
        return reader.state().started is not None


def _record(whole: Path, forker: ProcessForker, policy: str) -> list[Step]:
    """Run the campaign to its end and return every step."""
    trace = whole.parent / "trace"
    watched = [str(whole / f"{JOURNAL}{ending}") for ending in FILE_SUFFIXES if ending not in ("-shm", ".lock")]
    watched += [str(whole / REQUESTS), str(whole / OUTCOMES), str(whole)]
    tracer = ["strace", "-f", "-qq", "-y", "-xx", "-s", str(DATA_MAX_BYTES), "-o", str(trace), "-e", f"trace={CALLS}"]
    paths = [argument for path in watched for argument in ("-P", path)]
    order = {"folder": str(whole), "policy": policy}
    end = forker.run(order, whole.parent / "log", tracer=[*tracer, *paths])
    if end.code != DONE:
        raise RuntimeError(f"the campaign that is recorded ended with {end.code}")
    steps = list(_steps(trace.read_text()))
    trace.unlink()
    return steps


def _steps(trace: str) -> Iterator[Step]:
    unfinished: dict[str, str] = {}
    for line in trace.splitlines():
        if line.endswith("<unfinished ...>"):
            unfinished[line.split()[0]] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if (rest := RESUMED.match(line)) is not None:
            line = unfinished.pop(rest[1]) + rest[2].lstrip()
        call = CALL.match(line)
        if call is not None and int(call[4]) >= 0:
            yield from _step(call[2], call[3])


def _step(name: str, arguments: str) -> Iterator[Step]:
    if name in ("unlink", "rename", "openat"):
        texts = [Path(os.fsdecode(_bytes(found[1]))) for found in TEXT.finditer(arguments) if found[1]]
        if name == "openat":
            if "O_CREAT" in arguments:
                yield Step("create", texts[-1])
        else:
            yield Step(name, texts[0], to=texts[-1] if name == "rename" else None)
        return
    on = ON_HANDLE.match(arguments)
    if on is None:
        raise RuntimeError(f"unknown output of strace: {name}({arguments[:80]}")
    path, rest = Path(os.fsdecode(_path(on[1]))), on[2] or ""
    if name in ("fdatasync", "fsync"):
        yield Step("sync", path)
    elif name == "ftruncate":
        yield Step("truncate", path, offset=int(rest))
    else:
        text = TEXT.match(rest)
        assert text is not None
        yield Step("write" if name == "pwrite64" else "append", path, _bytes(text[1]), int(text[3] or 0))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _path(text: str) -> bytes:
    # With -xx, strace writes paths like data.
    return _bytes(text) if text.startswith("\\x") else text.encode()


def _write_files(steps: Sequence[Step], whole: Path, cut: Path, rng: Random) -> None:
    """Write the files as they are after a power cut behind the last of these steps."""
    shutil.copy(whole / INPUT, cut / INPUT)
    disk = Disk(whole, rng)
    for step in steps:
        disk.apply(step)
    for path, data in disk.files_after_cut().items():
        new = cut / path.name
        new.write_bytes(data)
        new.chmod(0o600)


class Disk:
    """The files of one folder in memory: the synced content, and the changes since the last sync."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self._folder = folder
        self._rng = rng
        self._inodes: list[bytearray] = []
        self._pending: list[list[Step]] = []
        self._names: dict[Path, int] = {}
        self._safe_names: dict[Path, int] = {}
        self._changes: list[Callable[[dict[Path, int]], None]] = []

    def apply(self, step: Step) -> None:
        """Apply one step."""
        match step.kind:
            case "create":
                if step.path not in self._names and step.path != self._folder:
                    self._inodes.append(bytearray())
                    self._pending.append([])
                    inode = len(self._inodes) - 1
                    self._rename(lambda names: names.__setitem__(step.path, inode))
            case "unlink":
                self._rename(lambda names: names.pop(step.path, None))
            case "rename":
                self._rename(lambda names: _moved(names, step))
            case "sync" if step.path == self._folder:
                self._safe_names, self._changes = dict(self._names), []
            case "sync":
                self._sync(self._names[step.path])
            case "append":
                inode = self._names[step.path]
                self._inodes[inode] += step.data
            case _:
                self._pending[self._names[step.path]].append(step)

    def files_after_cut(self) -> dict[Path, bytes]:
        """Return the files that are found after the power cut."""
        names = dict(self._safe_names)
        for change in self._changes[: self._rng.randint(0, len(self._changes))]:
            change(names)
        others = {path: inode for path, inode in self._names.items() if path.name in (REQUESTS, OUTCOMES)}
        for inode in set(names.values()):
            self._tear(inode)
        return {path: bytes(self._inodes[inode]) for path, inode in {**names, **others}.items()}

    def _rename(self, change: Callable[[dict[Path, int]], object]) -> None:
        change(self._names)
        self._changes.append(change)  # type: ignore[arg-type]

    def _sync(self, inode: int) -> None:
        for step in self._pending[inode]:
            _change(self._inodes[inode], step)
        self._pending[inode] = []

    def _tear(self, inode: int) -> None:
        """Apply a random part of the unsynced writes: each one is there, or is not, or is torn."""
        pending = self._pending[inode]
        in_order = self._rng.random() < 0.5
        reached = self._rng.randint(0, len(pending))
        for number, step in enumerate(pending):
            if number < reached if in_order else self._rng.random() < 0.5:
                _change(self._inodes[inode], step)
            elif step.kind == "write" and self._rng.random() < 0.5:
                torn = self._rng.choice(
                    (self._rng.randrange(len(step.data) + 1), len(step.data) // SECTOR_BYTES // 2 * SECTOR_BYTES)
                )
                _change(self._inodes[inode], attrs.evolve(step, data=step.data[:torn]))


def _moved(names: dict[Path, int], step: Step) -> None:
    if step.to is not None and step.path in names:
        names[step.to] = names.pop(step.path)


def _change(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data
