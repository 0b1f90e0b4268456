"""Events cut out of the bytes of an answer, wherever these are torn apart."""

from __future__ import annotations

from zlib import crc32

import pytest
from aws.event_stream import frame
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from headrace.aws.event_stream import BadEventError, Events

HEADERS = {":message-type": "event", ":event-type": "SubscribeToShardEvent", "é": "ü" * 300}

events = st.lists(
    st.tuples(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=4), st.binary()),
    max_size=6,
)


def cut(*chunks: bytes) -> list[tuple[dict[str, str], bytes]]:
    reader = Events()
    return [(dict(headers), bytes(payload)) for chunk in chunks for headers, payload in reader.cut(chunk)]


def by_botocore(data: bytes) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(event.headers, event.payload) for event in buffer]


@given(events, st.data())
def test_events_are_the_same_however_the_bytes_come(sent, data):
    """As botocore reads them; torn anywhere, also inside of the lengths."""
    whole = b"".join(frame(headers, payload) for headers, payload in sent)
    tears = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    chunks = [whole[start:end] for start, end in zip([0, *tears], [*tears, len(whole)], strict=True)]
    assert cut(*chunks) == sent == by_botocore(whole)


@given(st.integers(0, len(frame(HEADERS, b"payload")) - 1), st.integers(1, 255))
def test_a_byte_that_changed_on_the_way_is_noticed(place, change):
    """Every part of an event is under a CRC."""
    good = frame(HEADERS, b"payload")
    bad = bytearray(good)
    bad[place] ^= change
    with pytest.raises(BadEventError):
        cut(bytes(bad), good)


def test_an_event_that_claims_more_than_it_may_have_is_not_waited_for():
    """Else a subscription would wait for ever, and memory would fill."""
    reader = Events()
    assert list(reader.cut(_head(24 * 2**20, 0))) == []
    with pytest.raises(BadEventError, match="25165825 bytes"):
        cut(_head(24 * 2**20 + 1, 0))
    with pytest.raises(BadEventError, match="16 bytes with 1 of headers"):
        cut(_head(16, 1))


def test_headers_that_cannot_be_read_make_no_event():
    """A type that does not exist, a name longer than there are bytes, a text that is no UTF-8."""
    for raw in (b"\x01a\x0a", b"\x09a", b"\x01a\x07\x00\x02\xff\xff"):
        with pytest.raises(BadEventError, match="headers cannot be read"):
            cut(_with_headers(raw))


def _head(length: int, of_headers: int) -> bytes:
    lengths = length.to_bytes(4, "big") + of_headers.to_bytes(4, "big")
    return lengths + _crc(lengths)


def _with_headers(raw: bytes) -> bytes:
    message = _head(16 + len(raw), len(raw)) + raw
    return message + _crc(message)


def _crc(data: bytes) -> bytes:
    return crc32(data).to_bytes(4, "big")
