# All images:  TAG=dev docker buildx bake -f compose/docker-bake.hcl
# `make images` uses it with the tags that `make image-tags` prints. There is no `latest`.

variable "REGISTRY" {
  default = "stentor"
}

variable "TAG" {
  default = "dev"
}

variable "PYTHON_IMAGE" {
  default = "docker.io/library/python:3.11-slim-bookworm"
}

# Files engine-<name>.txt of compose/requirements, separated by spaces. The same for voices.
variable "ENGINES" {
  default = "piper"
}

variable "ENGINES_GPU" {
  default = "piper-gpu"
}

variable "VOICES" {
  default = "joe"
}

variable "REVISION" {
  default = "unknown"
}

# The time of the commit, not of the build: the same commit gives the same labels.
variable "CREATED" {
  default = "unknown"
}

variable "SOURCE_URL" {
  default = ""
}

group "default" {
  targets = ["api", "worker", "scheduler", "worker-gpu"]
}

# The images without gigabytes of NVIDIA's packages.
group "cpu" {
  targets = ["api", "worker", "scheduler"]
}

target "room" {
  context    = "."
  dockerfile = "compose/Dockerfile"
  args = {
    PYTHON_IMAGE = PYTHON_IMAGE
  }
  labels = {
    "org.opencontainers.image.version"  = TAG
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.created"  = CREATED
    "org.opencontainers.image.source"   = SOURCE_URL
  }
}

target "api" {
  inherits = ["room"]
  target   = "api"
  tags     = ["${REGISTRY}/api:${TAG}"]
}

target "scheduler" {
  inherits = ["room"]
  target   = "scheduler"
  tags     = ["${REGISTRY}/scheduler:${TAG}"]
}

target "worker" {
  inherits = ["room"]
  target   = "worker"
  tags     = ["${REGISTRY}/worker:${TAG}"]
  args = {
    ENGINES = ENGINES
    VOICES  = VOICES
  }
}

target "worker-gpu" {
  inherits = ["room"]
  target   = "worker-gpu"
  tags     = ["${REGISTRY}/worker-gpu:${TAG}"]
  args = {
    ENGINES = ENGINES_GPU
    VOICES  = VOICES
  }
}
