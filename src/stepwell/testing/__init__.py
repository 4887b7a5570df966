"""For tests: run an app's work here and now, under a clock that only the test moves."""

from stepwell.testing.database import database
from stepwell.testing.kit import Kit
from stepwell.testing.tally import NeverQuiet, Tally

__all__ = ["Kit", "NeverQuiet", "Tally", "database"]
