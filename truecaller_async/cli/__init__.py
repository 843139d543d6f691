"""The command line: `truecaller`.

A thin shell. Every command makes a client, gives it work, and tells a person, or a program, what became of it: data
goes to stdout, progress and notes go to stderr, and one number, the exit code, says how it ended. Nothing is decided
here that the library decides; what is decided here is only how it is said.

How the room is laid out:

    app          the commands together, and the one place where errors become words and exit codes
    exits        the exit codes               faults      an error as a message
    params       durations and limits         connection  the options of the account, and the client they make
    demo  sandbox  doctor  push  campaign     one file for each group of commands
    batch  labels  feature_sets  numbers      listing  filters  number_file    what the lists have in common
    token
    surroundings  verdicts  report            what the doctor finds, says of it, and how
    job          one run of a campaign         watching    while it runs       conclusion  what is said at its end
    rows  bad_rows  reasons  recording        what a campaign reads, tells and writes
    journals  past                            where journals lie, and what they tell of earlier runs
    desk  findings                            looking at a journal: status, results, report, settle, purge
    standing  page  retelling                 how that is shown: lines, a page of HTML, results once more
    course       where it is, in figures      live  lines     how that is shown
    account      how it ended                 phrases     figures and texts as people read them
    output       tables and JSON on stdout

click and rich come with the extra `cli`. Without them this module can still be imported, and `main` says what to do.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("click", "rich")
INSTALL = 'The command line needs click and rich: pip install "truecaller-async[cli]"'


def main() -> None:
    """The entry point `truecaller`. Ends the process with one of the codes of `exits`."""
    try:
        if find_spec("rich") is None:  # told at once, and not in the middle of a campaign
            raise ModuleNotFoundError("rich is missing", name="rich")
        from truecaller_async.cli.app import app
    except KeyboardInterrupt:  # before there is a command that could say so
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write(INSTALL + "\n")
        sys.exit(3)
    app()
