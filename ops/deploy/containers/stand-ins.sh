#!/usr/bin/env bash
# Local stand-ins for the base images, where none can be pulled: built from Debian's packages, Kafka's jars (those
# that `lyo up` has) and the wheels of the lock file. For tests and for a look; they are not maintained images.
#
#   DOCKER_HOST=... ops/deploy/containers/stand-ins.sh [CACHE]     (CACHE: .lyo/containers)
#
# Needs root, mmdebstrap, a container engine, and .venv (make setup). What it prints is the environment for compose:
# the settings PYTHON_IMAGE, KAFKA_IMAGE and POSTGRES_IMAGE. What was fetched stays in CACHE for the next time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=$(realpath -m "${1:-$root/.lyo/containers}")
release=bookworm
mkdir -p "$cache"

# system NAME PACKAGE...: CACHE/NAME.tar holds Debian with these packages.
system() {
  local name=$1 packages=$(IFS=,; echo "${*:2}")
  if [ "$(cat "$cache/$name.packages" 2>/dev/null)" != "$release $packages" ]; then
    mmdebstrap --quiet --variant=minbase --include="$packages" "$release" "$cache/$name.new.tar" >&2
    mv "$cache/$name.new.tar" "$cache/$name.tar"
    echo "$release $packages" > "$cache/$name.packages"
  fi
}

# imported NAME: the system as an image, once for each tar.
imported() {
  local tag=lyo-stand-in/$1-system:$(stat -c %Y "$cache/$1.tar")
  docker image inspect "$tag" >/dev/null 2>&1 || docker import "$cache/$1.tar" "$tag" >/dev/null
  echo "$tag"
}

# The wheels that the image will ask for; pip in the stand-in finds them without a network.
wheels() {
  local lock=$root/requirements-runtime.txt kept=$cache/runtime.txt
  if ! cmp --silent "$lock" "$kept"; then
    rm -rf "$cache/wheels"
    "$root/.venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
      --dest "$cache/wheels" -r "$lock" >&2
    cp "$lock" "$kept"
  fi
}

jars() {
  (cd "$root" && .venv/bin/python -c "
from lyo.tools.stack.jars import ensure_jars
from lyo.tools.stack.local import default_home
print(ensure_jars(default_home() / 'jars'))")
}

# image NAME FOLDER: FOLDER on its system.
image() {
  docker build --quiet --build-arg "SYSTEM=$(imported "$1")" --tag "lyo-stand-in/$1" "$2" >/dev/null
}

# Three downloads that wait for the network more than for a core.
system python python3 python3-pip python3-venv ca-certificates & one=$!
system kafka openjdk-17-jre-headless & two=$!
system postgres postgresql & three=$!
wheels
for job in "$one" "$two" "$three"; do wait "$job"; done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/stand-ins/"* "$scratch/"
cp -rl "$cache/wheels" "$scratch/python/wheels" 2>/dev/null || cp -r "$cache/wheels" "$scratch/python/wheels"
cp -r "$(jars)" "$scratch/kafka/libs"
for name in python kafka postgres; do image "$name" "$scratch/$name"; done

echo PYTHON_IMAGE=lyo-stand-in/python
echo KAFKA_IMAGE=lyo-stand-in/kafka
echo POSTGRES_IMAGE=lyo-stand-in/postgres
