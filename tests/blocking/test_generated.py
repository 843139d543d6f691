"""The generated mirrors: the file is current, its types are correct, and each method is mirrored as specified."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from truecaller_async.blocking import _generate

REPOSITORY = Path(__file__).parents[2]


def method(text: str) -> _generate.Method:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def test_the_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    code = _generate.main(["--check"])
    assert (capsys.readouterr().out, code) == ("", 0), "run: python -m truecaller_async.blocking._generate"


def test_a_file_that_is_not_current_is_shown_as_a_diff_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    current = _generate.TARGET.read_text("utf-8")
    stale = tmp_path / "resources.py"
    stale.write_text(current.replace("def push(", "def send("), "utf-8")
    monkeypatch.setattr(_generate, "TARGET", stale)
    assert _generate.main(["--check"]) == 1
    shown = capsys.readouterr().out
    assert "\n-    def send(" in shown
    assert "\n+    def push(" in shown
    assert _generate.main([]) == 0
    assert stale.read_text("utf-8") == current


def test_the_generated_code_passes_mypy_strict() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(_generate.TARGET)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_call_waits_and_a_listing_is_made_at_once() -> None:
    assert "return self._portal.run(lambda client: client.calls.push(a, b=b))" in _generate._method(
        "calls", method("async def push(self, a: int, *, b: int = 1) -> str: ...")
    )
    assert "return Listing(self._portal, self._portal.client().labels.list(page=page))" in _generate._method(
        "labels", method("def list(self, *, page: int = 1) -> Listing[Label]: ...")
    )


def test_an_iterable_is_read_before_the_call_and_a_collection_is_not() -> None:
    text = _generate._method(
        "numbers", method("async def publish(self, rows: Iterable[str], hosts: Collection[str]) -> None: ...")
    )
    assert text.index("rows = read_here(rows)") < text.index("self._portal.run")
    assert "read_here(hosts)" not in text


@pytest.mark.parametrize(
    "text", ["async def push(self, *args: int) -> None: ...", "def push(self) -> None: ...", "def push(self): ..."]
)
def test_a_method_that_has_no_blocking_form_is_refused(text: str) -> None:
    with pytest.raises(NotImplementedError, match=r"calls\.push"):
        _generate._method("calls", method(text))


def test_a_docstring_keeps_arguments_and_drops_what_is_about_async() -> None:
    text = '''
async def push(self, record: int) -> None:
    """Push one record.

    Await it once for each record, or `async for` over it.

    The `record` is checked first.

    Something about the server.

    Args:
        record: One record.

    Returns:
        An object to await.

    Raises:
        ValidationError: The record is wrong.
    """
'''
    assert _generate._docstring("calls.push", method(text), ["record"]) == (
        "Push one record.\n\n"
        "The `record` is checked first.\n\n"
        "Blocks until `calls.push` of the async client returns.\n\n"
        "Args:\n    record: One record.\n\n"
        "Raises:\n    ValidationError: The record is wrong."
    )


def test_quotes_and_backslashes_of_a_docstring_survive() -> None:
    for text in ('a \\n b """ c', "two\nlines", "one line", 'at the "end"'):
        node = ast.parse(_generate._quote(text)).body[0]
        assert isinstance(node, ast.Expr)
        assert ast.literal_eval(node.value).rstrip("\n") == text
