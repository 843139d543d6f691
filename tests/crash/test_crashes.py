"""Run the short forms of the crash tests; the long ones are `python -m tests.crash`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.kills import kill_loop
from tests.crash.points import CALLS, Point, PointRunner, every_point, strace_problem
from tests.crash.power import cut_power

KILLS = 30
EVERY_NTH_POINT = 40
FIRST_CALLS = 4
CUTS = 25
SEED = 7

NO_STRACE = strace_problem()
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
needs_strace = pytest.mark.skipif(NO_STRACE is not None, reason=str(NO_STRACE))


@pytest.mark.fault("F47")
@needs_fork
@pytest.mark.timeout(240)
@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_no_kill_loses_a_row_or_repeats_one_unflagged(tmp_path: Path, policy: str) -> None:
    counters = kill_loop(tmp_path, policy, KILLS, SEED)
    assert counters.findings.violations == []
    assert (counters.kills, sum(counters.phases.values())) == (KILLS, KILLS)
    assert counters.findings.ambiguous > 0
    assert (counters.findings.lost, counters.findings.unflagged) == (0, 0)
    if policy == "hold":
        assert counters.findings.flagged == 0


@pytest.mark.fault("F47")
@needs_strace
@pytest.mark.timeout(240)
def test_crash_after_any_journal_call_is_recoverable(tmp_path: Path) -> None:
    lines, broken = every_point(tmp_path, EVERY_NTH_POINT, calls=CALLS)
    assert [(str(outcome.point), outcome.violations) for outcome in broken] == []
    assert {"pwrite64", "fdatasync", "ftruncate", "rename", "unlink"} <= {line.call for line in lines}
    assert all(line.kills for line in lines)


@pytest.mark.fault("F49")
@needs_strace
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["SIGKILL", "ENOSPC", "EIO"])
def test_new_journal_survives_a_crash_at_each_first_call(tmp_path: Path, how: str) -> None:
    calls = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "unlink")
    points = (Point(call, how, n) for call in calls for n in range(1, FIRST_CALLS + 1))
    with PointRunner(tmp_path) as bench:
        broken = [(str(point), found) for point in points if (found := bench.run(point).violations)]
    assert broken == []


@pytest.mark.fault("F48")
@needs_strace
@pytest.mark.timeout(240)
def test_synced_data_survives_a_power_cut(tmp_path: Path) -> None:
    counters = cut_power(tmp_path, CUTS, SEED)
    assert counters.violations == []
    assert (counters.cuts, counters.refused) == (CUTS, 0)
    assert counters.resumed > CUTS // 2
