"""Command line `truecaller`: options to client calls, results to output and exit codes.

The commands contain no business logic: the library decides, and the command line formats. Data goes to stdout;
progress, notes and errors go to stderr; the exit code says how the command ended.

Modules:
    - `app`: the root command; the only place where an exception becomes a message and an exit code.
    - `exit_codes`, `error_messages`: exit codes, and an error as a message with advice.
    - `account_options`, `param_types`, `list_command`, `number_file`: options and inputs of several commands.
    - `formatting`, `output`: numbers and texts; tables and JSON.
    - `commands/`: one module for each command group.
    - `campaign/`: input, run, progress, results and summary of a campaign.
    - `report/`: status and report of a journal, as data, text and HTML.
    - `doctor/`: the checks of `truecaller doctor`.

click and rich come with the extra `cli`. This package can be imported without them; `main` then says how to install
them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

REQUIRED = ("click", "rich")
INSTALL = 'The command line needs click and rich. Install them: pip install "truecaller-async[cli]"'
INTERRUPTED_STATUS = 130
MISSING_DEPENDENCY_STATUS = 3


def main() -> None:
    """Run the entry point `truecaller`, and exit with one of the codes of `exit_codes`."""
    try:
        # rich is imported late; check for it now, so that it is not missed in the middle of a campaign.
        if find_spec("rich") is None:
            raise ModuleNotFoundError("rich is missing", name="rich")
        # Imported here, because click may not be installed.
        from truecaller_async.cli.app import app
    except KeyboardInterrupt:  # during the import, before a command can handle it
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED_STATUS)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in REQUIRED:
            raise
        sys.stderr.write(INSTALL + "\n")
        sys.exit(MISSING_DEPENDENCY_STATUS)
    app()
