"""Which numbers DynamoDB takes, by its own documentation."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.number_range import fits

NINES = "9" * 38


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        NINES,
        f"-{NINES}",
        f"{NINES}{'0' * 87}",
        f"0.{'0' * 90}{NINES}",
        f"{NINES}.000",
        f"000{NINES}",
        "9.9999999999999999999999999999999999999E+125",
        "1e-130",
        "0e999999999999999",
        f"{NINES}e-110",
        "no number",
        "1e",
        ".",
    ],
)
def test_a_number_fits_by_its_digits_and_its_size(text):
    """Zeros at either end count for nothing; what is no number at all is the server's to refuse."""
    assert fits(text)


@pytest.mark.parametrize(
    "text",
    [f"{NINES}9", f"1.{NINES}", "1e126", "1e400", "9e-131", "1E99999999999", "1e-99999999999", f"1{'0' * 126}"],
)
def test_a_number_of_more_digits_or_beyond_the_range_does_not_fit(text):
    """DynamoDB would refuse it, and with it 24 others."""
    assert not fits(text)
    assert not fits(f"-{text}")


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(-1e125, 1e125).map(repr).map(Decimal))
def test_it_is_told_from_the_text_as_from_the_number(number):
    """The rule written with a decimal's own parts."""
    _, digits, _ = number.as_tuple()
    significant = "".join(map(str, digits)).strip("0")
    expected = not significant or (len(significant) <= 38 and -130 <= number.adjusted() <= 125)
    assert fits(str(number)) is expected
