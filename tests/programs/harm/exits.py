"""Leaves by sys.exit with a code of its own, an atexit line and a finally block."""

import atexit
import sys

import torch
from _fingerprint import finish
from torch import nn


def main(argv):
    torch.manual_seed(22)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    try:
        for step in range(15):
            x = torch.randn(8, 3)
            loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(step, repr(loss.item()))
            if step == 9:
                sys.exit(7)
    finally:
        finish(model)
        print("arguments", argv[1:], __name__, __file__.endswith("exits.py"))
        print("to the other stream", file=sys.stderr)


atexit.register(print, "goodbye")
if __name__ == "__main__":
    main(sys.argv)
