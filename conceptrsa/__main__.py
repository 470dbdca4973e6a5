"""`python -m conceptrsa`: the same as the command `conceptrsa`."""

import sys

from conceptrsa.pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
