"""All commands together, and the one place where an error becomes a message and an exit code."""

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
from truecaller_async.cli.exit_codes import SIGNALLED, ExitCode, exit_for_error
from truecaller_async.errors import TruecallerError


class Commands(click.Group):
    """The group whose commands never end in a traceback. They are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """First what needs no account, then sending, then looking."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except TruecallerError as error:
            click.echo(error_text(error), err=True)
            ctx.exit(exit_for_error(error))
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(SIGNALLED + SIGINT)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # whoever read our output has gone; click ends in silence
            if os.environ.get("TRUECALLER_DEBUG"):
                traceback.print_exc()
            click.echo(internal_error_text(error), err=True)
            ctx.exit(ExitCode.DEFECT)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="truecaller", message="%(prog)s %(version)s")
def app() -> None:
    """Verified names and call reasons for a business's calls: the Truecaller for Business API.

    The account comes from the environment: TRUECALLER_CLIENT_ACCOUNT_ID, TRUECALLER_KEY_ID and TRUECALLER_API_KEY (or
    each with _FILE, the path of a file that holds it). No account yet? Try: truecaller demo
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")


for command in (demo, sandbox, doctor, push, campaign, batch, labels, feature_sets, numbers, token, webhooks):
    app.add_command(command)
