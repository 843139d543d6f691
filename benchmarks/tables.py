"""A table that a program keeps in a page: it stands between two comments that a reader does not see.

<!-- speed: begin -->
<!-- speed: end -->
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the table as text with one line per row."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def replace_table(text: str, name: str, content: str) -> str:
    """Return the document with this content between the two comments of this name.

    Raises `ValueError` unless each comment occurs once, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page must have {begin} and behind it {end}, each once")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{content.strip()}\n{end}{rest.partition(end)[2]}"


def write(path: Path, name: str, content: str) -> None:
    """Write the content to the file. Raises as `replace_table`."""
    path.write_text(replace_table(path.read_text("utf-8"), name, content), "utf-8")
