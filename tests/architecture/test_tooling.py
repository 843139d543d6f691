"""Check that the configuration of the tools names existing files, and that property tests have no deadline."""

from __future__ import annotations

import ast
import tomllib
from typing import Any

import pytest
from hypothesis import settings

from .sources import REPOSITORY

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
OPTIONAL_FILES: frozenset[str] = frozenset()
"""Files that the source distribution includes if they exist."""


def noxfile_lists() -> dict[str, list[str]]:
    """Return the lists of texts that the noxfile assigns, by name."""
    tree = ast.parse((REPOSITORY / "noxfile.py").read_text("utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.List):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_property_tests_have_no_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None


@pytest.mark.parametrize("name", ["FAST_TESTS", "DOCS_TESTS"])
def test_each_test_folder_that_a_nox_session_runs_exists(name: str) -> None:
    folders = noxfile_lists()[name]
    assert folders
    assert [folder for folder in folders if not (REPOSITORY / folder).exists()] == []


def test_nox_runs_the_suite_on_each_interpreter_that_the_package_supports() -> None:
    prefix = "Programming Language :: Python :: "
    supported = [line.removeprefix(prefix) for line in PROJECT["project"]["classifiers"] if line.startswith(prefix)]
    assert noxfile_lists()["INTERPRETERS"] == [version for version in supported if version != "3 :: Only"]


def test_the_source_distribution_names_only_what_exists() -> None:
    included = [name.removeprefix("/") for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    assert [name for name in included if name not in OPTIONAL_FILES and not (REPOSITORY / name).exists()] == []


def test_each_changelog_fragment_has_a_known_type() -> None:
    known = {entry["directory"] for entry in PROJECT["tool"]["towncrier"]["type"]}
    fragments = [path.name for path in (REPOSITORY / "changelog.d").iterdir() if path.name != "README.md"]
    assert [name for name in fragments if not name.endswith(".md") or name.split(".")[-2] not in known] == []


def test_the_changelog_has_the_marker_that_towncrier_writes_after() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert changelog.count(PROJECT["tool"]["towncrier"]["start_string"]) == 1


def test_pre_commit_downloads_nothing() -> None:
    text = (REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8")
    sources = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("- repo:")]
    assert sources == ["local"]
