"""Contracts that whoever publishes something for this project inherits, or runs without pytest."""

import pkgutil
import sys

if (
    "pytest" in sys.modules
):  # it then shows the values in an assertion that fails, as in an author's own tests
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
    )
