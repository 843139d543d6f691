from __future__ import annotations

import json

from truecaller_async.sandbox import Sandbox

from .shell import CALLER, REASON, Shell, receiver


async def test_record_is_pushed_with_a_window_that_starts_now(shell: Shell, sandbox: Sandbox) -> None:
    label = sandbox.settings.labels[0].id
    texts = ("--label-id", label, "--label-name", "Harbour Bank", "--reason", REASON)
    pushed = await shell.run("push", "--caller", CALLER, "--receiver", receiver(1), *texts, "--for", "90m")
    assert pushed.code == 0
    assert pushed.stdout.startswith("Pushed")
    (entry,) = sandbox.state.truth()
    assert (entry.call, entry.caller, entry.receiver) == ("push", CALLER, receiver(1))
    assert (entry.label_id, entry.label_name, entry.reason) == (label, "Harbour Bank", REASON)
    assert entry.starts_at is not None
    assert entry.ends_at == entry.starts_at + 90 * 60 * 1000
    assert abs(entry.starts_at / 1000 - entry.applied_at) < 60


async def test_push_answer_is_printed_as_json(shell: Shell) -> None:
    pushed = await shell.run("push", "--caller", CALLER, "--receiver", receiver(1), "--json")
    assert pushed.code == 0
    assert json.loads(pushed.stdout).keys() == {"status", "message", "batch_id"}


async def test_invalid_record_exits_4_with_all_problems_and_sends_nothing(shell: Shell, sandbox: Sandbox) -> None:
    pushed = await shell.run("push", "--caller", "12", "--receiver", "9812345670", "--reason", "no!", "--for", "2d")
    assert pushed.code == 4
    _, *problems = pushed.stderr.splitlines()
    assert [line.split()[0] for line in problems] == ["caller", "receiver", "reason", "reason", "ends_at"]
    assert "9812345" not in pushed.stderr
    assert sandbox.stats().requests == {}


async def test_record_refused_by_the_server_exits_5_with_its_message(shell: Shell) -> None:
    pushed = await shell.run("push", "--caller", CALLER, "--receiver", receiver(1, 13))
    assert (pushed.code, pushed.stdout) == (5, "")
    assert "Not a Truecaller user" in pushed.stderr


async def test_refusal_as_json_is_an_object_and_exits_5(shell: Shell) -> None:
    pushed = await shell.run("push", "--caller", CALLER, "--receiver", receiver(1, 13), "--json")
    assert pushed.code == 5
    rejected = json.loads(pushed.stdout)["rejected"]
    assert rejected["message"] == "Not a Truecaller user"
    assert rejected.keys() == {"status", "field", "message"}


async def test_wrong_key_exits_3(shell: Shell) -> None:
    line = ("push", "--caller", CALLER, "--receiver", receiver(1))
    pushed = await shell.run(*line, TRUECALLER_API_KEY="invented-and-wrong")
    assert pushed.code == 3
    assert "Check TRUECALLER_KEY_ID and TRUECALLER_API_KEY" in pushed.stderr
    assert "invented-and-wrong" not in pushed.stderr
