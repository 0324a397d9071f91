"""`python -m tracer` is the command `openclaw-trace`."""

import sys

from tracer.cli import main

sys.exit(main())
