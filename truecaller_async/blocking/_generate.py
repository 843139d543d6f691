"""Generate `resources.py`, the blocking mirrors of the async resource classes.

    python -m truecaller_async.blocking._generate            write resources.py
    python -m truecaller_async.blocking._generate --check    print a diff and exit with 1 if resources.py is not current

It needs ruff (the extra `dev`). If the package cannot be imported because resources.py is out of date, run this file by
its path instead.

Algorithm:
    Each public attribute of an async client is a resource. The source of its class is parsed. Every public method
    except `attempt_*` (single tries for campaigns) gets a mirror with the same parameters. An `async def` becomes a
    method that waits. A method that returns a `Listing` returns the blocking `Listing`. A parameter that is an
    `Iterable` is read in the caller's thread. The types are imported from where the async module imports them.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

from truecaller_async.client import TruecallerClient

TARGET = Path(__file__).with_name("resources.py")
HEADER = '''"""The blocking mirrors of the async resource classes.

Generated from the signatures and docstrings of the async classes. Do not edit: change the async class, then run
`python -m truecaller_async.blocking._generate`. `tests/blocking/test_generated.py` checks that this file is current.
"""

from __future__ import annotations

from truecaller_async.blocking.pagination import Listing
from truecaller_async.blocking.portal import Portal, read_here
'''
INIT = """
def __init__(self, portal: Portal) -> None:
    self._portal = portal
"""
SECTIONS = ("Args:", "Returns:", "Raises:", "Warns:")
ASYNC_ONLY = re.compile(r"\bawait|\basync for\b", re.IGNORECASE)

Method = ast.FunctionDef | ast.AsyncFunctionDef


def generated() -> str:
    """Return the text that resources.py must have."""
    client = TruecallerClient(client_account_id="00000000-0000-4000-8000-000000000001", key_id="key", api_key="key")
    imports: set[str] = set()
    classes = [_mirror(name, type(value), imports) for name, value in vars(client).items() if not name.startswith("_")]
    return _format("\n".join([HEADER, *sorted(imports), *classes]))


def _mirror(resource: str, original: type, imports: set[str]) -> str:
    """Return the mirror of one class, and add the imports that it needs."""
    tree = ast.parse(Path(inspect.getfile(original)).read_text("utf-8"))
    origins = dict(_origins(tree, original.__module__))
    (definition,) = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == original.__name__)
    parts = [_quote(ast.get_docstring(definition) or ""), INIT]
    for method in definition.body:
        if isinstance(method, Method) and not method.name.startswith(("_", "attempt_")):
            parts.append(_method(resource, method))
            imports |= {origins[name] for name in _names(method) if name in origins and name != "Listing"}
    return f"class {definition.name}:\n{indent(chr(10).join(parts), '    ')}"


def _origins(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """Yield each name that a module defines or imports, and the statement that imports it elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((one.asname or one.name, f"from {node.module} import {ast.unparse(one)}") for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                ((one.asname or one.name).partition(".")[0], f"import {ast.unparse(one)}") for one in node.names
            )
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((one.id, f"from {module} import {one.id}") for one in targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.ClassDef):
            yield node.name, f"from {module} import {node.name}"


def _names(method: Method) -> set[str]:
    """Return the names in the signature of a method."""
    parts = [method.args, *([method.returns] if method.returns else [])]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}


def _method(resource: str, method: Method) -> str:
    where, returns = f"{resource}.{method.name}", ast.unparse(method.returns or ast.Constant(None))
    if method.args.vararg or method.args.kwarg:
        raise NotImplementedError(f"{where} takes *args or **kwargs: the generator cannot mirror it")
    positional = [*method.args.posonlyargs, *method.args.args][1:]
    parameters = [*positional, *method.args.kwonlyargs]
    passed = [one.arg for one in positional] + [f"{one.arg}={one.arg}" for one in method.args.kwonlyargs]
    call = f"{where}({', '.join(passed)})"
    if isinstance(method, ast.AsyncFunctionDef):
        result = f"self._portal.run(lambda client: client.{call})"
    elif returns.startswith("Listing["):
        result = f"Listing(self._portal, self._portal.client().{call})"
    else:
        raise NotImplementedError(f"{where} is not async and returns no Listing: the generator cannot mirror it")
    read = [f"{one.arg} = read_here({one.arg})" for one in parameters if _is_iterable(one)]
    body = [_quote(_docstring(where, method, [one.arg for one in parameters])), *read, f"return {result}"]
    return f"\ndef {method.name}({ast.unparse(method.args)}) -> {returns}:\n{indent(chr(10).join(body), '    ')}\n"


def _is_iterable(argument: ast.arg) -> bool:
    return argument.annotation is not None and ast.unparse(argument.annotation).startswith("Iterable[")


def _docstring(where: str, method: Method, parameters: list[str]) -> str:
    """Return the parts of the async docstring that are true for the mirror: summary and arguments."""
    summary, *paragraphs = (ast.get_docstring(method) or "").split("\n\n")
    kept = [
        paragraph
        for paragraph in paragraphs
        if not ASYNC_ONLY.search(paragraph)
        and (paragraph.startswith(SECTIONS) or any(f"`{name}`" in paragraph for name in parameters))
    ]
    sections = [paragraph for paragraph in kept if paragraph.startswith(SECTIONS)]
    prose = [paragraph for paragraph in kept if paragraph not in sections]
    if isinstance(method, ast.AsyncFunctionDef):
        reference = f"Blocks until `{where}` of the async client returns."
    else:
        reference = (
            "Returns a blocking `Listing`: call `page()` for one page, use `for` for all items from that page on.\n"
            f"Both raise what awaiting `{where}` of the async client raises."
        )
    return "\n\n".join([summary, *prose, reference, *sections])


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{escaped}\n"""' if "\n" in text or text.endswith('"') else f'"""{escaped}"""'


def _format(text: str) -> str:
    for command in (["check", "--fix-only", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        text = subprocess.run(  # noqa: S603 - the formatter of this project
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", __file__, "-"],
            input=text,
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout
    return text


def main(arguments: list[str]) -> int:
    """Write resources.py, or compare it if `--check` is given. Return the exit code."""
    parser = argparse.ArgumentParser(description="Generate the blocking mirrors of the async resource classes.")
    parser.add_argument("--check", action="store_true", help="print a diff; exit with 1 if the file is not current")
    is_check = parser.parse_args(arguments).check
    old, new = TARGET.read_text("utf-8") if TARGET.exists() else "", generated()
    if is_check:
        lines = old.splitlines(keepends=True), new.splitlines(keepends=True)
        sys.stdout.writelines(difflib.unified_diff(*lines, TARGET.name, "generated"))
        return int(old != new)
    TARGET.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
