from __future__ import annotations

import gzip
import json
import socket
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import pytest

from truecaller_async.clock import Clock
from truecaller_async.sandbox import Sandbox, SandboxSettings, TruthEntry

from .shell import CALLER, REASON, Shell, adds_up, finished, line_with, read_results, receiver, write_rows

PAST_MS = 1_600_000_000_000
VERDICTS = {13: "Not a Truecaller user", 26: "OS not supported", 39: "App version not supported", 52: "Failed to push"}


async def truth_of(sandbox: Sandbox) -> list[TruthEntry]:
    """Return the truth log of the sandbox: the records that took effect."""
    address = f"{sandbox.base_url}/_sandbox/truth?limit=100000"
    async with aiohttp.ClientSession() as http, http.get(address) as answer:
        return [msgspec.json.decode(line, type=TruthEntry) for line in (await answer.read()).splitlines()]


def good_file(folder: Path, rows: int = 3, name: str = "good.csv") -> Path:
    lines = ((CALLER, receiver(n), REASON) for n in range(rows))
    return write_rows(folder / name, "caller,receiver,reason", lines)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_every_result_row_agrees_with_the_truth_log(shell: Shell, sandbox: Sandbox) -> None:
    rows: list[tuple[str, str, str, str]] = []
    expected: list[tuple[str, str]] = []
    for number in range(1300):
        ending = number % 60
        if number % 97 == 5:
            rows.append((CALLER, "12", REASON, str(number)))
            expected.append(("invalid", "receiver"))
        else:
            rows.append((CALLER, receiver(number, ending), REASON, f"key {number}"))
            expected.append(("failed", VERDICTS[ending]) if ending in VERDICTS else ("delivered", ""))
    rows.append(rows[0])
    expected.append(("duplicate", "equal"))
    write_rows(shell.folder / "mixed.csv", "caller,receiver,reason,key", rows)
    label = sandbox.settings.labels[0].id
    ended = await shell.run(
        "campaign", "run", "mixed.csv", "--label-id", label, "--label-name", "Harbour", "--results", "out.csv", "--json"
    )
    assert ended.code == 5
    results = read_results(shell.folder / "out.csv")
    assert sorted(results) == list(range(1, len(rows) + 1))
    truth = {entry.receiver: entry for entry in await truth_of(sandbox)}
    for row, (outcome, reason) in enumerate(expected, 1):
        assert (results[row]["outcome"], row) == (outcome, row)
        assert reason in results[row]["reason"]
        assert results[row]["key"] == rows[row - 1][3]
        entry = truth.get(rows[row - 1][1])
        if outcome in ("delivered", "failed"):
            assert entry is not None
            assert (entry.outcome == "success") == (outcome == "delivered")
            assert (entry.batch_id, entry.label_id, entry.label_name) == (results[row]["batch_id"], label, "Harbour")
    counts = Counter(outcome for outcome, _ in expected)
    summary = ended.summary
    assert adds_up(summary)
    assert {outcome: summary[outcome] for outcome in counts} == dict(counts)
    assert summary["batches"] == sandbox.stats().batches
    assert summary["requests"]["submit"] == sum(sandbox.stats().requests["submit"].values())


@pytest.mark.parametrize(
    ("server_ahead", "message"), [(600.0, "10 min behind the"), (-600.0, "10 min ahead of the"), (0.0, "")]
)
async def test_wrong_clock_is_logged_once(server_ahead: float, message: str, tmp_path: Path) -> None:
    settings, clock = SandboxSettings(resolve_after=0.1), Clock()
    async with await Sandbox.start(settings, clock=lambda: clock.wall() + server_ahead) as sandbox:
        shell = Shell(tmp_path, sandbox.environment())
        good_file(tmp_path)
        ended = await shell.run("campaign", "run", "good.csv")
    assert ended.code == 0
    notes = [line for line in ended.stderr.splitlines() if line.startswith("Note: the clock")]
    assert len(notes) == bool(message)
    assert message in "".join(notes)


async def test_all_delivered_exits_0_with_summary_table(shell: Shell) -> None:
    good_file(shell.folder)
    ended = await shell.run("campaign", "run", "good.csv")
    assert ended.code == 0
    assert ended.stdout.splitlines()[-1] == "All 3 records delivered."
    assert "delivered        3" in ended.stdout
    assert "has no label_id" in ended.stderr


