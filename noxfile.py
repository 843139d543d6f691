"""Define the checks of this repository as nox sessions.

    nox                          lint, types, tests-fast, docs: the checks before a push
    nox -s tests                 the whole suite
    nox -s suite                 the whole suite on each supported interpreter that is installed
    nox -s bench crash           the speed guard; short forms of the crash tests
    nox -s tests-fast -- -k NAME arguments after `--` go to pytest (for bench and crash: to the command)

All sessions except `suite` run in the environment that nox is installed in (`pip install -e ".[dev]"`) and start
without an installation. `suite` makes one environment for each interpreter.
"""

from __future__ import annotations

import shutil
import sys

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests-fast", "docs"]
nox.options.default_venv_backend = "none"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

INTERPRETERS = ["3.11", "3.12", "3.13", "3.14"]
PARALLEL = ["-n", "2", "--dist", "loadfile"]

FAST_TESTS = [
    "tests/models",
    "tests/campaign/core",
    "tests/validation",
    "tests/resilience",
    "tests/protocol",
    "tests/limits",
    "tests/tokens",
    "tests/batch_life",
    "tests/authentication",
    "tests/architecture",
]
"""Folders of pure and virtual-time tests: 75 s of processor time together, so about 40 s on 2 idle cores.

Left out, with their processor time: `engine` and `throttling` (33 s each), `simulation` (23 s), `laws` (20 s), and the
folders whose tests need sockets or processes. Measure before adding one: the session must stay below 60 s.
"""

DOCS_TESTS = ["tests/architecture", "tests/examples"]
"""The tests that compare documents with the code. Commands that check generated documents belong in `docs`."""

CRASH_COMMANDS = [
    ["kills", "--kills", "60"],
    ["points", "--every", "40"],
]


def _python(session: nox.Session, *arguments: str) -> None:
    session.run(sys.executable, *arguments)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff."""
    _python(session, "-m", "ruff", "check", ".")
    _python(session, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy in strict mode."""
    _python(session, "-m", "mypy")


@nox.session(name="tests-fast")
def tests_fast(session: nox.Session) -> None:
    """Run the pure and virtual-time tests, in less than 60 s on 2 cores."""
    _python(session, "-m", "pytest", "-q", *PARALLEL, *FAST_TESTS, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole suite, as the README does."""
    _python(session, "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Check that the documents agree with the code."""
    _python(session, "-m", "pytest", "-q", *DOCS_TESTS, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Check that the cost of a record has not grown."""
    _python(session, "-m", "benchmarks", *(session.posargs or ["guard"]))


@nox.session
def crash(session: nox.Session) -> None:
    """Run short forms of the crash tests; tests/crash/README.md describes the long forms."""
    for command in [session.posargs] if session.posargs else CRASH_COMMANDS:
        if "points" in command and shutil.which("strace") is None:
            session.warn("crash points are skipped: the command strace is not installed")
            continue
        _python(session, "-m", "tests.crash", *command)


@nox.session(python=INTERPRETERS, venv_backend="virtualenv")
def suite(session: nox.Session) -> None:
    """Run the whole suite on one interpreter; nox skips interpreters that are not installed."""
    session.install("-q", "-e", ".[dev]")
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs)
