"""How the script ended, if by an error: what was said, and the last call of a network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from nomagic.probes.loaders import Loaders
from nomagic.probes.probe import Probe
from nomagic.words import Place

CLASS = re.compile(r"Target (-?\d+) is out of bounds")
DEVICE = re.compile(r"`?t >= 0 && t < n_classes`? failed")
TOKEN = re.compile(r"index out of range in self")


@dataclass(frozen=True, slots=True)
class Crash:
    """An error that ended the script.

    ``what`` is ``class`` for a label outside the classes,
    ``token`` for an index outside an embedding, or ``other``; ``value`` is the label,
    ``classes`` the size of the network's output.
    """

    what: str
    error: str
    place: Place | None = None
    loader: int = -1
    value: int | None = None
    classes: int | None = None


class Crashes(Probe[Crash]):
    """The error that ended the script, if one did: no row or one."""

    needs: ClassVar[tuple[type[Probe[Any]], ...]] = (Loaders,)

    def on_end(self) -> None:
        """Read how it ended."""
        ending = self.run.ending
        if ending is None or ending.how != "crashed":
            return
        found = CLASS.search(ending.error)
        what = "class" if found or DEVICE.search(ending.error) else "other"
        if TOKEN.search(ending.error):
            what = "token"
        call = self.run.calls[-1] if self.run.calls else None
        shape = getattr(call.output, "shape", ()) if call is not None else ()
        entry = self.run.probe(Loaders).of(call.batch.loader) if call and call.batch else None
        self.rows.append(
            Crash(
                what=what,
                error=ending.error,
                place=call.place if call is not None else None,
                loader=entry.number if entry is not None else -1,
                value=int(found[1]) if found else None,
                classes=int(shape[1]) if len(shape) > 1 else None,
            )
        )