async def test_window_starts_now_and_has_the_given_length(shell: Shell, sandbox: Sandbox) -> None:
    good_file(shell.folder, 1)
    assert (await shell.run("campaign", "run", "good.csv", "--window", "30m")).code == 0
    (entry,) = sandbox.state.truth()
    assert entry.starts_at is not None
    assert entry.ends_at == entry.starts_at + 30 * 60 * 1000
    assert abs(entry.applied_at - entry.starts_at / 1000) < 60


async def test_gzipped_jsonl_is_read_and_results_use_the_same_format(shell: Shell, sandbox: Sandbox) -> None:
    lines = [json.dumps({"caller_number": CALLER, "receiver_number": receiver(n), "key": f"k{n}"}) for n in range(2)]
    with gzip.open(shell.folder / "in.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    label = sandbox.settings.labels[1].id
    ended = await shell.run("campaign", "run", "in.jsonl.gz", "--label-id", label, "--results", "out.jsonl")
    assert ended.code == 0
    assert "label_id" not in ended.stderr
    results = [json.loads(line) for line in (shell.folder / "out.jsonl").read_text().splitlines()]
    assert {(result["row"], result["key"], result["outcome"]) for result in results} == {
        (1, "k0", "delivered"),
        (2, "k1", "delivered"),
    }


async def test_results_on_stdout_are_not_mixed_with_other_output(shell: Shell) -> None:
    good_file(shell.folder)
    ended = await shell.run("campaign", "run", "good.csv", "--results", "-")
    assert ended.code == 0
    assert len(ended.stdout.splitlines()) == 4
    assert "All 3 records delivered." in ended.stderr


async def test_empty_file_exits_0_with_a_warning(shell: Shell, sandbox: Sandbox) -> None:
    (shell.folder / "empty.csv").write_text("caller,receiver\n")
    ended = await shell.run("campaign", "run", "empty.csv", "--json")
    assert (ended.code, ended.summary["read"]) == (0, 0)
    assert "has no rows" in ended.stderr
    assert sandbox.stats().requests == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "no such file"),
        ("folder", "folder", "folder"),
        ("wrong.csv", "name,phone\na,b\n", "there is no column caller"),
        ("data.xlsx", "PK", "Excel"),
        ("other.txt", "x", "suffix"),
    ],
)
async def test_unreadable_file_exits_4_and_keeps_older_results(
    shell: Shell, sandbox: Sandbox, name: str, content: str | None, message: str
) -> None:
    if content == "folder":
        (shell.folder / name).mkdir()
    elif content is not None:
        (shell.folder / name).write_text(content)
    (shell.folder / "out.csv").write_text("older results\n")
    ended = await shell.run("campaign", "run", name, "--results", "out.csv")
    assert (ended.code, ended.stdout) == (4, "")
    assert message in ended.stderr
    assert name in ended.stderr
    assert (shell.folder / "out.csv").read_text() == "older results\n"
    assert sandbox.stats().requests == {}


async def test_file_that_fails_midway_exits_5_and_sends_the_rows_before(shell: Shell, sandbox: Sandbox) -> None:
    good_file(shell.folder)
    with (shell.folder / "good.csv").open("a") as file:
        file.write(f'{CALLER},"{receiver(9)},{REASON}\n')
    ended = await shell.run("campaign", "run", "good.csv", "--json")
    assert ended.code == 5
    assert (ended.summary["read"], ended.summary["delivered"] + ended.summary["unsent"]) == (3, 3)
    assert "line 5" in ended.stderr


async def test_row_with_seven_problems_reports_all_of_them(shell: Shell, sandbox: Sandbox) -> None:
    header = "caller,receiver,label_id,label_name,reason,starts_at,ends_at"
    bad = ("12", "9.198E+11", "no uuid", "ab", "Calling about you!", "2030-01-01T10:00", "1752760800")
    write_rows(shell.folder / "bad.csv", header, [bad])
    ended = await shell.run("campaign", "run", "bad.csv", "--json")
    assert (ended.code, ended.summary["invalid"]) == (4, 1)
    messages = [line for line in ended.stderr.splitlines() if line.startswith("bad.csv:2 (row 1): ")]
    assert [line.split(": ")[1].split()[0] for line in messages] == header.split(",")
    assert "scientific notation" in ended.stderr
    assert sandbox.stats().requests == {}


