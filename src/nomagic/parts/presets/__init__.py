"""Networks to begin with, each a value that makes a fresh one from the form of the data."""

from nomagic.parts.presets.choice import Preset, Rung, ladder, quick, small
from nomagic.parts.presets.training import defaults, one_cycle

__all__ = ["Preset", "Rung", "defaults", "ladder", "one_cycle", "quick", "small"]
