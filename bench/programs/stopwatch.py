"""What the programs share: where the data lie, how long to train, and a watch on the training loop."""

import argparse
import json
import os
import time
from pathlib import Path

DATA = Path(os.environ.get("NOMAGIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def steps(default):
    """The number of optimizer steps, from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=default)
    return parser.parse_args().steps


class Stopwatch:
    """``with Stopwatch():`` around the training loop prints its wall and CPU seconds as a line of JSON.

    A driver in the same process sets ``booked`` to read what a watcher has booked by then.
    """

    booked = staticmethod(dict)

    def __enter__(self):
        self.before = self.booked()
        self.cpu = time.process_time()
        self.wall = time.perf_counter()
        return self

    def __exit__(self, *error):
        wall = time.perf_counter() - self.wall
        cpu = time.process_time() - self.cpu
        own = {name: value - self.before[name] for name, value in self.booked().items()}
        print("stopwatch", json.dumps({"wall": wall, "cpu": cpu, **own}), flush=True)