async def test_twenty_bad_rows_are_listed_and_the_others_counted(shell: Shell) -> None:
    lines = ["caller,receiver,reason", "", *(f"{CALLER},919800{n:04d}x,{REASON}" for n in range(25))]
    (shell.folder / "bad.csv").write_text("\n".join(lines))
    ended = await shell.run("campaign", "run", "bad.csv")
    assert ended.code == 4
    messages = [line for line in ended.stderr.splitlines() if line.startswith("bad.csv:")]
    assert len(messages) == 20
    assert messages[0].startswith("bad.csv:3 (row 1): receiver '")
    assert "... and 5 more invalid rows" in ended.stderr
    assert "919800" not in ended.stderr + ended.stdout


async def test_expired_windows_exit_4_and_nothing_is_sent(shell: Shell, sandbox: Sandbox) -> None:
    rows = [(CALLER, receiver(n), PAST_MS, PAST_MS + 3_600_000) for n in range(3)]
    write_rows(shell.folder / "late.csv", "caller,receiver,starts_at,ends_at", rows)
    ended = await shell.run("campaign", "run", "late.csv", "--json")
    assert (ended.code, ended.summary["expired"]) == (4, 3)
    assert sandbox.stats().requests == {}


@pytest.mark.parametrize("missing", ["TRUECALLER_CLIENT_ACCOUNT_ID", "TRUECALLER_KEY_ID", "TRUECALLER_API_KEY"])
async def test_missing_credential_exits_3_and_is_named(shell: Shell, missing: str) -> None:
    good_file(shell.folder)
    ended = await shell.run("campaign", "run", "good.csv", **{missing: ""})
    assert ended.code == 3
    assert f"{missing} is not set" in ended.stderr
    assert f"{missing}_FILE" in ended.stderr


async def test_wrong_key_exits_3_and_no_row_is_lost(shell: Shell) -> None:
    good_file(shell.folder)
    ended = await shell.run("campaign", "run", "good.csv", "--json", TRUECALLER_API_KEY="invented-and-wrong")
    assert (ended.code, ended.summary["unsent"]) == (3, 3)
    assert "Check TRUECALLER_KEY_ID and TRUECALLER_API_KEY" in ended.stderr
    assert "invented-and-wrong" not in ended.stderr


async def test_unreachable_host_exits_7_with_what_to_check(shell: Shell) -> None:
    good_file(shell.folder)
    port = closed_port()
    address = f"http://127.0.0.1:{port}"
    ended = await shell.run("campaign", "run", "good.csv", "--json", TRUECALLER_BASE_URL=address)
    assert (ended.code, ended.summary["unsent"]) == (7, 3)
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Check the network, the proxy and TRUECALLER_BASE_URL." in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_results_are_never_written_over_the_input(shell: Shell) -> None:
    text = good_file(shell.folder).read_text()
    (shell.folder / "link.csv").symlink_to("good.csv")
    ended = await shell.run("campaign", "run", "good.csv", "--results", "link.csv")
    assert ended.code == 3
    assert "input" in ended.stderr
    assert (shell.folder / "good.csv").read_text() == text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
async def test_full_disk_under_results_stops_the_campaign_with_a_message(shell: Shell) -> None:
    good_file(shell.folder)
    (shell.folder / "full.csv").symlink_to("/dev/full")
    ended = await shell.run("campaign", "run", "good.csv", "--results", "full.csv")
    assert ended.code == 3
    assert "results cannot be written to full.csv: No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_csv_is_read_from_standard_input(shell: Shell) -> None:
    text = good_file(shell.folder).read_bytes()
    ended = await finished(await shell.start("campaign", "run", "-", "--json"), text)
    assert (ended.code, ended.summary["delivered"]) == (0, 3)


async def test_progress_json_has_the_documented_fields(shell: Shell) -> None:
    good_file(shell.folder)
    process = await shell.start("campaign", "run", "good.csv", "--json")
    event = json.loads(await line_with(process.stdout, '"event": "progress"'))
    assert (event["total"], event["read"], event["tokens_max"]) == (3, 3, 10)
    assert event.keys() >= {"sent", "resolved", "rate", "permitted_rate", "waiting_until", "limited_by", "outcomes"}
    assert (await finished(process)).code == 0
