# Source it as root, in the root of a checkout. It sets up a container engine, a storage and a base image for tests/containers.
#   . .ci/containers.sh && .venv/bin/pytest tests/containers
base=docker.io/library/python:3.11-slim-bookworm
tool=${CONTAINER_ENGINE:-../shared/tools/container-engine.sh}
storage=${STENTOR_TEST_CONTAINERS:-/var/tmp/stentor-test-containers}

command -v podman > /dev/null && command -v buildah > /dev/null || bash "$tool" setup

# A separate storage, with overlay mounts if the kernel allows them. vfs copies a whole image for each build step and each
# container, which takes three times as long.
mkdir -p "$storage/probe/lower" "$storage/probe/upper" "$storage/probe/work" "$storage/probe/merged"
driver=vfs
if mount -t overlay overlay -o "lowerdir=$storage/probe/lower,upperdir=$storage/probe/upper,workdir=$storage/probe/work" \
    "$storage/probe/merged" 2> /dev/null; then
    umount "$storage/probe/merged"
    driver=overlay
fi
rm -r "$storage/probe"
printf '[storage]\ndriver = "%s"\ngraphroot = "%s/%s"\nrunroot = "/run/stentor-test-containers"\n' \
    "$driver" "$storage" "$driver" > "$storage/storage.conf"
unset STORAGE_DRIVER
export CONTAINERS_STORAGE_CONF="$storage/storage.conf"

if ! podman image exists "$base"; then
    if [ -e "$tool" ]; then
        # First into the engine's own storage, then into this one.
        podman_there() { env -u CONTAINERS_STORAGE_CONF podman --storage-driver=vfs "$@"; }
        podman_there image exists "$base" || env -u CONTAINERS_STORAGE_CONF bash "$tool" base "$base"
        podman_there save "$base" | podman load --quiet
    else
        podman pull --quiet "$base"
    fi
fi
podman image exists "$base" && echo "containers: $(podman --version), storage $driver"
