"""The public names: adding or removing one is a decision, not an accident."""

from __future__ import annotations

import raybench
from raybench import errors

PUBLIC = ["RaybenchError", "Sweep", "__version__", "load", "open", "run", "submit"]


def test_public_names():
    assert sorted(raybench.__all__) == PUBLIC
    assert all(getattr(raybench, name) for name in PUBLIC)


def test_the_exception_tree_has_the_exit_codes_of_the_contract():
    codes = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RaybenchError)
    }
    assert codes == {
        "RaybenchError": 1,
        "UserInputError": 2,
        "SpecError": 2,
        "DataError": 2,
        "SetupError": 3,
        "LeaseHeldError": 3,
        "HomeError": 3,
        "ResourceError": 3,
        "TooLargeError": 3,
    }
    assert all(name in str(errors.__doc__) for name in codes)
