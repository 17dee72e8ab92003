#!/usr/bin/env bash
# The demo in containers, for a machine with a container engine and no Java: everything up, simulated learners in,
# predictions shown, everything down. It has a project and volumes of its own, so nothing else is touched.
set -euo pipefail
cd "$(dirname "$0")/../../.."
compose=$(ops/deploy/containers/compose.sh)
export COMPOSE_PROJECT_NAME=lyo-demo
export KAFKA_PORT=${KAFKA_PORT:-19092} POSTGRES_PORT=${POSTGRES_PORT:-15432}
stop() {
  trap - EXIT
  echo "Stopping the containers"
  $compose --profile demo down --volumes --timeout 20
}
trap 'exit 130' INT TERM HUP
trap stop EXIT
$compose up --build --detach --wait kafka postgres worker sink || { $compose logs --no-color --tail 20 >&2; exit 1; }
$compose run --rm demo demo --running "$@"
