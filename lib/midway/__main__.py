"""``python -m midway``: the command line."""

import sys

from midway.cli import main

sys.exit(main())
