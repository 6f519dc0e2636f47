"""``python -m manyhands``: see ``python -m manyhands --help``."""

import sys

from manyhands.cli import main

if __name__ == "__main__":
    sys.exit(main())
