"""How often a trial claims a difference where there is none: a setup against itself, many times.

Both arms share the split of each seed; initial weights and order are drawn for each (`--aa`). So
whatever is claimed is false, and at most 5 % of trials may claim something.

    python bench/aa.py --trials 40
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace

from scipy.stats import binomtest

from nomagic import setups
from nomagic.trial.run import try_

CLAIMS = ("HELPS", "HURTS")


def main() -> None:
    """Run the trials, each with seeds of its own, and print what they said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setup", default="digits")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3, help="a shorter training, more trials")
    parser.add_argument("--budget", default="1h", help="for each trial; decides its pairs")
    chosen = parser.parse_args()
    setup = replace(setups.resolve(chosen.setup), epochs=chosen.epochs)
    said, began = Counter[str](), time.monotonic()
    for seed in range(chosen.trials):
        (verdict,) = try_(setup, aa=True, budget=chosen.budget, seed=seed).verdicts
        said[verdict.decision] += 1
        print(
            f"{seed}: {verdict.decision} {verdict.effect:+.4f} in {verdict.pairs} pairs", flush=True
        )
    claimed = sum(said[one] for one in CLAIMS)
    most = binomtest(claimed, chosen.trials).proportion_ci().high
    told = ", ".join(f"{count} {decision}" for decision, count in said.most_common())
    print(f"{told} in {time.monotonic() - began:.0f} s: {claimed} claims (95 %: up to {most:.1%})")


if __name__ == "__main__":
    main()
