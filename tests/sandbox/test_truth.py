"""Truth log and counters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.sandbox import SandboxSettings, TruthEntry

from .driver import NOW, Driver, batch_id_of, record


def numbered(first: int, count: int) -> list[dict[str, object]]:
    return [record(receiver_number=f"9192345{first + index:05}") for index in range(count)]


def test_entry_contains_all_of_one_applied_record(driver: Driver) -> None:
    label_id = driver.settings.labels[0].id
    sent = record(
        "v3",
        receiver_number="+919234500013",
        label_id=label_id,
        dynamic_label_name="Harbour Savings",
        dynamic_call_reason="Your new card is ready",
    )
    driver.log_in()
    driver.now = NOW + 1
    driver.log_in()
    batch_id = batch_id_of(driver.submit(record("v3"), sent, version="v3"))
    assert driver.state.truth()[1] == TruthEntry(
        n=2,
        post=1,
        attempt=1,
        call="submit",
        version="v3",
        token=2,
        applied_at=NOW + 1,
        batch_id=batch_id,
        index=1,
        caller="911234500001",
        receiver="919234500013",
        label_id=label_id,
        label_name="Harbour Savings",
        reason="Your new card is ready",
        starts_at=int(NOW * 1000),
        ends_at=int(NOW * 1000) + 14_400_000,
        outcome="failed",
        message="Not a Truecaller user",
    )


def test_push_has_no_batch_id_if_none_was_sent(driver: Driver) -> None:
    driver.push()
    driver.push(record("v1"), "v1")
    first, second = driver.state.truth()
    assert (first.call, first.batch_id) == ("push", None)
    assert (second.call, second.post, second.batch_id is None) == ("push", 2, False)


def test_same_body_applied_again_is_a_duplicate(driver: Driver) -> None:
    driver.submit(record())
    driver.submit(record())
    driver.submit(record(receiver_number="919234500002"))
    driver.submit(record())
    assert [entry.attempt for entry in driver.state.truth()] == [1, 2, 1, 3]
    assert driver.state.stats().duplicates == {"submit": 2}
    assert driver.state.stats().batches == 4


def test_refused_body_sent_again_is_no_duplicate(driver: Driver) -> None:
    for _ in range(2):
        driver.submit(record(receiver_number="abc"))
    assert driver.state.stats().duplicates == {}


def test_entry_does_not_show_a_full_number(driver: Driver) -> None:
    driver.submit()
    shown = repr(driver.state.truth())
    assert "0001" in shown
    assert "34500001" not in shown


@given(
    sizes=st.lists(st.integers(1, 5), max_size=12),
    page=st.integers(1, 7),
    limit=st.integers(1, 60),
)
def test_pages_together_are_the_newest_records_in_order(sizes: list[int], page: int, limit: int) -> None:
    driver = Driver(SandboxSettings(truth_limit=limit))
    everything: list[str] = []
    for size in sizes:
        sent = numbered(len(everything), size)
        driver.submit(*sent)
        everything += [str(one["receiver_number"]) for one in sent]
    read: list[TruthEntry] = []
    while entries := driver.state.truth(after=read[-1].n if read else 0, limit=page):
        assert len(entries) <= page
        assert not read or entries[0].n > read[-1].n
        read += entries
    kept = driver.state.stats().records_kept
    assert [entry.receiver for entry in read] == everything[len(everything) - kept :]
    assert [entry.n for entry in read] == list(range(len(everything) - kept + 1, len(everything) + 1))
    assert kept <= max([limit, *sizes[-1:]])


def test_forgotten_batch_is_unknown_and_still_counted() -> None:
    driver = Driver(SandboxSettings(truth_limit=3))
    old = batch_id_of(driver.submit(*numbered(0, 2)))
    new = batch_id_of(driver.submit(*numbered(2, 2)))
    assert driver.status(old).status == 404
    assert driver.status(new).status == 200
    stats = driver.state.stats()
    assert (stats.records_applied, stats.records_kept, stats.batches) == (4, 2, 2)


def test_body_is_forgotten_with_the_last_batch_that_had_it() -> None:
    driver = Driver(SandboxSettings(truth_limit=2))
    driver.submit(record())
    driver.submit(*numbered(0, 2))
    driver.submit(record())
    assert driver.state.stats().duplicates == {}


def test_batch_larger_than_the_limit_is_kept_while_it_is_the_newest() -> None:
    driver = Driver(SandboxSettings(truth_limit=1))
    assert driver.status(batch_id_of(driver.submit(*numbered(0, 9)))).status == 200


def test_requests_are_counted_by_call_and_status(driver: Driver) -> None:
    driver.mint(api_key="guessed-value")
    batch_id = batch_id_of(driver.submit())
    driver.submit(record(receiver_number="abc"))
    driver.status(batch_id)
    driver.status("unknown")
    driver.push()
    driver.send("GET", "/nowhere")
    assert driver.state.stats().requests == {
        "mint": {"200": 1, "401": 1},
        "submit": {"200": 1, "400": 1},
        "status": {"200": 1, "404": 1},
        "push": {"200": 1},
        "other": {"404": 1},
    }


def test_first_and_the_last_submit_are_remembered(driver: Driver) -> None:
    for moment in (1, 2, 5):
        driver.now = NOW + moment
        driver.submit()
    driver.now = NOW + 9
    driver.submit(record(receiver_number="abc"))
    stats = driver.state.stats()
    assert (stats.first_submit, stats.last_submit) == (NOW + 1, NOW + 5)


def test_new_state_has_counted_nothing(driver: Driver) -> None:
    stats = driver.state.stats()
    assert (stats.requests, stats.admitted, stats.mints, stats.records_applied) == ({}, 0, 0, 0)
    assert stats.peaks == {"token": 0, "batch": 0, "mint": 0}
    assert driver.state.truth() == []
