#!/usr/bin/env bash
# Prints how to call Docker Compose 2 here: the engine's plugin, or the program built from its Go module (Debian's
# docker-compose is version 1, which knows neither --wait nor limits). Kept in CACHE (.lyo/containers).
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
cache=$(realpath -m "${1:-$root/.lyo/containers}")
version=v2.40.3
built=$cache/docker-compose-$version

if docker compose version >/dev/null 2>&1; then echo "docker compose"; exit; fi
if [ ! -x "$built" ]; then
  command -v go >/dev/null || { echo "Docker Compose 2 is missing, and Go to build it: install either" >&2; exit 1; }
  echo "Building Docker Compose $version from its Go module (some minutes, once)" >&2
  mkdir -p "$cache"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  cd "$scratch"
  { go mod init stand-in && go get "github.com/docker/compose/v2/cmd@$version" &&
    go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$version" \
      -o "$built.new" github.com/docker/compose/v2/cmd; } > build.log 2>&1 || { tail -n 5 build.log >&2; exit 1; }
  mv "$built.new" "$built"
fi
echo "$built"
