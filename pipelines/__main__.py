"""`python -m pipelines`: the same as the command `conceptrsa`."""

import sys

from pipelines.cli import main

sys.exit(main())
