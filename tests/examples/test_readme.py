"""The documentation is run as it is printed: the README, CONTRIBUTING.md and every page below `docs/`.

The Python blocks of a page run block after block in one session, as at an asyncio prompt, against a sandbox. Every
`truecaller` line of a block of commands is parsed by the real command line; its command is not executed. Inline code
that begins with `truecaller` must name a command and options that exist. Relative links must lead to a file.
"""

from __future__ import annotations

import ast
import asyncio
import codeop
import os
import re
import shlex
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from truecaller_async.cli.app import app
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(truecaller [^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
RENDERED = DOCS / "reference" / "events.md"
"""Written by a command; a checkout in which it was not run yet does not have it."""

PROMPT = """
import ast, asyncio, inspect, sys, types

async def run(block):
    made = types.FunctionType(compile(block, "page.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), session)()
    if inspect.isawaitable(made):
        await made

session = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for block in sys.stdin.read().split("\\0"):
        runner.run(run(block))
"""

EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "README.md": ({"success ", "delivered=3"}, {"push", "submit", "status"}),
    "docs/tutorial.md": ({"characters written", "0 records read"}, set()),
    "docs/how-to/campaigns.md": ({"delivered=3"}, {"submit", "status"}),
    "docs/how-to/durable-campaigns.md": ({"delivered=3", "\n2 "}, {"submit", "status"}),
    "docs/how-to/lost-answers.md": (set(), {"submit", "status"}),
    "docs/how-to/single-push.md": ({"success"}, {"push"}),
    "docs/how-to/batches-by-hand.md": ({"success"}, {"submit", "status"}),
    "docs/how-to/labels-and-numbers.md": ({"Harbour Savings Bank", "pending 1"}, {"labels", "feature_sets", "numbers"}),
    "docs/how-to/blocking-client.md": (
        {"success", "Harbour Savings Bank", "delivered=3"},
        {"push", "submit", "labels"},
    ),
    "docs/how-to/user-verification.md": ({"200 SignIn(", "opened"}, set()),
    "docs/how-to/trustcaller.md": ({"12345 True True"}, set()),
    "docs/how-to/sandbox.md": ({"labels, 0 refusals"}, set()),
    "docs/reference/errors.md": ({"feature_set_id ", "page page."}, set()),
}
"""What a page prints, and the calls that it makes. A page that is not here must only run."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of one language, without the indentation of a list."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [textwrap.dedent(block) for _, its_language, block in found if its_language == language]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `truecaller` line in the blocks of commands."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in [*shlex.split(line, comments=True), ";"]:
                words.append(word)
                if word in {";", "&&", "||", "|"}:
                    names = [Path(each).name for each in words]
                    if "truecaller" in names:
                        yield words[names.index("truecaller") + 1 : -1]
                    words = []


def leaves(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from leaves(command)
        else:
            yield command


@pytest.fixture
def nothing_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in leaves(app):
        monkeypatch.setattr(command, "callback", lambda **_: None)


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
PYTHON_BLOCKS = [
    pytest.param(block, id=f"{name_of(page)}-{number}")
    for page in WITH_PYTHON
    for number, block in enumerate(blocks(page, "python"), 1)
]
COMMANDS = [
    pytest.param(page, words, id=f"{name_of(page)}: {shlex.join(words)}") for page in PAGES for words in commands(page)
]
PLANS = [pytest.param(page, plan, id=name_of(page)) for page in PAGES for plan in blocks(page, "json")]
INLINE_COMMANDS = sorted({text for page in PAGES for text in INLINE.findall(page.read_text("utf-8"))})


def test_the_pages_have_blocks_of_both_kinds() -> None:
    assert len(blocks(ROOT / "README.md", "python")) >= 2
    assert len(PYTHON_BLOCKS) >= 15
    assert len(COMMANDS) >= 30
    assert EXPECTED.keys() <= {name_of(page) for page in WITH_PYTHON}


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_every_block_is_python(block: str) -> None:
    compile(block, "page.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_readme_block_can_be_pasted_line_by_line(block: str) -> None:
    """A prompt takes what is complete. A line that ends an indented block without an empty one is an error there."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    waiting: list[str] = []
    for line in [*block.splitlines(), ""]:
        waiting.append(line)
        if compiler("\n".join(waiting)) is not None:
            waiting.clear()
    assert waiting == []


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
async def test_the_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    texts, calls = EXPECTED.get(name_of(page), (set(), set()))
    settings = SandboxSettings(limits=SPEEDS["fast"], resolve_after=0.2, list_after=0.2)
    now = int(time.time() * 1000)
    rows = [f"911234567898,91980000000{number},{now},{now + 3_600_000}\n" for number in range(3)]
    (tmp_path / "calls.csv").write_text("caller,receiver,starts_at,ends_at\n" + "".join(rows), "utf-8")
    async with await Sandbox.start(settings) as sandbox:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROMPT,
            cwd=tmp_path,
            env={**os.environ, **sandbox.environment()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, faults = await process.communicate("\0".join(blocks(page, "python")).encode())
        requests = sandbox.stats().requests
    assert (process.returncode, faults.decode()) == (0, "")
    printed = out.decode()
    assert {text for text in texts if text not in printed} == set(), printed
    assert calls <= requests.keys()


@pytest.mark.usefixtures("nothing_is_executed")
@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_the_command_line_accepts_every_command(
    page: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for plan in blocks(page, "json"):
        Path("plan.json").write_text(plan, "utf-8")
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.exception) == (0, None), result.output


@pytest.mark.usefixtures("nothing_is_executed")
@pytest.mark.parametrize(("page", "plan"), PLANS)
def test_every_json_block_is_a_fault_plan(page: Path, plan: str, tmp_path: Path) -> None:
    path = tmp_path / f"{page.stem}.json"
    path.write_text(plan, "utf-8")
    result = CliRunner().invoke(app, ["sandbox", "--faults", str(path)])
    assert (result.exit_code, result.exception) == (0, None), result.output


@pytest.mark.parametrize("text", INLINE_COMMANDS)
def test_inline_code_names_commands_and_options_that_exist(text: str) -> None:
    result = CliRunner().invoke(app, [*shlex.split(text)[1:], "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("nothing_is_executed")
@pytest.mark.parametrize("text", ["campaign forget calls.db", "push --caller 1", "labels list --pages 3"])
def test_a_command_that_does_not_exist_is_seen(text: str) -> None:
    assert CliRunner().invoke(app, shlex.split(text)).exit_code == 2


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_a_file(page: Path) -> None:
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    paths = {(page.parent / target).resolve() for target in targets if target}
    assert {path for path in paths if not path.exists() and path != RENDERED} == set()
