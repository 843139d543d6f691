"""Processing of benchmark results: arithmetic, tables, chart, history, regression check."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import bar_chart, comparison, guard, history, realtime, tables
from benchmarks.cases import CASES, Timing

SVG = "{http://www.w3.org/2000/svg}"


def timing(rate: float, cpu: float = 1.0) -> Timing:
    return Timing(records=int(rate), seconds=1.0, cpu=cpu)


ROUNDS = (
    {"limit": timing(1000), "shipped": timing(500), "requests": timing(100)},
    {"limit": timing(500), "shipped": timing(300), "requests": timing(150)},
    {"limit": timing(2000), "shipped": timing(400), "requests": timing(200)},
)


def test_ratios_are_computed_within_a_round_before_the_median() -> None:
    found = comparison.compare(ROUNDS)
    assert found["shipped"].shares == (0.5, 0.6, 0.2)
    assert found["requests"].times == (5.0, 2.0, 2.0)
    assert found["limit"].shares == found["limit"].times == found["shipped"].times == ()
    assert found["shipped"].met is True
    assert found["requests"].met is False
    assert found["limit"].met is None


def test_case_with_tls_is_compared_with_the_limit_with_tls() -> None:
    one = {**ROUNDS[0], "tls_limit": timing(400), "tls": timing(100)}
    assert comparison.compare([one])["tls"].shares == (0.25,)


def test_rate_and_processor_time_of_a_timing() -> None:
    one = Timing(records=250_000, seconds=0.5, cpu=0.4)
    assert (one.rate, one.cpu_per_million) == (500_000, 1.6)


def test_every_case_has_a_table_row_and_a_limit() -> None:
    assert comparison.TABLE_ROWS.keys() == CASES.keys()
    assert {line.reference for line in comparison.TABLE_ROWS.values()} <= comparison.TABLE_ROWS.keys()


def test_report_shows_figures_with_their_targets() -> None:
    told = {one.name: one for one in comparison.figures(comparison.compare(ROUNDS))}
    shipped = told["speed: push_many as shipped, of LIMIT"]
    assert (shipped.value, shipped.target, shipped.met) == ("50.00 % (20.0 to 60.0)", ">= 45 %", True)
    peer = told["speed: push_many as shipped against requests + 16 threads"]
    assert (peer.value, peer.target, peer.met) == ("2.00 x (2.00 to 5.00)", ">= 2.7 x", False)
    assert len(told) == 2


def test_both_tables_have_a_row_for_each_case() -> None:
    found = comparison.compare(ROUNDS)
    full, short = comparison.full_table(found).splitlines(), comparison.short_table(found).splitlines()
    assert len(full) == len(short) == 2 + len(found)
    assert {line.count("|") for line in full} == {8}
    assert {line.count("|") for line in short} == {6}
    assert "| MISSED |" in full[-1]


def test_history_keeps_medians() -> None:
    kept = comparison.medians(comparison.compare(ROUNDS))
    assert kept["shipped"]["share"] == 0.5
    assert kept["requests"]["times"] == 2.0
    assert kept["limit"]["records_per_second"] == 1000
    assert "share" not in kept["limit"]


def test_latest_lines_of_the_history_count(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert history.latest(2, path) == []
    for number in range(3):
        history.append({"n": number}, path)
    assert history.latest(2, path) == [{"n": 1}, {"n": 2}]
    assert len(path.read_text().splitlines()) == 3


def test_rendered_table_replaces_only_the_previous_table() -> None:
    page = "above\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nbelow\n"
    once = tables.replace_table(page, "speed", "| a |\n")
    assert once == "above\n<!-- speed: begin -->\n| a |\n<!-- speed: end -->\nbelow\n"
    assert tables.replace_table(once, "speed", "| a |") == once


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<!-- speed: begin -->",
        "<!-- speed: end --> <!-- speed: begin -->",
        "<!-- speed: begin --> <!-- speed: end --> <!-- speed: end -->",
        "<!-- other: begin --> <!-- other: end -->",
    ],
)
def test_page_without_a_table_marker_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match=r"<!-- speed: begin -->"):
        tables.replace_table(page, "speed", "| a |")


def test_pages_contain_the_table_markers() -> None:
    root = Path(__file__).parents[2]
    for page in (root / "docs" / "explanation" / "performance.md", root / "benchmarks" / "README.md"):
        tables.replace_table(page.read_text("utf-8"), "speed", "| a |")


def test_chart_is_well_formed_and_stays_inside_its_area() -> None:
    bars = [bar_chart.Bar("a < b & c", 300.0, "300", "limit"), bar_chart.Bar("library", 150.0, "150", "library")]
    root = ElementTree.fromstring(bar_chart.render("Title & more", ("one", "two"), bars))  # noqa: S314 - our own text
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == ["Title & more", "one", "two", "a < b & c", "300", "library", "150"]
    drawn = [box for box in root.iter(f"{SVG}rect") if box.attrib["class"] != "card"]
    lengths = [float(box.attrib["width"]) for box in drawn]
    assert lengths[0] == 2 * lengths[1]
    for box in drawn:
        assert float(box.attrib["x"]) + float(box.attrib["width"]) + bar_chart.VALUE_WIDTH <= width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) < height


def test_campaign_overhead_over_push_is_reported_in_intervals() -> None:
    quiet = [0.001] * 99 + [5.0]
    busy = [0.001 + 2 * realtime.INTERVAL_SECONDS] * 100
    assert realtime.added(quiet, busy) == pytest.approx(2.0)
    assert realtime.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert realtime.percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def guarded(share: float, lead: float) -> tuple[Timing, Timing, Timing]:
    """Return timings of the library, the limit and the reference, as processor time."""
    shipped = Timing(records=1000, seconds=1.0, cpu=1.0)
    return shipped, Timing(1000, 1.0, share), Timing(1000, 1.0, lead)


@pytest.mark.parametrize(
    ("share", "lead", "met"),
    [(0.41, 1.7, True), (0.39, 1.7, True), (0.41, 1.5, True), (0.39, 1.5, False)],
)
def test_guard_passes_until_both_figures_lost_a_fifth(share: float, lead: float, met: bool) -> None:
    rounds = [guarded(share, lead), guarded(0.1, 0.1), guarded(share, lead), guarded(9, 9), guarded(share, lead)]
    assert [figure.met for figure in guard.evaluate(rounds, (0.5, 2.0))] == [met, met]


def test_guard_needs_the_committed_figures() -> None:
    kept = [
        {"cases": {"shipped": {"cpu_share": shipped}, "loop": {"cpu_share": loop}}}
        for shipped, loop in ((0.6, 0.2), (0.5, 0.1))
    ]
    assert guard.committed(kept) == pytest.approx((0.5, 3.0))
    with pytest.raises(ValueError, match="--write"):
        guard.committed([])
