"""Looking at the journal of a campaign, and deciding over it: `truecaller campaign status`, `results` and so on.

Nothing here needs an account or sends anything. What only looks may be done while a run is going.
"""

from __future__ import annotations

from pathlib import Path

import click

from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.formatting import counted
from truecaller_async.cli.output import print_json
from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError

AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
JOURNAL = click.argument("journal", type=click.Path(path_type=Path))


@click.command()
@JOURNAL
@AS_JSON
def status(journal: Path, as_json: bool) -> None:
    """Where a campaign stands, also while it runs.

    JOURNAL is the file that the run named. Nothing is sent, and nothing is changed.
    """
    from truecaller_async.cli.report.data import state_of
    from truecaller_async.cli.report.text import lines_of

    state = state_of(journal)
    if as_json:
        print_json(state)
    else:
        click.echo("\n".join(lines_of(state)))


@click.command()
@JOURNAL
@click.option("--out", required=True, metavar="FILE", help="Where to: .csv or .jsonl, also with .gz.")
@click.option("--file", metavar="PATH", help="Where the input is now, if it was moved: the keys are read from it.")
@AS_JSON
def results(journal: Path, out: str, file: str | None, as_json: bool) -> None:
    """Write the whole file of results anew, from the journal and the input.

    Every row that was read is in it once, as it stands. The file is there whole or not at all. The ids that the server
    gave to records are not in the journal, so the column record_id is empty.
    """
    from truecaller_async.cli.campaign.journal_info import JournalInfo
    from truecaller_async.sinks.result_sink import atomic_sink

    past = JournalInfo.of(journal)
    if file is not None:
        past = past.moved(file)
    past.check_free(out)
    try:
        with atomic_sink(Path(out)) as sink:
            count = past.retelling(lambda text: click.echo(text, err=True)).into(sink, lambda _: True)
    except OSError as error:
        raise ConfigError(f"results cannot be written to {out}: {error.strerror or error}") from error
    if as_json:
        print_json({"journal": str(journal), "out": out, "rows": count})
    else:
        click.echo(f"{counted(count, 'row')} written to {out}.", err=True)


@click.command()
@JOURNAL
@click.option("--html", metavar="OUT", help="Write it as a page of its own, which needs nothing else to be shown.")
@AS_JSON
def report(journal: Path, html: str | None, as_json: bool) -> None:
    """The account of a campaign: what became of the records, and every answer that was lost."""
    from truecaller_async.cli.report.data import report_on

    found = report_on(journal)
    if html is not None:
        from truecaller_async.cli.campaign.journal_info import JournalInfo
        from truecaller_async.cli.report.html import page_of
        from truecaller_async.sinks.result_sink import atomic_replacement, check_not_input

        JournalInfo.of(journal).check_free(html)
        check_not_input(html, found.state.results, what="results")
        try:
            with atomic_replacement(Path(html)) as new:
                new.write_text(page_of(found, Clock().wall()), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigError(f"the page cannot be written to {html}: {error.strerror or error}") from error
    if as_json:
        print_json(found)
    elif html is not None:
        click.echo(f"The report was written to {html}.", err=True)
    else:
        from truecaller_async.cli.report.text import lines_of_report

        click.echo("\n".join(lines_of_report(found)))


@click.command()
@JOURNAL
@click.argument("batch", type=int)
@click.option("--applied", type=click.Choice(["yes", "no"]), required=True, help="Whether Truecaller had taken it.")
@AS_JSON
def decide(journal: Path, batch: int, applied: str, as_json: bool) -> None:
    """Say whether a batch whose answer was lost had been applied.

    BATCH is its number, as report shows it. `yes` leaves its rows unknown for good: they were taken, and nobody can ask
    what became of them. `no` lets a resume send them again. Only who knows should say it: `no` about a batch that had
    been applied sends it twice.
    """
    from truecaller_async.journal.maintenance import decide as settle_batch

    was_applied = applied == "yes"
    settle_batch(journal, batch, was_applied, Clock().wall())
    following = journal_files.resume_command(journal, journal_files.standing_of(journal))
    if as_json:
        print_json({"journal": str(journal), "batch": batch, "applied": was_applied, "next": following})
        return
    meaning = "its rows are unknown for good, and it is not sent again" if was_applied else "a resume sends it again"
    click.echo(f"Batch {batch} {'was' if was_applied else 'was not'} applied: {meaning}.")
    click.echo(f"Next: {following}")


@click.command()
@JOURNAL
@click.option("--force", is_flag=True, help="Also where rows have no final word yet; then nothing can be resumed.")
@AS_JSON
def purge(journal: Path, force: bool, as_json: bool) -> None:
    """Erase everything that speaks of single rows, and keep the account.

    What is erased cannot be had back from the file: afterwards it is neither resumed, nor are results written from it.
    """
    from truecaller_async.journal.maintenance import purge as purge_journal

    before = journal.stat().st_size if journal.is_file() else 0
    purge_journal(journal, force=force)
    after = journal.stat().st_size
    if as_json:
        print_json({"journal": str(journal), "bytes_before": before, "bytes_after": after})
        return
    click.echo(
        "Erased: the records that were kept, the prints of the input, the word on each row, and the batches. "
        f"Kept: the account ({before:,} bytes are {after:,} now)."
    )
    click.echo(f"Next: {journal_files.command('report', journal)}")


COMMANDS = (status, results, report, decide, purge)
