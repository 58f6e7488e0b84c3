"""`python -m tests.fuzz --help`."""

import sys

from tests.fuzz.long_run import main

sys.exit(main(sys.argv[1:]))
