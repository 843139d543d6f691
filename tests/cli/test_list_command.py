"""`labels list`, `feature-sets list` and `numbers list`, with a sandbox."""

from __future__ import annotations

import json

import pytest

from truecaller_async import TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .shell import Shell

NUMBERS = tuple(f"9111400012{ending:02d}" for ending in range(10, 15))


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


async def publish_five(sandbox: Sandbox) -> str:
    """Publish five numbers under the first feature set, and return its id."""
    feature_set_id = sandbox.settings.feature_sets[0].id
    async with TruecallerClient.from_env(sandbox.environment()) as client:
        await client.numbers.publish(feature_set_id, NUMBERS)
    return feature_set_id


async def test_labels_are_a_table_or_json_objects(shell: Shell, sandbox: Sandbox) -> None:
    labels = sandbox.settings.labels
    result = await shell.call("labels", "list")
    assert result.code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["label", "id", "name", "type", "created"]
    assert [row.split()[0] for row in rows] == [label.id for label in labels]
    assert all(label.name in row for label, row in zip(labels, rows, strict=True))
    found = objects((await shell.call("labels", "list", "--json")).stdout)
    assert [label["id"] for label in found] == [label.id for label in labels]


async def test_page_option_selects_one_page_and_default_is_all(shell: Shell, sandbox: Sandbox) -> None:
    ids = [label.id for label in sandbox.settings.labels]
    every = objects((await shell.call("labels", "list", "--page-size", "1", "--json")).stdout)
    assert [label["id"] for label in every] == ids
    third = objects((await shell.call("labels", "list", "--page-size", "1", "--page", "3", "--json")).stdout)
    assert [label["id"] for label in third] == ids[2:3]


async def test_page_count_is_shown_if_the_server_reports_it(shell: Shell, sandbox: Sandbox) -> None:
    sets = sandbox.settings.feature_sets
    result = await shell.call("feature-sets", "list", "--page", "2", "--page-size", "1")
    assert result.stderr == f"Page 2 of {len(sets)}.\n"
    assert [row.split()[0] for row in result.stdout.splitlines()[1:]] == [sets[1].id]


async def test_feature_sets_can_be_filtered(shell: Shell, sandbox: Sandbox) -> None:
    first = sandbox.settings.feature_sets[0]
    for option, value in (("--department", first.department_id), ("--process", first.process_id)):
        found = objects((await shell.call("feature-sets", "list", option, value.upper(), "--json")).stdout)
        assert first.id in [each["id"] for each in found]
    nothing = await shell.call("feature-sets", "list", "--operation", "00000000-0000-4000-8000-000000000000")
    assert (nothing.code, nothing.stdout, nothing.stderr) == (0, "", "There are no feature sets.\n")


async def test_business_numbers_are_complete_in_both_formats(shell: Shell, sandbox: Sandbox) -> None:
    feature_set_id = await publish_five(sandbox)
    result = await shell.call("numbers", "list", "--feature-set", feature_set_id)
    assert result.code == 0
    assert [row.split()[0] for row in result.stdout.splitlines()[1:]] == list(NUMBERS)
    found = objects((await shell.call("numbers", "list", "--page-size", "2", "--json")).stdout)
    assert [each["phone_number"] for each in found] == list(NUMBERS)


async def test_empty_list_exits_0_with_a_note_on_stderr(shell: Shell) -> None:
    for options in ([], ["--json"]):
        result = await shell.call("numbers", "list", *options)
        assert (result.code, result.stdout, result.stderr) == (0, "", "There are no numbers.\n")
    result = await shell.call("labels", "list", "--page", "9")
    assert result.stderr == "There are no labels on page 9.\n"


@pytest.mark.parametrize("group", ["labels", "feature-sets", "numbers"])
async def test_wrong_key_exits_3_for_every_list(group: str, shell: Shell) -> None:
    result = await shell.call(group, "list", TRUECALLER_API_KEY="invented-and-wrong")
    assert (result.code, result.stdout) == (3, "")
    assert "invented-and-wrong" not in result.stderr


async def test_control_characters_in_a_name_are_escaped(shell: Shell) -> None:
    base = SandboxSettings()
    (label, *_) = base.labels
    evil = type(label)(label.id, "Bank\x1b[2J\n[red]")
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["off"], labels=(evil,))) as server:
        result = await shell.call("labels", "list", TRUECALLER_BASE_URL=server.base_url)
    assert "Bank\\x1b[2J\\n[red]" in result.stdout
