"""What the programs share: where the data lie, how long to train, a watch on the training loop."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def steps(default):
    """The number of optimizer steps, from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=default)
    return parser.parse_args().steps


class Stopwatch:
    """``with Stopwatch():`` around the training loop prints its wall and CPU seconds.

    Whoever runs the program in its own process may leave a function at ``sys.booked`` that says
    what it has booked so far; what was booked during the loop is printed as well.
    """

    def __enter__(self):
        self.booked = getattr(sys, "booked", dict)
        self.before = self.booked()
        self.cpu = time.process_time()
        self.wall = time.perf_counter()
        return self

    def __exit__(self, *error):
        wall = time.perf_counter() - self.wall
        cpu = time.process_time() - self.cpu
        own = {name: value - self.before[name] for name, value in self.booked().items()}
        print("stopwatch", json.dumps({"wall": wall, "cpu": cpu, **own}), flush=True)
