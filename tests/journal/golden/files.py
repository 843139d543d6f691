"""Store golden journals, and copy one to a folder where it can be used."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.crash.campaigns import Row
from tests.journal.golden.cases import Case
from tests.journal.golden.child import ENDED, JOURNAL, REQUESTS, input_name, source_of
from tests.journal.golden.server import Behaviour, LoggedRequest, LoggedServer, read_log
from truecaller_async._version import __version__
from truecaller_async.journal.reader import JournalReader

HERE = Path(__file__).parent
DESCRIPTION = "case.json"
PACKED_SUFFIX = ".gz"
JOURNAL_FILES = (JOURNAL, f"{JOURNAL}-wal")
FOLDER_MAX_BYTES = 40_000


@attrs.frozen
class Contents:
    """The content of a journal as a reader finds it, in values that JSON has."""

    read: int
    """How many rows were read."""
    source_exhausted: bool
    """Whether the source was read to its end."""
    final: Mapping[str, int]
    """The number of rows with a final outcome, by outcome."""
    possibly_duplicated: int
    """The number of rows with a final outcome that are flagged."""
    batches: Sequence[Sequence[Any]]
    """The open batches: number, state, call, open rows, attempts, lost answers, flagged."""
    runs: int
    """The number of processes."""
    notes: Mapping[str, str]
    """The notes of the caller."""
    is_purged: bool
    """Whether it contains only its summary."""

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Read a journal."""
        with JournalReader(path) as reader:
            state = reader.state()
            is_purged = reader.purged()
        return cls(
            state.position.row,
            state.source_exhausted,
            {outcome.value: count for outcome, count in sorted(state.outcomes.items()) if count},
            state.possibly_duplicated,
            [
                [
                    batch.seq,
                    str(batch.state),
                    batch.call,
                    list(batch.open_rows),
                    batch.attempts,
                    batch.lost_answers,
                    batch.possibly_duplicated,
                ]
                for batch in state.open
            ],
            state.runs,
            dict(state.notes),
            is_purged,
        )

    @property
    def states(self) -> Counter[str]:
        """Return the states of the open batches with their numbers."""
        return Counter(batch[1] for batch in self.batches)


@attrs.frozen
class Golden:
    """One stored golden journal."""

    folder: Path
    """Where it is stored."""
    about: str
    """What it shows."""
    source: str
    """The form of its source: "csv", "jsonl" or "list"."""
    policy: str
    """Its `on_ambiguous`."""
    is_on_network: bool
    """Whether it was written as on a network file system."""
    rows: Sequence[Row]
    """The rows of its source."""
    behaviour: Behaviour
    """How its server behaves."""
    ended_at: float
    """When its last process ended, in wall-clock seconds."""
    contents: Contents
    """What it contains."""
    requests: Sequence[LoggedRequest]
    """The requests that its server handled."""

    @property
    def name(self) -> str:
        """Return the version and the case."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def version(self) -> int:
        """Return the version of its tables."""
        return int(self.folder.parent.name.removeprefix("v"))

    def server(self) -> LoggedServer:
        """Return its server in the state after the requests."""
        server = LoggedServer(attrs.evolve(self.behaviour, too_large=False))
        server.replay(self.requests)
        return server

    def unpack(self, folder: Path) -> Path:
        """Write the journal and its input to a folder, and return the path of the journal."""
        for name in JOURNAL_FILES:
            packed = self.folder / (name + PACKED_SUFFIX)
            if packed.exists():
                target = folder / name
                target.touch(0o600)
                target.write_bytes(gzip.decompress(packed.read_bytes()))
        shutil.copy(self.folder / input_name(self.source), folder)
        return folder / JOURNAL

    def source_in(self, folder: Path) -> object:
        """Return the source in a folder to which it was unpacked."""
        return source_of(self.source, folder / input_name(self.source))


def versions() -> list[int]:
    """Return the schema versions of which there are golden journals."""
    return sorted(int(path.name.removeprefix("v")) for path in HERE.glob("v*") if path.is_dir())


def stored() -> Iterator[Golden]:
    """Yield all golden journals."""
    for version in versions():
        for folder in sorted((HERE / f"v{version}").iterdir()):
            yield load(folder)


def load(folder: Path) -> Golden:
    """Return one golden journal."""
    values = json.loads((folder / DESCRIPTION).read_text())
    values["rows"] = [Row(number, *row) for number, row in enumerate(values["rows"], 1)]
    values["behaviour"] = Behaviour(**values["behaviour"])
    values["contents"] = Contents(**values["contents"])
    values.pop("library")
    return Golden(folder, **values)


def store(case: Case, made: Path, folder: Path) -> int:
    """Store what the processes of a case left in the folder `made`; return the number of bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in JOURNAL_FILES:
        content = (made / name).read_bytes() if (made / name).exists() else b""
        if content:
            (folder / (name + PACKED_SUFFIX)).write_bytes(gzip.compress(content, mtime=0))
    shutil.copy(made / input_name(case.source), folder)
    contents = Contents.of(made / JOURNAL)  # after the copy: a reader leaves files beside the journal
    assert contents.states == Counter(case.states), f"{case.name}: {dict(contents.states)}, not {dict(case.states)}"
    description = {
        "about": case.about,
        "library": __version__,
        "source": case.source,
        "policy": case.campaign_options().on_ambiguous,
        "is_on_network": case.is_on_network,
        "rows": [[row.source_row, row.kind, row.caller, row.receiver] for row in case.rows],
        "behaviour": attrs.asdict(case.behaviour),
        "ended_at": float((made / ENDED).read_text()),
        "contents": attrs.asdict(contents),
        "requests": read_log(made / REQUESTS),
    }
    (folder / DESCRIPTION).write_text(_as_text(description))
    return sum(file.stat().st_size for file in folder.iterdir())


def _as_text(description: Mapping[str, Any]) -> str:
    """Return JSON with one line for each value, row and request."""
    parts = []
    for name, value in description.items():
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
        else:
            text = json.dumps(value)
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
