"""Run one program as ``nomagic check`` does, and tell its stopwatch what the watch has booked.

usage: python bench/watched.py PROGRAM [ARGS]…
"""

import json
import sys

from nomagic import checking, script
from nomagic.config import Options


def main() -> None:
    loaded = script.load(sys.argv[1], sys.argv[2:])
    watch = checking.Watch(Options(), loaded.folder)
    watch.start()
    clock = watch.run.clock
    sys.booked = lambda: {"start": clock.start, "watching": clock.spent}  # type: ignore[attr-defined]
    ending = script.run(loaded)
    watch.stop()
    record = watch.judge((sys.argv[1],), ending)
    found = [f"{f.severity} {f.practice}" for f in record.findings]
    own = {"afterwards": record.cost.experiments, "findings": found, "errors": watch.run.errors}
    print("record", json.dumps(own))
    sys.exit(ending.code)


if __name__ == "__main__":
    main()
