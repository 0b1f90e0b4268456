#!/bin/sh
# Makes the stream, the serving table and the queue for dead letters. Runs inside of LocalStack, MiniStack or Floci when
# that is ready to serve; the lease table is the workers' own business. Can run again: what is there is left as it is.
set -eu

local_aws() {
  if command -v awslocal >/dev/null 2>&1; then awslocal "$@"; else aws "$@"; fi
}

stream="${DEMO_STREAM:-readings}" table="${DEMO_TABLE:-readings}" queue="${DEMO_QUEUE:-readings-dead-letters}"

local_aws kinesis describe-stream-summary --stream-name "$stream" >/dev/null 2>&1 ||
  local_aws kinesis create-stream --stream-name "$stream" --shard-count "${DEMO_SHARDS:-4}"

local_aws dynamodb describe-table --table-name "$table" >/dev/null 2>&1 ||
  local_aws dynamodb create-table --table-name "$table" --billing-mode PAY_PER_REQUEST \
    --attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S \
    --key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE >/dev/null

local_aws sqs create-queue --queue-name "$queue" >/dev/null

until local_aws kinesis describe-stream-summary --stream-name "$stream" | grep -q ACTIVE; do sleep 1; done

touch /tmp/resources-are-there # what the health check in docker-compose.yml looks for
