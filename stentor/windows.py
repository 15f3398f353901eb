"""Windows: spans of local time in which models leave their devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """All windows of a deployment. ``text`` is how they were written."""

    text: str = ""
    spans: Sequence[object] = ()

    @classmethod
    def parse(cls, text: str | None) -> Windows:
        """The windows of ``STENTOR_UNLOAD_WINDOWS``; None has none.

        Raises:
            ValueError: it cannot be read; the sentence tells what and why.
        """
        raise NotImplementedError

    def end_of(self, now: float) -> float | None:
        """When the window that ``now`` lies in ends, those that touch or overlap taken together; None outside of all.

        Both are seconds since the epoch; ``math.inf`` for windows that never end.
        """
        raise NotImplementedError
