"""Root command `truecaller`: all command groups, and errors as messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from signal import SIGINT
from typing import Any

import click

from truecaller_async._version import __version__
from truecaller_async.cli.commands.batch import batch
from truecaller_async.cli.commands.campaign_run import campaign
from truecaller_async.cli.commands.demo import demo
from truecaller_async.cli.commands.doctor import doctor
from truecaller_async.cli.commands.feature_sets import feature_sets
from truecaller_async.cli.commands.labels import labels
from truecaller_async.cli.commands.numbers import numbers
from truecaller_async.cli.commands.push import push
from truecaller_async.cli.commands.sandbox import sandbox
from truecaller_async.cli.commands.token import token
from truecaller_async.cli.commands.webhooks import webhooks
from truecaller_async.cli.error_messages import error_text, internal_error_text
from truecaller_async.cli.exit_codes import MEANINGS, SIGNAL_OFFSET_CODE, ExitCode, exit_for_error
from truecaller_async.errors import TruecallerError


class RootGroup(click.Group):
    """Group that never ends in a traceback, and lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of first use."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error and exit with its code."""
        try:
            return super().invoke(ctx)
        except TruecallerError as error:
            click.echo(error_text(error), err=True)
            ctx.exit(exit_for_error(error))
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(SIGNAL_OFFSET_CODE + SIGINT)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of our output has closed it; click exits without a message
            if os.environ.get("TRUECALLER_DEBUG"):
                traceback.print_exc()
            click.echo(internal_error_text(error), err=True)
            ctx.exit(ExitCode.INTERNAL_ERROR)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of exit codes below the help of the root command."""
        if ctx.parent is None:
            with formatter.section("Exit codes"):
                formatter.write_dl([(codes, meaning) for codes, meaning in MEANINGS.items()])


@click.group(name="truecaller", cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="truecaller", message="%(prog)s %(version)s")
def app() -> None:
    """Show verified names and call reasons for the calls of a business: the Truecaller for Business API.

    The account comes from the environment: TRUECALLER_CLIENT_ACCOUNT_ID, TRUECALLER_KEY_ID and TRUECALLER_API_KEY, or
    the same names with _FILE for the path of a file that contains the value. To try it without an account, run:
    truecaller demo
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")


for command in (demo, sandbox, doctor, push, campaign, batch, labels, feature_sets, numbers, token, webhooks):
    app.add_command(command)
