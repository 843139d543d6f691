"""The golden cases: the rows of each campaign, what goes wrong, and how its process ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import attrs

from tests.campaign.world import LABEL, Fault
from tests.crash.campaigns import DUPLICATE, EXPIRED, GOOD, INVALID, NO_LABEL, SAME_PAIR, UNKNOWN_LABEL, Row, reason_of
from tests.journal.golden.server import Behaviour
from tests.virtual import BASE
from truecaller_async import CampaignOptions, PollPolicy
from truecaller_async.journal.maintenance import decide, purge
from truecaller_async.models import Request

BATCH_ROWS = 4
HOUR_MS = 3_600_000
CALLERS = ("911140001234", "911140001235")
POLL = PollPolicy(first=2.0, factor=1.0, cap=2.0)
DECIDED_AT = BASE + 60.0

FAILING = "failing"
"""A good row that the server answers with a failure."""


@attrs.frozen
class Kill:
    """The moment at which a process is killed with SIGKILL.

    "before" and "after": when the n-th request of a call leaves, and when the server has applied it. "at": after so
    many seconds. "when": after the commit that makes this SQL query true.
    """

    how: Literal["before", "after", "at", "when"]
    call: str = ""
    number: float = 1


@attrs.frozen
class Case:
    """One golden campaign."""

    name: str
    """The name of its folder."""
    about: str
    """What it shows, as a sentence."""
    kinds: Sequence[str]
    """The kinds of its rows (`tests.crash.campaigns`)."""
    kills: Sequence[Kill] = ()
    """One process for each, killed so. Without one, a single process runs to its end."""
    states: Mapping[str, int] = attrs.field(factory=dict)
    """The states of its open batches, each with their number."""
    faults: Mapping[tuple[str, int], str] = attrs.field(factory=dict)
    """By call and number of the request in its process, 0 for all others: a fault of `tests.campaign.world.Fault`."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Its `CampaignOptions`."""
    behaviour: Behaviour = attrs.field(factory=Behaviour)
    """How the server behaves."""
    source: Literal["csv", "jsonl", "list"] = "csv"
    """The form of the source; a list cannot be reopened."""
    stop: tuple[str, float] | None = None
    """Stop the run ("drain" or "abort") after so many seconds."""
    is_on_network: bool = False
    """Write it as on a network file system."""
    batch_rows: int = BATCH_ROWS
    """Records of a batch."""
    afterwards: Callable[[Path], None] | None = None
    """What happens to the journal after the last process."""

    @property
    def rows(self) -> list[Row]:
        """Return its rows."""
        rows: list[Row] = []
        for number, kind in enumerate(self.kinds, 1):
            rows.append(_row(number, kind, rows))
        return rows

    def campaign_options(self) -> CampaignOptions:
        """Return its options; small values keep the campaign short."""
        return CampaignOptions(**{"linger": 0.05, "poll": POLL, **self.options})

    def fault(self) -> Fault | None:
        """Return its faults as a function."""
        if not self.faults:
            return None

        def fault(request: Request, number: int, _: Random) -> str | None:
            return self.faults.get((request.call, number), self.faults.get((request.call, 0)))

        return fault


def _row(number: int, kind: str, earlier: Sequence[Row]) -> Row:
    if kind in (DUPLICATE, SAME_PAIR):
        first = next(row for row in earlier if row.kind == GOOD)
        return attrs.evolve(first, number=number, kind=kind, source_row=1 if kind == DUPLICATE else number)
    receiver = "12" if kind == INVALID else f"9198{number:06d}{'13' if kind == FAILING else '00'}"
    return Row(number, number, GOOD if kind == FAILING else kind, CALLERS[number % 2], receiver)


def record_of(row: Row) -> dict[str, Any]:
    """Return the record of a row as the source has it."""
    starts = int(BASE * 1000) - (10 * HOUR_MS if row.kind == EXPIRED else 0)
    return {
        "caller": row.caller,
        "receiver": row.receiver,
        "label_id": NO_LABEL if row.kind == UNKNOWN_LABEL else LABEL,
        "reason": reason_of(row.source_row),
        "starts_at": starts,
        "ends_at": starts + 8 * HOUR_MS,
        "key": f"key {row.source_row}",
    }


