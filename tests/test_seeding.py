"""Seeds from names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raybench.seeding import derive_seed

PART = st.one_of(st.integers(), st.text(alphabet="abc/0123", max_size=8))


def test_the_same_on_every_machine():
    assert derive_seed(0, "split", "digits") == 1_496_154_161


def test_names_do_not_run_into_each_other():
    assert derive_seed("ab", "c") != derive_seed("a", "bc") != derive_seed("abc")


@given(st.lists(PART, max_size=5))
def test_fits_numpys_legacy_generators(parts):
    assert 0 <= derive_seed(*parts) < 2**31
