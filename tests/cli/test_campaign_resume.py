"""Campaigns that are killed, stopped or cut off, and finished by `campaign resume`: every row once, and correct."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import resource
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from truecaller_async.options import Limits
from truecaller_async.sandbox import Sandbox, SandboxSettings
from truecaller_async.sandbox.faults.plan import FaultPlan

from .shell import CALLER, REASON, Finished, Shell, adds_up, finished, line_with, receiver, write_rows

ROWS = 3000
HEADER = "caller,receiver,reason,key"
LIMITS = Limits.documented().replace(batch=(8, 1.0))
LOST = b'{"faults": [{"call": "batch.submit", "nth": 2, "do": ["apply", "reset"]}]}'
DROPPED = b'{"faults": [{"call": "batch.submit", "nth": 2, "do": ["reset"]}]}'


@pytest.fixture
async def plan() -> bytes | None:
    """Return the fault plan; tests replace it by parametrization."""
    return None


@pytest.fixture
async def sandbox(plan: bytes | None) -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a limit of eight batches per second; a test sends six."""
    faults = None if plan is None else FaultPlan.parse(plan)
    settings = SandboxSettings(limits=LIMITS, resolve_after=0.3, list_after=0.1, faults=faults)
    async with await Sandbox.start(settings) as sandbox:
        yield sandbox


def row_of(number: int) -> tuple[str, str, str, str]:
    """Return a row; every fortieth fails on the server, every hundredth has an invalid receiver."""
    called = "12" if number % 100 == 99 else receiver(number, 13 if number % 40 == 7 else 0)
    return CALLER, called, REASON, f"key {number}"


def write_input(folder: Path, rows: int = ROWS) -> Path:
    return write_rows(folder / "long.csv", HEADER, (row_of(number) for number in range(1, rows + 1)))


async def start_campaign(shell: Shell, *options: str, name: str = "long.csv") -> tuple[Process, str]:
    """Start a campaign; return its process and the path of its journal."""
    write_input(shell.folder)
    process = await shell.start("campaign", "run", name, "--tokens", "1", "--json", *options)
    return process, await journal_of(process)


async def journal_of(process: Process) -> str:
    return (await line_with(process.stderr, "Journal: ")).partition("Journal: ")[2].strip()


async def batches_reached(sandbox: Sandbox, batches: int) -> None:
    """Wait until so many batches have reached the sandbox."""
    async with asyncio.timeout(30):
        while sandbox.stats().batches < batches:  # noqa: ASYNC110 - the sandbox has no event to wait for
            await asyncio.sleep(0.01)


async def stopped(process: Process, how: Signals) -> Finished:
    process.send_signal(how)
    return await finished(process)


async def resumed(shell: Shell, journal: str, *options: str) -> Finished:
    return await shell.run("campaign", "resume", journal, "--tokens", "1", "--json", *options)


async def journal_command(shell: Shell, verb: str, journal: str, *options: str) -> Finished:
    """Run a journal command, which sends nothing, in a thread."""
    return await shell.call("campaign", verb, str(shell.folder / journal), *options)


