"""``make bench``: all benches, one after the other; figures as tables, and as JSON in ``bench-output/``.

``python -m tests.bench NAME...`` runs those alone.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from pathlib import Path

#: Modules of this package that have ``run() -> dict`` and ``report(dict)``, in the order in which they run.
BENCHES = ("engine", "stack", "queue", "peers", "depth", "tick", "cycles", "day", "api", "bulk")
OUTPUT = Path(__file__).parents[2] / "bench-output"


def main(names: list[str]) -> None:
    """Run these benches, or all."""
    if unknown := [name for name in names if name not in BENCHES]:
        sys.exit(f"there is no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    OUTPUT.mkdir(exist_ok=True)
    for name in names or BENCHES:
        bench = importlib.import_module(f"tests.bench.{name}")
        result = bench.run()
        bench.report(result)
        (OUTPUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    # As Ctrl-C does: the benches end what they have started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(sys.argv[1:])
