"""Print the README's picture: a real run of the example, as the terminal shows it."""

import contextlib
import sys

from nomagic import checking, script
from nomagic.config import Options
from nomagic.report import terminal

loaded = script.load("examples/digits.py", ())
with contextlib.redirect_stdout(sys.stderr):
    record = checking.script(loaded, Options())
print(terminal.svg(record))
