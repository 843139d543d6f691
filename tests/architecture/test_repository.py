"""Check that no file depends on the machine on which it was written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .sources import REPOSITORY

GIT = shutil.which("git")
END = r"(?=[/\s\"'`),.:;]|$)"

NOWHERE = {
    "a path of one machine": re.compile(rf"(?<![\w.~/-])/(?:work|root|home/\w+|Users/\w+){END}", re.MULTILINE),
    "a folder beside the repository": re.compile(r"\.\./shared"),
    "a package registry": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|crates\.io|proxy\.golang\.org|rubygems\.org)",
        re.IGNORECASE,
    ),
}

OUTSIDE_TESTS = {"a temporary path": re.compile(rf"(?<![\w./-])/(?:var/)?tmp{END}", re.MULTILINE)}


def files() -> list[Path]:
    """Return all files that are committed, or that `git add` would add."""
    if GIT is None or not (REPOSITORY / ".git").exists():
        pytest.skip("not a git repository: there is nothing to be committed")
    listed = subprocess.run(  # noqa: S603 - a fixed command
        [GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    ).stdout.decode()
    found = [REPOSITORY / name for name in listed.split("\0") if name]
    return [path for path in found if path.is_file()]


def names(text: str, patterns: dict[str, re.Pattern[str]]) -> list[str]:
    """Return the matches in a text as sentences with the line number."""
    return [
        f"{text.count(chr(10), 0, found.start()) + 1}: {what} {found[0]!r}"
        for what, pattern in patterns.items()
        for found in pattern.finditer(text)
    ]


def test_no_file_names_a_machine_path_sibling_project_or_registry() -> None:
    found: list[str] = []
    for path in files():
        where = path.relative_to(REPOSITORY)
        patterns = NOWHERE if where.parts[0] == "tests" else NOWHERE | OUTSIDE_TESTS
        found += [f"{where}:{name}" for name in names(path.read_text("utf-8", "replace"), patterns)]
    assert found == []


@pytest.mark.parametrize(
    "parts",
    [
        ("see /wo", "rk/main/x.py"),
        ('"/ro', 'ot"'),
        ("/ho", "me/someone/file"),
        ("../sha", "red/design"),
        ("https://py", "pi.org/simple"),
        ("https://files.python", "hosted.org/x"),
    ],
)
def test_each_forbidden_name_is_detected(parts: tuple[str, str]) -> None:
    assert names("first line\n" + "".join(parts), NOWHERE)[0].startswith("2: ")


@pytest.mark.parametrize("text", ["the work/rest ratio", "https://api.example/work", "a/root", "/workers", "~/home"])
def test_other_text_passes(text: str) -> None:
    assert names(text, NOWHERE) == []
