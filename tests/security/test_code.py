"""S39 and S40: things that the package must not do, checked in its source and at its import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.architecture.sources import REPOSITORY, Module, modules

FORBIDDEN = (
    "pickle",
    "cPickle",
    "marshal.load",
    "marshal.loads",
    "shelve",
    "dill",
    "yaml",
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "tempfile.mktemp",
    "ssl._create_unverified_context",
    "ssl.CERT_NONE",
    "random.SystemRandom",
    "telnetlib",
    "xml",
)
"""Modules and functions that the package must not import or call."""

WRITING = {"w", "x", "a", "+"}
EXECUTING = {"execute", "executemany", "executescript"}
OWN_NAMES = {
    "truecaller_async.journal.maintenance": {"table"},
    "truecaller_async.journal.reader": {"where"},
    "truecaller_async.webhooks.event_queries": {"one", "state"},
    "truecaller_async.storage.sqlite_worker": {"version"},
}
"""Names that may be inserted into SQL: parts of SQL of the same module, and the schema version; no values."""


def dangers(module: Module) -> list[str]:
    """Return the forbidden imports and calls, shells, and formatted SQL of a module."""
    found = [use for use in module.imports() if any(use.is_within(name) for name in FORBIDDEN)]
    found += [use for use in module.calls() if any(use.is_within(name) for name in FORBIDDEN)]
    found_places = [f"{module.name}:{use.line} {use.name}" for use in found]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            found_places += [
                f"{module.name}:{node.lineno} {what}" for what in (*shells(node), *mixed_sql(module, node))
            ]
    return found_places


def shells(call: ast.Call) -> Iterator[str]:
    """Yield the way in which a call runs a shell."""
    for keyword in call.keywords:
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
            yield "shell="
    if isinstance(call.func, ast.Attribute) and call.func.attr == "create_subprocess_shell":
        yield "create_subprocess_shell"


def mixed_sql(module: Module, call: ast.Call) -> Iterator[str]:
    """Yield the values, other than known constants, that are inserted into SQL."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in EXECUTING or not call.args:
        return
    sql = call.args[0]
    if isinstance(sql, ast.JoinedStr):
        names = {ast.unparse(part.value) for part in sql.values if isinstance(part, ast.FormattedValue)}
        constant = {name for name in names if name.isupper()}
        if names - constant - OWN_NAMES.get(module.name, set()):
            yield f"SQL with {', '.join(sorted(names))}"
    elif isinstance(sql, ast.BinOp | ast.Call) and not is_constant(sql, OWN_NAMES.get(module.name, set())):
        yield f"SQL by {ast.unparse(sql)}"


def is_constant(sql: ast.expr, own: set[str]) -> bool:
    """Return whether an expression is a literal, a constant by name, or a concatenation of them."""
    if isinstance(sql, ast.BinOp):
        return isinstance(sql.op, ast.Add) and is_constant(sql.left, own) and is_constant(sql.right, own)
    return isinstance(sql, ast.Constant) or (isinstance(sql, ast.Name) and (sql.id.isupper() or sql.id in own))


@pytest.mark.fault("S39")
def test_nothing_dangerous_is_imported_called_or_executed() -> None:
    assert [place for module in modules() for place in dangers(module)] == []


@pytest.mark.fault("S39")
@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(b'')",
        "from pickle import loads",
        "eval('1')",
        "exec('x = 1')",
        "import yaml\nyaml.load('')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess as s\ns.run('ls', shell=chosen)",
        "import asyncio\nasyncio.create_subprocess_shell('ls')",
        "import os\nos.system('ls')",
        "db.execute(f'SELECT * FROM t WHERE x = {value}')",
        "db.execute('SELECT * FROM t WHERE x = ' + value)",
        "db.execute('SELECT * FROM t WHERE x = %s' % value)",
        "db.executescript('DROP TABLE {}'.format(value))",
        "import tempfile\ntempfile.mktemp()",
    ],
)
def test_each_danger_is_detected(text: str) -> None:
    assert dangers(Module.of("truecaller_async.x", text))


@pytest.mark.fault("S39")
@pytest.mark.parametrize(
    "text",
    [
        "db.execute('SELECT * FROM t WHERE x = ?', (value,))",
        "db.execute(f'PRAGMA user_version={VERSION}')",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import re\nre.compile('x')",
    ],
)
def test_harmless_code_passes(text: str) -> None:
    assert dangers(Module.of("truecaller_async.x", text)) == []


WATCHED = """
import json, sys, threading

seen = []
NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
OTHERS = {"subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "sqlite3.connect", "os.putenv", "tempfile.mkstemp"}

def hook(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wxa+"):
        if "__pycache__" not in str(args[0]):
            seen.append([event, str(args[0])])
    elif event in NETWORK | OTHERS:
        seen.append([event, str(args[:2])])

sys.addaudithook(hook)
import logging
class LogCollector(logging.Handler):
    def emit(self, record):
        seen.append(["log", record.getMessage()])
logging.getLogger().addHandler(LogCollector())
logging.getLogger().setLevel(1)
import warnings
warnings.simplefilter("error")

import importlib, pkgutil
import truecaller_async
names = ["truecaller_async"]
for found in pkgutil.walk_packages(truecaller_async.__path__, "truecaller_async."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
        names.append(found.name)
print(json.dumps({"seen": seen, "modules": len(names), "threads": threading.active_count()}))
"""


@pytest.mark.fault("S40")
def test_import_writes_nothing_starts_nothing_and_logs_nothing() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-B", "-c", WATCHED], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["seen"] == []
    assert report["modules"] > 150
    assert report["threads"] == 1
    assert done.stderr == ""


def openings(module: Module) -> Iterator[tuple[int, str]]:
    """Return the places at which a file is opened for writing or created."""
    for use in module.calls():
        if use.name.startswith(("tempfile.", "os.mkfifo", "os.open")) or use.name == "open":
            yield use.line, use.name


NAMED_BY_THE_CALLER = {
    "truecaller_async.sinks.result_sink": "results, where the caller wants them",
    "truecaller_async.sources.text_files": "input, read only",
    "truecaller_async.webhooks.forwarding": "a file to which events are forwarded",
}
EXCLUSIVE_OR_NOT_FOLLOWED = ("O_EXCL", "O_NOFOLLOW", '"xb"')


@pytest.mark.fault("S40")
def test_files_are_created_exclusively_or_with_a_given_name() -> None:
    careless = []
    for module in modules():
        text = ast.unparse(module.tree).replace("'", '"')
        made = [name for _, name in openings(module)]
        if made and not any(word in text for word in EXCLUSIVE_OR_NOT_FOLLOWED):
            careless.append(f"{module.name}: {', '.join(made)}")
    assert {place.partition(":")[0] for place in careless} <= NAMED_BY_THE_CALLER.keys(), careless
