"""`python -m anyfw` is `anyfw`."""

import sys

from anyfw.cli import main

if __name__ == "__main__":
    sys.exit(main())
