"""`nomagic predict`: a saved model, inputs from a file, and what the model says of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nomagic import setups
from nomagic.datasets import DataError
from nomagic.described import DescriptionError
from nomagic.fitting import inputs, saved
from nomagic.setups import UnknownSetupError

ERRORS = (DataError, DescriptionError, UnknownSetupError, saved.SavedModelError, OSError)
"""What bad input raises; each says what came, what was expected and what to do."""


def predict(
    model: Path, source: str, out: Path | None, setup: str | None, folder: Path | None
) -> None:
    """Predict what is in a file, a folder or a built-in set, and write it down.

    Args:
        model: where the model was saved.
        source: the file, the folder or the name.
        out: a file (.csv, .json), by default the standard output.
        setup: of a model of one's own, where its code is.
        folder: where the files of built-in sets are.

    Raises:
        DataError, SavedModelError, DescriptionError, UnknownSetupError, OSError: bad input.
    """
    if folder is not None:
        os.environ["NOMAGIC_DATA"] = str(folder)
    fitted = saved.load(model, setups.resolve(setup, folder) if setup else None)
    given = inputs.read(source, fitted)
    prediction = fitted.predict(given.x)
    for remark in dict.fromkeys((*fitted.remarks, *given.remarks, *prediction.remarks)):
        print(f"nomagic: {remark}", file=sys.stderr)  # noqa: T201
    kind = "json" if out is not None and out.suffix in (".json", ".jsonl") else "csv"
    inputs.write(prediction, out, fitted.form, given.names, kind)
