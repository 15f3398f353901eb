#!/bin/sh
# Builds images with docker, or with buildah if docker is not available. `make images` calls it.
#   build.sh [api|worker|scheduler|worker-gpu ...]     default: all except worker-gpu, whose packages are gigabytes
# Environment: REGISTRY, PYTHON_IMAGE, ENGINES, ENGINES_GPU, VOICES and TAG (default: from git), as in docker-bake.hcl;
# BUILDER=buildah to use buildah in any case, and BUILD_OPTIONS for its options.
set -eu
cd "$(dirname "$0")/.."

: "${REGISTRY:=stentor}" "${PYTHON_IMAGE:=docker.io/library/python:3.11-slim-bookworm}"
: "${ENGINES:=piper}" "${ENGINES_GPU:=piper-gpu}" "${VOICES=joe}"
if [ -z "${TAG:-}" ] || [ -z "${REVISION:-}" ] || [ -z "${CREATED:-}" ]; then
    for line in $(python3 compose/image_tags.py --shell); do
        eval ": \"\${${line%%=*}:=${line#*=}}\""
    done
fi
export REGISTRY PYTHON_IMAGE ENGINES ENGINES_GPU VOICES TAG REVISION CREATED

[ $# -gt 0 ] || set -- api worker scheduler

if [ "${BUILDER:-docker}" = docker ] && docker buildx version > /dev/null 2>&1; then
    exec docker buildx bake --file compose/docker-bake.hcl --load "$@"
fi

for target; do
    engines=$ENGINES
    [ "$target" != worker-gpu ] || engines=$ENGINES_GPU
    # --format docker: the OCI format has no health checks.
    # shellcheck disable=SC2086 # BUILD_OPTIONS is a list of words
    buildah ${STORAGE_DRIVER:+--storage-driver="$STORAGE_DRIVER"} bud ${BUILD_OPTIONS:-} --layers --format docker --file compose/Dockerfile --target "$target" \
        --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --build-arg "ENGINES=$engines" --build-arg "VOICES=$VOICES" \
        --label "org.opencontainers.image.version=$TAG" --label "org.opencontainers.image.revision=$REVISION" \
        --label "org.opencontainers.image.created=$CREATED" --tag "$REGISTRY/$target:$TAG" .
done
