"""Commands on the journal of a campaign: `status`, `report`, `results`, `decide`, `purge`.

They need no account and send nothing. `status`, `report` and `results` also work while the campaign runs. States,
reports and JSON go to stdout, confirmations to stderr.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.formatting import counted
from truecaller_async.cli.output import print_json
from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError

# Modules that import SQLite or the source readers are imported inside the commands, so that --help stays fast.

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
JOURNAL_ARGUMENT = click.argument("journal", type=click.Path(path_type=Path))


@click.command()
@JOURNAL_ARGUMENT
@JSON_OPTION
def status(journal: Path, as_json: bool) -> None:
    """Show the state of a campaign, also while it runs.

    JOURNAL is the file whose path `campaign run` printed. Nothing is sent or changed.
    """
    from truecaller_async.cli.report.data import status_of
    from truecaller_async.cli.report.text import status_lines

    found = status_of(journal)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(status_lines(found)))


@click.command()
@JOURNAL_ARGUMENT
@click.option("--out", required=True, metavar="FILE", help="The new file: .csv or .jsonl, also with .gz.")
@click.option("--file", metavar="PATH", help="Where the input is now, if it was moved; the keys are read from it.")
@JSON_OPTION
def results(journal: Path, out: str, file: str | None, as_json: bool) -> None:
    """Write a new, complete results file.

    It is written from the journal and the input. Every row that was read is written once, with its present outcome.
    The file is replaced as a whole or not at all. The column record_id is empty, because the journal does not store
    these ids.
    """
    from truecaller_async.cli.campaign.journal_info import JournalInfo
    from truecaller_async.sinks.result_sink import atomic_sink

    info = JournalInfo.of(journal)
    if file is not None:
        info = info.with_input(file)
    info.check_can_write(out)
    try:
        with atomic_sink(Path(out)) as sink:
            count = info.rebuilder(lambda text: click.echo(text, err=True)).write(sink, lambda _: True)
    except OSError as error:
        raise ConfigError(f"results cannot be written to {out}: {error.strerror or error}") from error
    if as_json:
        print_json({"journal": str(journal), "out": out, "rows": count})
    else:
        click.echo(f"{counted(count, 'row')} written to {out}.", err=True)


@click.command()
@JOURNAL_ARGUMENT
@click.option("--html", metavar="OUT", help="Write the report to an HTML file that needs no other file.")
@JSON_OPTION
def report(journal: Path, html: str | None, as_json: bool) -> None:
    """Show outcomes, lost answers and undecided batches.

    An undecided batch was sent, its answer was lost, and it waits for `campaign decide`.
    """
    from truecaller_async.cli.report.data import report_on

    found = report_on(journal)
    if html is not None:
        from truecaller_async.cli.campaign.journal_info import JournalInfo
        from truecaller_async.cli.report.html import html_report
        from truecaller_async.sinks.result_sink import atomic_replacement, check_not_input

        JournalInfo.of(journal).check_can_write(html)
        check_not_input(html, found.status.results, what="results")
        try:
            with atomic_replacement(Path(html)) as new:
                new.write_text(
                    html_report(found, datetime.fromtimestamp(Clock().wall(), UTC)),
                    encoding="utf-8",
                    errors="backslashreplace",
                )
        except OSError as error:
            raise ConfigError(f"the report cannot be written to {html}: {error.strerror or error}") from error
    if as_json:
        print_json(found)
    elif html is not None:
        click.echo(f"Report written to {html}.", err=True)
    else:
        from truecaller_async.cli.report.text import report_lines

        click.echo("\n".join(report_lines(found)))


@click.command()
@JOURNAL_ARGUMENT
@click.argument("batch", type=int)
@click.option("--applied", type=click.Choice(["yes", "no"]), required=True, help="Whether Truecaller applied it.")
@JSON_OPTION
def decide(journal: Path, batch: int, applied: str, as_json: bool) -> None:
    """Record whether Truecaller applied a batch whose answer was lost.

    BATCH is the number of the batch, as `campaign report` shows it.

    \b
    yes  its rows stay unknown: their status cannot be requested, because
         the batch id was in the lost answer
    no   the next resume sends again what can still be sent; if Truecaller
         applied the batch after all, these records are sent twice
    """
    from truecaller_async.cli.report.data import status_of
    from truecaller_async.journal.maintenance import decide as record_decision

    was_applied = applied == "yes"
    record_decision(journal, batch, was_applied, Clock().wall())
    next_command = status_of(journal).next
    if as_json:
        print_json({"journal": str(journal), "batch": batch, "applied": was_applied, "next": next_command})
        return
    if was_applied:
        text = f"Recorded: Truecaller applied batch {batch}. Its rows stay unknown, and it is not sent again."
    else:
        text = f"Recorded: Truecaller did not apply batch {batch}. The next resume sends again what can still be sent."
    click.echo(f"{text}\nNext: {next_command}", err=True)


@click.command()
@JOURNAL_ARGUMENT
@click.option("--force", is_flag=True, help="Also if rows have no final outcome; the campaign cannot be resumed then.")
@JSON_OPTION
def purge(journal: Path, force: bool, as_json: bool) -> None:
    """Erase everything about single rows, and keep the summary.

    This cannot be undone: the campaign cannot be resumed afterwards, and its results cannot be written again.
    """
    from truecaller_async.journal.maintenance import purge as purge_journal

    bytes_before = journal.stat().st_size if journal.is_file() else 0
    purge_journal(journal, force=force)
    bytes_after = journal.stat().st_size
    if as_json:
        print_json({"journal": str(journal), "bytes_before": bytes_before, "bytes_after": bytes_after})
        return
    click.echo(
        "Erased: stored records, fingerprints of the input, outcomes of single rows, and batches. "
        f"Kept: the summary ({bytes_before:,} bytes before, {bytes_after:,} now).\n"
        f"Next: {journal_files.command('report', journal)}",
        err=True,
    )


COMMANDS = (status, report, results, decide, purge)
