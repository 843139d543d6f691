"""The nursery of the kill loop: each child is the real command line, from its arguments to its exit code.

An order has `arguments` and `variables`. What a command would import in its first half second is here already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import truecaller_async.cli.app
import truecaller_async.cli.campaign.journal_info
import truecaller_async.cli.campaign.runner
import truecaller_async.cli.campaign.summary
import truecaller_async.engine
import truecaller_async.journal.maintenance
import truecaller_async.journal.sqlite
import truecaller_async.tokens.pool
import truecaller_async.tokens.sqlite_store
import truecaller_async.transport  # noqa: F401
from tests.crash.nursery import serve
from tests.crash.small import make_batches_small, make_campaigns_quick
from truecaller_async.cli import main

BATCH = 20
FIRST_POLL, LAST_POLL = 0.05, 0.4
UNRESOLVED_MAX = 800


def command(order: Mapping[str, Any]) -> int:
    """Run it; its exit code."""
    os.environ.update(order["variables"])
    sys.argv = ["truecaller", *order["arguments"]]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    make_batches_small(BATCH)
    make_campaigns_quick(FIRST_POLL, LAST_POLL, UNRESOLVED_MAX)
    serve(command)
