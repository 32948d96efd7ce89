"""``python -m spikeloom`` is ``spikeloom``."""

import sys

from spikeloom.cli import main

if __name__ == "__main__":  # processes that a training spawns import this module too
    sys.exit(main())
