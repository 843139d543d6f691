"""Power loss: what was synced is on the disk, and of the rest nobody knows what.

One campaign is run to its end under `strace`, which writes down each call on the journal's files and on the server's
log, with its data, in the order in which they happened. From that the disk at any moment can be made again. A cut is a
moment: every write up to the last sync of its file is there; of the later ones each is there, or not, or torn in the
middle of a sector; a rename or an unlink is there once its folder was synced, and before that as the dice fall. What
the server had taken by then it has taken, and the words that were told by then were told.

Then the campaign is gone on with on that disk, and held to the laws.
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
from tests.crash.nursery import Nursery
from tests.crash.points import BESIDE, ROWS, SEED, SHARES, held_to_the_laws
from tests.crash.twelve import DONE, ENDING, INPUT, JOURNAL, REQUESTS, SETTINGS, WORDS
from truecaller_async.errors import JournalError
from truecaller_async.journal.reader import JournalReader

CALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename"
DATA_MAX = 1_000_000
SECTOR = 512
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
ON_HANDLE = re.compile(r"^\d+<([^>]*)>(?:, (.*))?$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:, (\d+))?(?:, (\d+))?')


@attrs.frozen
class Step:
    """One call that changed something: `kind` is write, truncate, sync, unlink, rename or appear."""

    kind: str
    path: Path
    data: bytes = b""
    offset: int = 0
    to: Path | None = None


@attrs.define
class Tally:
    """What came of all cuts."""

    cuts: int = 0
    resumed: int = 0
    anew: int = 0
    refused: int = 0
    seconds: float = 0.0
    violations: list[str] = attrs.field(factory=list)


def cut_power(folder: Path, cuts: int, seed: int, policy: str = "resend") -> Tally:
    """So many cuts of one campaign."""
    counters = Tally()
    start = time.monotonic()
    rng = Random(f"power {seed}")
    rows = rows_of(ROWS, Random(SEED), SHARES)
    whole = folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(mode=0o700, parents=True)
    write_csv(whole / INPUT, rows, SETTINGS.labels[0].id)
    with Nursery("tests.crash.twelve") as nursery:
        steps = _recorded(whole, nursery, policy)
        for number in range(cuts):
            cut = folder / f"cut-{number}"
            shutil.rmtree(cut, ignore_errors=True)
            cut.mkdir(mode=0o700)
            moment = rng.randrange(len(steps) + 1)
            _make_disk(steps[:moment], whole, cut, rng)
            violations = _gone_on_with(cut, nursery, policy, counters)
            violations = violations or held_to_the_laws(cut, rows, policy)
            counters.cuts += 1
            counters.violations += [
                f"cut {number}, after {moment} of {len(steps)} steps: {text}" for text in violations
            ]
            if not violations:
                shutil.rmtree(cut)
    counters.seconds = time.monotonic() - start
    return counters


def _gone_on_with(cut: Path, nursery: Nursery, policy: str, counters: Tally) -> list[str]:
    """Go on with what is left. A journal that is refused must not have been one that was synced."""
    try:
        has_campaign = _has_campaign(cut / JOURNAL)
    except JournalError as error:
        counters.refused += 1
        return [f"the journal is refused: {error}"]
    counters.resumed += has_campaign
    counters.anew += not has_campaign
    end = nursery.run({"folder": str(cut), "policy": policy}, cut / "log")
    if end.code != DONE:
        said = (cut / ENDING).read_text() if (cut / ENDING).exists() else (cut / "log").read_text()[-300:]
        return [f"the next process ended with {end.code}: {said}"]
    return []


def _has_campaign(journal: Path) -> bool:
    if not journal.exists() or not journal.stat().st_size:
        return False
    with JournalReader(journal) as reader:
        return reader.state().started is not None


def _recorded(whole: Path, nursery: Nursery, policy: str) -> list[Step]:
    """Run it once, to the end, and write down every step."""
    trace = whole.parent / "trace"
    watched = [str(whole / f"{JOURNAL}{ending}") for ending in BESIDE if ending not in ("-shm", ".lock")]
    watched += [str(whole / REQUESTS), str(whole / WORDS), str(whole)]
    tracer = ["strace", "-f", "-qq", "-y", "-xx", "-s", str(DATA_MAX), "-o", str(trace), "-e", f"trace={CALLS}"]
    paths = [word for path in watched for word in ("-P", path)]
    order = {"folder": str(whole), "policy": policy}
    end = nursery.run(order, whole.parent / "log", tracer=[*tracer, *paths])
    if end.code != DONE:
        raise RuntimeError(f"the campaign that is recorded ended with {end.code}")
    steps = list(_steps(trace.read_text()))
    trace.unlink()
    return steps


def _steps(trace: str) -> Iterator[Step]:
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if line.endswith("<unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if (rest := RESUMED.match(line)) is not None:
            line = begun.pop(rest[1]) + rest[2].lstrip()
        call = CALL.match(line)
        if call is not None and int(call[4]) >= 0:
            yield from _step(call[2], call[3])


def _step(name: str, arguments: str) -> Iterator[Step]:
    if name in ("unlink", "rename", "openat"):
        texts = [Path(os.fsdecode(_bytes(found[1]))) for found in TEXT.finditer(arguments) if found[1]]
        if name == "openat":
            if "O_CREAT" in arguments:
                yield Step("appear", texts[-1])
        else:
            yield Step(name, texts[0], to=texts[-1] if name == "rename" else None)
        return
    on = ON_HANDLE.match(arguments)
    if on is None:
        raise RuntimeError(f"strace says something that is not understood: {name}({arguments[:80]}")
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
    """With -xx, paths are written like data."""
    return _bytes(text) if text.startswith("\\x") else text.encode()


def _make_disk(steps: Sequence[Step], whole: Path, cut: Path, rng: Random) -> None:
    """The files as they are after the power went behind the last of these steps."""
    shutil.copy(whole / INPUT, cut / INPUT)
    disk = Disk(whole, rng)
    for step in steps:
        disk.take(step)
    for path, data in disk.after_the_cut().items():
        new = cut / path.name
        new.write_bytes(data)
        new.chmod(0o600)


class Disk:
    """Files in memory: of each what is safe, and the changes since. Names are changed like data, in their folder."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self._folder = folder
        self._rng = rng
        self._inodes: list[bytearray] = []
        self._pending: list[list[Step]] = []
        self._names: dict[Path, int] = {}
        self._safe_names: dict[Path, int] = {}
        self._changes: list[Callable[[dict[Path, int]], None]] = []

    def take(self, step: Step) -> None:
        """One step more."""
        match step.kind:
            case "appear":
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
                self._settle(self._names[step.path])
            case "append":
                inode = self._names[step.path]
                self._inodes[inode] += step.data
            case _:
                self._pending[self._names[step.path]].append(step)

    def after_the_cut(self) -> dict[Path, bytes]:
        """What is found when the power is back."""
        names = dict(self._safe_names)
        for change in self._changes[: self._rng.randint(0, len(self._changes))]:
            change(names)
        others = {path: inode for path, inode in self._names.items() if path.name in (REQUESTS, WORDS)}
        for inode in set(names.values()):
            self._tear(inode)
        return {path: bytes(self._inodes[inode]) for path, inode in {**names, **others}.items()}

    def _rename(self, change: Callable[[dict[Path, int]], object]) -> None:
        change(self._names)
        self._changes.append(change)  # type: ignore[arg-type]

    def _settle(self, inode: int) -> None:
        for step in self._pending[inode]:
            _apply(self._inodes[inode], step)
        self._pending[inode] = []

    def _tear(self, inode: int) -> None:
        """Of the writes that were not synced, in their order or in none, each is there, or not, or torn."""
        pending = self._pending[inode]
        in_order = self._rng.random() < 0.5
        reached = self._rng.randint(0, len(pending))
        for number, step in enumerate(pending):
            if number < reached if in_order else self._rng.random() < 0.5:
                _apply(self._inodes[inode], step)
            elif step.kind == "write" and self._rng.random() < 0.5:
                torn = self._rng.choice(
                    (self._rng.randrange(len(step.data) + 1), len(step.data) // SECTOR // 2 * SECTOR)
                )
                _apply(self._inodes[inode], attrs.evolve(step, data=step.data[:torn]))


def _moved(names: dict[Path, int], step: Step) -> None:
    if step.to is not None and step.path in names:
        names[step.to] = names.pop(step.path)


def _apply(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data