def results_in(path: Path) -> dict[int, dict[str, str]]:
    """Return the lines of a results file by row; fail if a row occurs twice."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    results = {int(line["row"]): line for line in lines}
    assert len(results) == len(lines)
    return results


def check_truth(results: dict[int, dict[str, str]], sandbox: Sandbox, rows: Sequence[int]) -> None:
    """Compare the results with the truth log; rows applied twice must be `possibly_duplicated`."""
    assert sorted(results) == list(rows)
    truth = sandbox.state.truth(0, 10 * ROWS)
    times = Counter(entry.receiver for entry in truth)
    verdicts = {entry.receiver: entry.outcome for entry in truth}
    for row, line in results.items():
        called = row_of(row)[1]
        expected = "invalid" if called == "12" else "delivered" if verdicts.get(called) == "success" else "failed"
        assert (row, line["outcome"], line["key"]) == (row, expected, f"key {row}")
        assert line["possibly_duplicated"] == "true" or times[called] <= 1
        assert times[called] <= int(line["attempts"])


ALL = range(1, ROWS + 1)


@pytest.mark.fault("F57")
async def test_stopped_campaign_is_finished_by_the_printed_command(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--results", "out.csv")
    await batches_reached(sandbox, 2)
    first = await stopped(process, SIGINT)
    assert first.code == 130
    assert first.stderr.splitlines()[-1] == f"Resume with: truecaller campaign resume {journal}"
    assert first.summary["journal"] == journal
    assert first.summary["unsent"] > 0
    early = results_in(shell.folder / "out.csv")
    assert len(early) == first.summary["read"] - first.summary["unsent"] - first.summary["unknown"]
    path = shell.folder / "out.csv"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    last = await resumed(shell, journal)
    assert (last.code, last.summary["runs"], last.summary["unsent"] + last.summary["unknown"]) == (5, 2, 0)
    assert adds_up(last.summary)
    assert last.summary["requests"]["submit"] > last.summary["this_run"]["requests"]["submit"] > 0
    results = results_in(shell.folder / "out.csv")
    check_truth(results, sandbox, ALL)
    assert {line["possibly_duplicated"] for line in results.values()} == {"false"}
    assert len(sandbox.state.truth(0, 10 * ROWS)) == ROWS - ROWS // 100
    for line in (*results.values(), *early.values()):
        line["record_id"] = ""
    assert results.items() >= early.items()


async def test_bad_row_after_resume_is_reported_with_its_line(shell: Shell, sandbox: Sandbox) -> None:
    path = write_input(shell.folder, 10 * ROWS)
    process = await shell.start("campaign", "run", str(path), "--tokens", "1", "--json")
    journal = await journal_of(process)
    await batches_reached(sandbox, 1)
    await stopped(process, SIGKILL)
    again = await shell.start("campaign", "resume", journal, "--tokens", "1", "--json")
    line = await line_with(again.stderr, "(row ")
    row = int(line.partition("(row ")[2].partition(")")[0])
    assert row > 99
    assert f"long.csv:{row + 1} (row {row})" in line
    await stopped(again, SIGINT)


@pytest.mark.fault("F47")
@pytest.mark.parametrize(("name", "moments"), [("out.csv", (0,)), ("out.csv.gz", (1, 3)), ("out.csv", (5,))])
async def test_killed_campaign_is_finished_with_every_row_once(
    shell: Shell, sandbox: Sandbox, name: str, moments: tuple[int, ...]
) -> None:
    process, journal = await start_campaign(shell, "--results", name)
    for taken in moments:
        await batches_reached(sandbox, taken)
        await stopped(process, SIGKILL)
        process = await shell.start(
            "campaign", "resume", journal, "--tokens", "1", "--json", "--results", str(shell.folder / name)
        )
    last = await finished(process)
    assert last.code == 5, last.stderr
    assert adds_up(last.summary)
    assert last.summary["read"] == ROWS
    check_truth(results_in(shell.folder / name), sandbox, ALL)


async def test_foreign_file_at_the_results_path_stops_the_command(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--results", "out.csv")
    await batches_reached(sandbox, 2)
    await stopped(process, SIGKILL)
    (shell.folder / "out.csv").write_text("some other file\n")
    second = await resumed(shell, journal)
    assert second.code == 3
    assert "does not start like a results file" in second.stderr
    assert second.stderr.splitlines()[-1] == f"Resume with: truecaller campaign resume {journal}"
    assert (shell.folder / "out.csv").read_text() == "some other file\n"
    (shell.folder / "other.csv").write_text("old content\n")
    last = await resumed(shell, journal, "--results", "other.csv")
    assert last.code == 5
    assert (shell.folder / "out.csv").read_text() == "some other file\n"
    results = results_in(shell.folder / "other.csv")
    assert sorted(results) == list(ALL)


@pytest.mark.fault("B33")
async def test_changed_or_missing_input_or_second_start_sends_nothing(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--results", "out.csv", "--journal", "j.db")
    await batches_reached(sandbox, 2)
    await stopped(process, SIGINT)
    before, results = sandbox.stats().requests, (shell.folder / "out.csv").read_bytes()
    path = shell.folder / "long.csv"
    second_run = await shell.run("campaign", "run", "long.csv", "--results", "out.csv", "--journal", "j.db")
    assert second_run.code == 6
    assert "truecaller campaign resume j.db" in second_run.stderr
    whole = path.read_bytes()
    rows = [row_of(number) for number in ALL]
    rows[700] = (CALLER, receiver(999_999), REASON, "another")
    write_rows(path, HEADER, rows)
    changed = await journal_command(shell, "resume", journal)
    assert changed.code == 4
    assert "row 701" in changed.stderr
    assert receiver(999_999) not in changed.stderr
    path.unlink()
    lost = await journal_command(shell, "resume", journal)
    assert lost.code == 4
    assert "long.csv" in lost.stderr
    moved = shell.folder / "moved.csv"
    moved.write_bytes(whole)
    refused = await journal_command(shell, "resume", journal, "--file", str(moved), "--results", str(moved))
    assert (refused.code, moved.read_bytes()) == (3, whole)
    assert sandbox.stats().requests == before
    assert (shell.folder / "out.csv").read_bytes() == results
    last = await resumed(shell, journal, "--file", "moved.csv", "--results", "rebuilt.csv")
    assert last.code == 5
    assert "cannot be read again" not in last.stderr
    check_truth(results_in(shell.folder / "rebuilt.csv"), sandbox, ALL)


async def test_finished_campaign_sends_nothing_and_prints_the_same_summary(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--results", "out.csv", "--journal", "kept.db")
    first = await finished(process)
    assert (first.code, journal) == (5, "kept.db")
    assert "Resume with" not in first.stderr
    before, file = sandbox.stats().requests, (shell.folder / "out.csv").read_bytes()
    again = await resumed(shell, journal)
    assert again.code == 5
    assert sandbox.stats().requests == before
    assert (shell.folder / "out.csv").read_bytes() == file
    counts = ("read", "delivered", "failed", "invalid", "unknown", "unsent", "batches", "requests", "tokens_minted")
    assert {name: again.summary[name] for name in counts} == {name: first.summary[name] for name in counts}
    assert (shell.folder / "kept.db").exists()
    table = await shell.run("campaign", "resume", journal)
    assert "Not a Truecaller user" in table.stdout


async def test_automatic_journal_is_deleted_when_no_longer_needed(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell)
    folder = Path(journal).parent
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / journal)] == [0o700, 0o600]
    ended = await finished(process)
    assert (ended.code, ended.summary["journal"], list(folder.iterdir())) == (5, None, [])
    refused = await shell.run("campaign", "run", "long.csv", TRUECALLER_KEY_ID="")
    assert (refused.code, list(folder.iterdir())) == (3, [])


@pytest.mark.fault("F51")
async def test_second_process_on_a_journal_is_refused_and_status_names_the_first(
    shell: Shell, sandbox: Sandbox
) -> None:
    process, journal = await start_campaign(shell, "--results", "out.csv", "--limit", "batch=2/2")
    await batches_reached(sandbox, 1)
    for verb in (("resume",), ("decide", "1", "--applied", "no"), ("purge", "--force")):
        other = await journal_command(shell, verb[0], journal, *verb[1:])
        assert other.code == 6
        assert str(process.pid) in other.stderr
    results = shell.folder / "out.csv"
    assert (await journal_command(shell, "results", journal, "--out", str(results))).code == 3
    state = json.loads((await journal_command(shell, "status", journal, "--json")).stdout)
    assert (state["state"], state["pid"]) == ("running", process.pid)
    assert sum(state["final"].values()) + sum(state["open"].values()) == state["read"]
    lines = (await journal_command(shell, "status", journal)).stdout
    assert f"running, process {process.pid}" in lines
    ended = await stopped(process, SIGTERM)
    assert ended.code == 143
    assert ended.stderr.splitlines()[-1] == f"Resume with: truecaller campaign resume {journal}"
    known = results_in(results)
    check_truth(known, sandbox, sorted(known))


@pytest.mark.parametrize(("plan", "decision"), [(LOST, "yes"), (DROPPED, "no")])
async def test_batch_with_lost_answer_waits_for_a_decision(
    shell: Shell, sandbox: Sandbox, plan: bytes, decision: str
) -> None:
    write_input(shell.folder)
    first = await shell.run(
        *(
            "campaign",
            "run",
            "long.csv",
            "--journal",
            "j.db",
            "--results",
            "out.csv",
            "--on-ambiguous",
            "hold",
            "--json",
        )
    )
    assert (first.code, first.summary["unknown"]) == (5, 500)
    assert "decide j.db" in first.stderr
    assert first.stderr.splitlines()[-1] == "Resume with: truecaller campaign resume j.db"
    results = results_in(shell.folder / "out.csv")
    unknown_rows = [row for row, line in results.items() if line["outcome"] == "unknown"]
    assert (sorted(results), len(unknown_rows)) == (list(ALL), 500)
    state = json.loads((await journal_command(shell, "status", "j.db", "--json")).stdout)
    assert (state["state"], state["open"]["unknown"]) == ("undecided", 500)
    report = json.loads((await shell.run("campaign", "report", "j.db", "--json")).stdout)
    (lost,), (undecided,) = report["ambiguous_attempts"], report["undecided_batches"]
    assert (lost["batch"], lost["first_row"], lost["rows"]) == (undecided["batch"], min(unknown_rows), 500)
    assert undecided["command"] in first.stderr
    wrong = await journal_command(shell, "decide", "j.db", "99", "--applied", "no")
    assert wrong.code == 6
    assert str(undecided["batch"]) in wrong.stderr
    decided = await shell.run("campaign", "decide", "j.db", str(undecided["batch"]), "--applied", decision)
    assert decided.code == 0
    next_verb = "report" if decision == "yes" else "resume"
    assert decided.stderr.splitlines()[-1] == f"Next: truecaller campaign {next_verb} j.db"
    state = json.loads((await journal_command(shell, "status", "j.db", "--json")).stdout)
    assert state["next"].startswith(f"truecaller campaign {next_verb} ")
    last = await resumed(shell, "j.db")
    assert last.code == 5
    assert last.summary["unknown"] == (500 if decision == "yes" else 0)
    assert "Resume with" not in last.stderr
    results = results_in(shell.folder / "out.csv")
    if decision == "yes":
        assert sorted(row for row, line in results.items() if line["outcome"] == "unknown") == sorted(unknown_rows)
    else:
        check_truth(results, sandbox, ALL)


@pytest.mark.parametrize("plan", [LOST])
async def test_results_and_report_can_be_rebuilt(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--journal", "j.db", "--results", "out.csv")
    ended = await finished(process)
    assert (ended.code, ended.summary["possibly_duplicated"] > 0) == (5, True)
    written = await journal_command(shell, "results", journal, "--out", str(shell.folder / "rebuilt.csv.gz"))
    assert (written.code, written.stdout) == (0, "")
    assert f"{ROWS:,} rows" in written.stderr
    results, rebuilt = results_in(shell.folder / "out.csv"), results_in(shell.folder / "rebuilt.csv.gz")
    check_truth(rebuilt, sandbox, ALL)
    for line in (*results.values(), *rebuilt.values()):
        line["record_id"] = ""
    assert rebuilt == results
    report = await journal_command(shell, "report", journal, "--json", "--html", str(shell.folder / "report.html"))
    found = json.loads(report.stdout)
    assert found["outcomes"]["delivered"] == ended.summary["delivered"]
    possibly_duplicated = sum(last - first + 1 for first, last in found["possibly_duplicated_rows"])
    assert found["status"]["possibly_duplicated"] == possibly_duplicated == ended.summary["possibly_duplicated"]
    (attempt,) = found["ambiguous_attempts"]
    assert attempt["action"].startswith("sent again at ")
    page = (shell.folder / "report.html").read_text()
    assert not any(mark in page for mark in ("<script", "http://", "https://", "src="))
    assert "Lost answers" in page
    assert attempt["token_id"] in page
    lines = (await journal_command(shell, "report", journal)).stdout
    assert "Not a Truecaller user" in lines
    assert "Possibly delivered twice" in lines
    for text in (page, lines, report.stdout, written.stderr):
        assert "9198" not in text


@pytest.mark.parametrize("name", ["same.csv", "long.csv"])
async def test_input_journal_and_results_must_be_three_files(shell: Shell, sandbox: Sandbox, name: str) -> None:
    path, journal = str(write_input(shell.folder, 3)), str(shell.folder / name)
    ended = await shell.call("campaign", "run", path, "--journal", journal, "--results", str(shell.folder / "same.csv"))
    assert ended.code == 2
    assert "same file" in ended.stderr
    assert sandbox.stats().requests == {}


async def test_needed_files_are_not_overwritten_and_purge_keeps_the_summary(shell: Shell, sandbox: Sandbox) -> None:
    process, journal = await start_campaign(shell, "--journal", "j.csv", "--results", "out.csv")
    await batches_reached(sandbox, 2)
    await stopped(process, SIGINT)
    needed = {name: (shell.folder / name).read_bytes() for name in ("long.csv", "j.csv", "out.csv")}
    for verb, option, target in (
        ("results", "--out", "long.csv"),
        ("results", "--out", "j.csv"),
        *(("report", "--html", name) for name in needed),
    ):
        assert (await journal_command(shell, verb, journal, option, str(shell.folder / target))).code == 3
    assert {name: (shell.folder / name).read_bytes() for name in needed} == needed
    moved, rebuilt = (shell.folder / "long.csv").rename(shell.folder / "moved.csv"), shell.folder / "rebuilt.csv"
    written = await journal_command(shell, "results", journal, "--out", str(rebuilt))
    assert written.code == 0
    assert "cannot be read again" in written.stderr
    results = results_in(rebuilt)
    assert {line["key"] for line in results.values()} == {""}
    assert {"unsent", "delivered"} <= {line["outcome"] for line in results.values()}
    assert (await journal_command(shell, "results", journal, "--out", str(rebuilt), "--file", str(moved))).code == 0
    assert {line["key"] for line in results_in(rebuilt).values()} == {f"key {row}" for row in results}
    refused = await journal_command(shell, "purge", journal)
    assert refused.code == 6
    purged = await journal_command(shell, "purge", journal, "--force")
    assert purged.code == 0
    assert (purged.stdout, "Kept: the summary" in purged.stderr) == ("", True)
    report = json.loads((await journal_command(shell, "report", journal, "--json")).stdout)
    assert (report["status"]["state"], sum(report["outcomes"].values())) == ("purged", report["status"]["read"])
    assert (await journal_command(shell, "resume", journal)).code == 6
    assert (await journal_command(shell, "results", journal, "--out", str(shell.folder / "x.csv"))).code == 6
    assert not (shell.folder / "x.csv").exists()


@pytest.mark.fault("F53")
@pytest.mark.parametrize("verb", ["status", "report", "resume", "purge"])
@pytest.mark.parametrize("content", [None, b"", b"no journal"])
async def test_file_that_is_no_journal_exits_6_and_is_unchanged(shell: Shell, verb: str, content: bytes | None) -> None:
    path = shell.folder / "j.db"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    ended = await shell.call("campaign", verb, str(path))
    assert ended.code == 6
    assert "j.db" in ended.stderr
    assert (path.read_bytes() if path.exists() else None) == content


async def test_campaign_from_standard_input_is_finished_without_it(shell: Shell, sandbox: Sandbox) -> None:
    text = write_input(shell.folder).read_bytes()
    process = await shell.start("campaign", "run", "-", "--tokens", "1", "--json", "--results", "out.csv")
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.write_eof()
    journal = await journal_of(process)
    await batches_reached(sandbox, 2)
    await stopped(process, SIGKILL)
    last = await resumed(shell, journal)
    read = last.summary["read"]
    assert 1000 <= read <= ROWS
    assert last.summary["unsent"] + last.summary["unknown"] == 0
    results = results_in(shell.folder / "out.csv")
    assert sorted(results) == list(range(1, read + 1))
    if read < ROWS:
        assert "cannot be read again" in last.stderr
        last = await resumed(shell, journal, "--file", "long.csv")
    assert last.summary["read"] == ROWS
    assert sorted(results_in(shell.folder / "out.csv")) == list(ALL)


@pytest.mark.fault("F61")
async def test_idle_standard_input_does_not_delay_sending_and_can_be_interrupted(
    shell: Shell, sandbox: Sandbox
) -> None:
    rows = write_input(shell.folder, 5).read_bytes()
    process = await shell.start("campaign", "run", "-", "--tokens", "1", "--json")
    assert process.stdin is not None
    process.stdin.write(rows)
    await batches_reached(sandbox, 1)
    process.send_signal(SIGINT)
    assert await asyncio.wait_for(process.wait(), 30) == 130
    ended = await finished(process)
    assert (ended.summary["read"], ended.summary["delivered"]) == (5, 5)
    assert "--file INPUT" in ended.stderr.splitlines()[-1]


@pytest.mark.fault("F49")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
async def test_resume_after_results_disk_was_full_writes_all_results(shell: Shell, sandbox: Sandbox) -> None:
    (shell.folder / "out.csv").symlink_to("/dev/full")
    process, journal = await start_campaign(shell, "--results", "out.csv")
    ended = await finished(process)
    assert ended.code == 3
    assert "No space left" in ended.stderr
    assert ended.stderr.splitlines()[-1] == f"Resume with: truecaller campaign resume {journal}"
    (shell.folder / "out.csv").unlink()
    assert (await resumed(shell, journal)).code == 5
    check_truth(results_in(shell.folder / "out.csv"), sandbox, ALL)


@pytest.mark.fault("F49")
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits cannot be set for another process here")
async def test_unwritable_journal_stops_sending_and_a_resume_finishes(shell: Shell, sandbox: Sandbox) -> None:
    # The limit holds for every file of the process. Tokens in memory leave the journal as the only file that grows.
    process, journal = await start_campaign(shell, "--journal", "j.db", "--state", "memory:")
    await batches_reached(sandbox, 2)
    size = (shell.folder / "j.db-wal").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    ended = await finished(process)
    assert ended.code == 6
    assert adds_up(ended.summary)
    assert "j.db" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "Resume with: truecaller campaign resume j.db"
    assert (await resumed(shell, journal, "--results", "out.csv")).code == 5
    check_truth(results_in(shell.folder / "out.csv"), sandbox, ALL)
