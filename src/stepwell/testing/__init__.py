"""For tests: run an app's work here and now, under a clock that only the test moves."""

from stepwell.testing.database import database, use_template
from stepwell.testing.expect import Expect
from stepwell.testing.kit import Kit
from stepwell.testing.sync.expect import SyncExpect
from stepwell.testing.sync.kit import SyncKit
from stepwell.testing.tally import NeverQuiet, Tally

__all__ = [
    "Expect",
    "Kit",
    "NeverQuiet",
    "SyncExpect",
    "SyncKit",
    "Tally",
    "database",
    "use_template",
]
