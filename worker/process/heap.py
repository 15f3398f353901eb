"""The process's heap, handed back."""

from __future__ import annotations

import ctypes
import gc


def trim() -> None:
    """ReadyQueue freed memory back to the system, where the C library keeps it for itself (glibc).

    Loading a Piper model leaves 260 of 620 MB behind that way.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
