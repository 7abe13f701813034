"""Foreign times never overflow and foreign words fit an index: both are read by one function each."""

from __future__ import annotations

from datetime import UTC, timedelta

from hypothesis import given
from hypothesis import strategies as st

from telnyx_porting.ledger.types import EPOCH, LATEST, LONGEST_WORD, Instant, Word
from telnyx_porting.models.reading import parse_time
from telnyx_porting.models.records import parse_order

TIMES = st.datetimes(timezones=st.sampled_from([UTC, None])).map(lambda at: at.isoformat())


@given(TIMES)
def test_no_foreign_time_can_overflow(written: str) -> None:
    """Every foreign time is read by one function; a century may be added to what it gives."""
    moment = parse_time(written)
    order = parse_order({"id": "o", "activation_settings": {"foc_datetime_actual": written}, "updated_at": written})
    assert order.foc_actual == order.updated_at == moment
    assert bool(order.odd) == (moment is None) or order.odd[0].startswith("id is")
    if moment is not None:
        century = timedelta(days=36_500)
        for zone in (timedelta(0), timedelta(hours=14)):
            assert EPOCH < moment < LATEST
            moment + century + zone
            moment - century - zone


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_time_of_the_ledger_can_overflow(value: int) -> None:
    moment = Instant().process_result_value(value, None)  # type: ignore[arg-type]
    assert moment is not None
    assert EPOCH <= moment <= LATEST


ANY = st.characters(codec=None)


@given(st.one_of(st.text(ANY, max_size=300), st.builds(lambda one, times: one * times, ANY, st.integers(0, 3_000))))
def test_a_word_fits_an_index_and_finds_itself(value: str) -> None:
    word = Word()
    written = word.process_bind_param(value, None)
    assert written is not None
    assert len(written.encode()) <= LONGEST_WORD
    assert written == word.bind_all([value])[0] == word.process_bind_param(value, None)
    if len(value) <= LONGEST_WORD // 8:
        assert word.process_result_value(written, None) == value  # type: ignore[arg-type]
