#!/bin/sh
# Writes the images' requirements, each version with its hashes, from pyproject.toml and constraints.txt. `make lock` calls it.
# Packages that are pinned here but not in constraints.txt (CUDA, setuptools) keep their version until you remove their line.
#   lock.sh UV        UV: the program uv
set -eu
uv=${1:?the program uv}
cd "$(dirname "$0")/../.."

compile() {
    name=$1
    shift
    "$uv" pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header --only-binary :all: \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --constraint constraints.txt \
        --output-file "compose/requirements/$name.txt" "$@"
}

compile api pyproject.toml --extra api
compile scheduler pyproject.toml --extra scheduler
compile worker pyproject.toml --extra worker
# One file per engine: the worker's packages and the engine's own.
compile engine-piper pyproject.toml --extra worker --extra piper
compile engine-piper-gpu pyproject.toml --extra worker --extra piper-gpu --override compose/requirements/overrides.txt
compile voice-joe compose/requirements/voice-joe.in
compile build compose/requirements/build.in
