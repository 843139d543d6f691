"""Run command lines of `truecaller` in forked processes, for the kill loop.

An order has `arguments` and `variables` (of the environment). The imports that a command needs in its first half second
are done before the fork.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import truecaller_async.campaign.stream
import truecaller_async.cli.app
import truecaller_async.cli.campaign.journal_info
import truecaller_async.cli.campaign.runner
import truecaller_async.cli.campaign.summary
import truecaller_async.journal.maintenance
import truecaller_async.journal.sqlite
import truecaller_async.tokens.pool
import truecaller_async.tokens.sqlite_store
import truecaller_async.transport  # noqa: F401
from tests.crash.engine_settings import make_batches_small, make_polls_frequent
from tests.crash.forker import serve
from truecaller_async.cli import main

BATCH_ROWS = 20
FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.05, 0.4
UNRESOLVED_MAX = 800


def command(order: Mapping[str, Any]) -> int:
    """Run one command line and return its exit code."""
    os.environ.update(order["variables"])
    sys.argv = ["truecaller", *order["arguments"]]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    make_batches_small(BATCH_ROWS)
    make_polls_frequent(FIRST_POLL_SECONDS, LAST_POLL_SECONDS, UNRESOLVED_MAX)
    serve(command)
