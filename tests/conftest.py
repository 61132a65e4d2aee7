"""What all tests share. One thread each: the tests run in parallel, and sums stay the same."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in [name for name in os.environ if name.startswith("NOMAGIC_") and name != "NOMAGIC_DATA"]:
    del os.environ[name]
for verb in ("", "TRY_", "LOOK_"):  # pages are written by the tests that are about them
    os.environ[f"NOMAGIC_{verb}NO_HTML"] = "1"


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports look the same whatever terminal the tests run in."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
