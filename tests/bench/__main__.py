"""``make bench``: all benches, one after the other; figures as tables, and as JSON in ``bench-output/``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import engine, stack

OUTPUT = Path(__file__).parents[2] / "bench-output"


def main() -> None:
    """Run all benches."""
    OUTPUT.mkdir(exist_ok=True)
    for bench in (engine, stack):
        result = bench.run()
        bench.report(result)
        name = bench.__name__.rpartition(".")[2]
        (OUTPUT / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
