#!/usr/bin/env bash
set -euo pipefail
settings=/opt/kafka/config/server.properties
: > "$settings"
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_OPTS) ;;
    KAFKA_*) name=${name#KAFKA_}; name=${name,,}; echo "${name//_/.}=$value" >> "$settings" ;;
  esac
done < <(env)
run() { java ${KAFKA_HEAP_OPTS:--Xmx768m} -cp '/opt/kafka/libs/*' "$@"; }
if [ ! -e "$KAFKA_LOG_DIRS/meta.properties" ]; then
  run kafka.tools.StorageTool format --cluster-id="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" --config "$settings"
fi
exec java ${KAFKA_HEAP_OPTS:--Xmx768m} -cp '/opt/kafka/libs/*' kafka.Kafka "$settings"
