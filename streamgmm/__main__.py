"""``python -m streamgmm``: the command line."""

import sys

from streamgmm.cli import main

if __name__ == "__main__":
    sys.exit(main())
