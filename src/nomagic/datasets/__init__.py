"""Data to train on: what a user gives, or a built-in set, as one frozen value."""

from nomagic.datasets.builtin import data
from nomagic.datasets.given import as_data
from nomagic.datasets.samples import Data, DataError
from nomagic.datasets.splits import check_split

__all__ = ["Data", "DataError", "as_data", "check_split", "data"]
