"""`python -m headrace_producer`."""

from __future__ import annotations

import sys

from headrace_producer.cli import main

if __name__ == "__main__":
    sys.exit(main())
