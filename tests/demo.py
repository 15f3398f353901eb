"""``make demo``: the main job on this machine, from nothing to sixty WAV files."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from stentor.cli.commands.jobs import show_result, submit_file
from tests.support.stacks.stack import stack

ROOT = Path(__file__).parents[1]
NOTICES = ROOT / "docs" / "examples" / "notices.txt"
OUTPUT = ROOT / "demo-output"


def main() -> int:
    """Start a stack of its own, speak the notices, say what came of it, and stop; 1 if a notice has no audio."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    print(
        f"Starting Valkey, an S3 server, the API, a worker and the scheduler to speak {NOTICES.relative_to(ROOT)} ..."
    )
    with tempfile.TemporaryDirectory(prefix="stentor-demo-") as data_dir, stack(Path(data_dir)) as running:
        print(f"Ready after {running.ready_after_s:.1f} s at {running.run.api_url}; its page is at /docs.")
        with running.client() as client:
            result = submit_file(client, NOTICES, OUTPUT, {})
        for path in OUTPUT.iterdir():
            # A file a line: 07.wav, without the job's id, which nobody can ask about once the stack is gone.
            path.rename(path.with_name(f"{path.name.partition('-')[0]}{path.suffix}"))
        show_result(result)
        print("Stopping ...")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