def write_input(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as JSON lines, or as CSV."""
    records = [record_of(row) for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return
    lines = [",".join(record_of(Row(1, 1, GOOD, "", ""))), *(",".join(map(str, one.values())) for one in records)]
    path.write_text("\n".join(lines) + "\n")


def _mixed(count: int) -> list[str]:
    """Return good rows, and one of each kind that does not make the server reject a batch."""
    kinds = [GOOD] * count
    kinds[1], kinds[3], kinds[5], kinds[6] = FAILING, INVALID, DUPLICATE, EXPIRED
    return kinds


def _with_bad(count: int, *bad: int) -> list[str]:
    return [UNKNOWN_LABEL if number in bad else GOOD for number in range(1, count + 1)]


def _decide(*decisions: tuple[int, bool]) -> Callable[[Path], None]:
    def afterwards(journal: Path) -> None:
        for seq, applied in decisions:
            decide(journal, seq, applied, DECIDED_AT)

    return afterwards


OPEN_IN = "SELECT count(*) FROM batch WHERE open_rows > 0 AND state = "
HOLD = {"on_ambiguous": "hold"}
WATERMARK = {"correlate": "watermark"}
ALL_LOST_AFTER = {("submit", 0): "lost_after"}
ALL_LOST_BEFORE = {("submit", 0): "lost_before"}

CASES = (
    Case(
        "planned",
        "Batches are planned; the process was killed before the first token was minted.",
        _mixed(10),
        [Kill("before", "mint")],
        {"planned": 2},
    ),
    Case(
        "in_flight_not_applied",
        "The process was killed during a POST that never reached the server.",
        _mixed(14),
        [Kill("before", "submit", 2)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
    ),
    Case(
        "in_flight_applied",
        "The process was killed during a POST that the server applied.",
        _mixed(14),
        [Kill("after", "submit", 2)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
    ),
    Case(
        "in_flight_hold",
        "The same with the policy hold: the batch must never be sent again.",
        _mixed(14),
        [Kill("after", "submit", 2)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
        options=HOLD,
    ),
    Case(
        "accepted",
        "All batches are accepted and none was polled.",
        _mixed(14),
        [Kill("before", "status")],
        {"accepted": 3},
    ),
    Case(
        "accepted_some_rows_final",
        "A batch is accepted, and some of its rows are final.",
        [GOOD, FAILING] * 5,
        [Kill("before", "status", 2)],
        {"accepted": 1},
        behaviour=Behaviour(resolve_after=1.0, resolve_spread=30.0),
        batch_rows=20,
    ),
    Case(
        "ambiguous",
        "Every answer was lost after the batch was applied; the batches wait until they are sent again.",
        [GOOD] * 10,
        [Kill("at", number=3.0)],
        {"ambiguous": 3},
        faults=ALL_LOST_AFTER,
    ),
    Case(
        "abandoned",
        "With hold, a lost answer is abandoned; the run ended by itself.",
        [*[GOOD] * 9, FAILING],
        states={"abandoned": 1},
        faults={("submit", 2): "lost_after"},
        options=HOLD,
    ),
    Case(
        "abandoned_killed",
        "With hold, batches are abandoned, and a row of the same pair as an abandoned one was sent.",
        [*[GOOD] * 8, SAME_PAIR, GOOD],
        [Kill("before", "status")],
        {"abandoned": 1, "accepted": 2},
        faults={("submit", 1): "lost_after"},
        options=HOLD,
    ),
    Case(
        "decided_not_applied",
        "The operator decided that the server had not applied an abandoned batch.",
        [GOOD] * 10,
        states={"planned": 1},
        faults={("submit", 2): "lost_before"},
        options=HOLD,
        afterwards=_decide((2, False)),
    ),
    Case(
        "decided_both_ways",
        "Of two abandoned batches one was decided as applied, the other is not decided.",
        [GOOD] * 10,
        states={"abandoned": 1},
        faults={("submit", 1): "lost_after", ("submit", 3): "lost_after"},
        options=HOLD,
        afterwards=_decide((1, True)),
    ),
    Case(
        "isolation_realtime",
        "Of a rejected batch some single records are done, one is in flight and others are queued.",
        _with_bad(8, 3),
        [Kill("before", "push", 4)],
        {"in_flight": 1, "planned": 4},
        batch_rows=8,
    ),
    Case(
        "isolation_bisect",
        "A rejected batch is halved; one half is accepted, the other is being halved.",
        _with_bad(16, 3),
        [Kill("before", "submit", 4)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
        options={"isolate": "bisect"},
        batch_rows=16,
    ),
    Case(
        "isolation_watermark",
        "Halves of a rejected batch with a watermark: the place of a row in the whole batch was sent.",
        _with_bad(12, 2),
        [Kill("before", "status")],
        {"accepted": 4},
        options={"isolate": "bisect", **WATERMARK},
        batch_rows=12,
    ),
    Case(
        "too_large",
        "A batch was refused as too large (413) and halved; one half is in flight.",
        [GOOD] * 8,
        [Kill("after", "submit", 2)],
        {"in_flight": 1, "planned": 1},
        behaviour=Behaviour(too_large=True),
        batch_rows=8,
    ),
    Case(
        "stopped",
        "The account may not send (403): the run ended with an error.",
        [GOOD] * 10,
        faults={("submit", 0): "403"},
        states={"stopped": 1, "planned": 2},
    ),
    Case(
        "aborted",
        "The run was aborted while batches were accepted.",
        _mixed(14),
        stop=("abort", 1.0),
        states={"accepted": 3},
    ),
    Case(
        "watermark",
        "Accepted batches with a watermark, one with some final rows and two rows of one pair.",
        [GOOD, GOOD, SAME_PAIR, *[GOOD] * 7],
        [Kill("before", "status", 5)],
        {"accepted": 3},
        options=WATERMARK,
        behaviour=Behaviour(resolve_after=1.0, resolve_spread=30.0),
    ),
    Case(
        "payload",
        "The source cannot be reopened: accepted, in flight and planned batches have their records in the journal.",
        _mixed(14),
        [Kill("after", "submit", 2)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
        source="list",
    ),
    Case(
        "payload_isolation",
        "The source cannot be reopened, and a batch is in the search for its bad record.",
        _with_bad(8, 3),
        [Kill("before", "push", 4)],
        {"in_flight": 1, "planned": 4},
        source="list",
        batch_rows=8,
    ),
    Case(
        "network",
        "The journal has no write-ahead log, as on a network file system.",
        _mixed(14),
        [Kill("after", "submit", 2)],
        {"accepted": 1, "in_flight": 1, "planned": 1},
        is_on_network=True,
    ),
    Case(
        "superseded",
        "With keep_last, earlier rows of a pair were replaced before they were sent.",
        [*[GOOD] * 6, SAME_PAIR, *[GOOD] * 3, SAME_PAIR, GOOD],
        [Kill("before", "submit", 1)],
        {"in_flight": 1, "planned": 2},
        options={"same_pair": "keep_last"},
    ),
    Case(
        "possibly_duplicated",
        "A batch whose answer was lost was sent again and accepted: its rows are flagged.",
        [*[GOOD] * 9, FAILING],
        [Kill("before", "status", 3)],
        {"accepted": 1},
        faults={("submit", 1): "lost_after", ("submit", 2): "lost_after"},
    ),
    Case(
        "partly_read",
        "The source was read in part, because the unresolved rows reached their bound.",
        _mixed(24),
        [Kill("before", "status")],
        {"accepted": 3},
        options={"max_unresolved": 8},
    ),
    Case(
        "two_runs",
        "Two processes worked on the campaign, and both were killed.",
        _mixed(14),
        [Kill("after", "submit", 2), Kill("before", "status", 2)],
        {"accepted": 2},
    ),
    Case(
        "json_lines",
        "The source is a file of JSON lines.",
        _mixed(10),
        [Kill("before", "submit", 2)],
        {"accepted": 1, "in_flight": 1},
        source="jsonl",
    ),
    Case(
        "finished",
        "The campaign is finished, with every kind of row.",
        [*_mixed(12), UNKNOWN_LABEL, GOOD, SAME_PAIR],
    ),
    Case("empty", "The source has no rows.", []),
    Case("purged", "A finished campaign was purged.", _mixed(10), afterwards=purge),
)
"""All cases."""

BY_NAME: Mapping[str, Case] = {case.name: case for case in CASES}
