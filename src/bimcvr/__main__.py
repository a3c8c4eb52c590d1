"""`python -m bimcvr`."""

import sys

from bimcvr.cli import main

if __name__ == "__main__":
    sys.exit(main())
