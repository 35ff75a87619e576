"""``python -m tests.chaos``: SIGKILL a sweep at random and see that nothing is lost."""

from __future__ import annotations

import sys

from tests.chaos.program import main

sys.exit(main())
