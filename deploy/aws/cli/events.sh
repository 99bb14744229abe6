#!/bin/sh
# The queue that the operator reads events from, and the rules that fill it, with the AWS CLI: ./events.sh HOME [REGION…]
# HOME is the Region of the queue, the others are further Regions with buckets. IAM's events come from us-east-1, which is
# added. In China and GovCloud rules forward to no other Region: run it for each Region alone; IAM's events come from
# cn-north-1 and us-gov-west-1. The account has a trail that logs management events in all of them. Prints a value for the
# chart, and the statement to add to the policy of the operator's role. May be repeated, with more Regions.
set -eu
cd "$(dirname "$0")/.."
home=${1:?usage: $0 HOME [REGION...]}
shift
name=s3-replication-operator-events
identity=$(aws sts get-caller-identity --query Arn --output text)
partition=$(printf '%s' "$identity" | cut -d: -f2)
account=$(printf '%s' "$identity" | cut -d: -f5)
queue=arn:$partition:sqs:$home:$account:$name
bus=arn:$partition:events:$home:$account:event-bus/default
role=arn:$partition:iam::$account:role/$name
if [ "$partition" != aws ] && [ $# -gt 0 ]; then
  echo "In partition $partition rules forward to no other Region: run $0 for each Region alone." >&2
  exit 2
fi

# Makes a rule in a Region, and sends what it lets through to a target. EventBridge answers with success where it takes no
# target.
rule() {
  aws events put-rule --region "$1" --name "s3-replication-operator-$2" --event-pattern "$(cat "events/$2.json")" >/dev/null
  failed=$(aws events put-targets --region "$1" --rule "s3-replication-operator-$2" --targets "$3" --output text \
    --query '[FailedEntryCount, FailedEntries[0].ErrorCode, FailedEntries[0].ErrorMessage]')
  if [ "$(printf '%s' "$failed" | cut -f1)" != 0 ]; then
    echo "events:PutTargets failed for rule s3-replication-operator-$2 in $1: $failed" >&2
    exit 1
  fi
}

policy='{"Version":"2012-10-17","Statement":[
  {"Sid":"Rules","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"'$queue'",
   "Condition":{"ArnLike":{"aws:SourceArn":"arn:'$partition:events:$home:$account':rule/s3-replication-operator-*"}}},
  {"Sid":"TlsOnly","Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"'$queue'",
   "Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}'
escaped=$(printf '%s' "$policy" | tr -d '\n' | sed 's|"|\\"|g')
aws sqs create-queue --region "$home" --queue-name "$name" --attributes \
  '{"MessageRetentionPeriod":"345600","VisibilityTimeout":"60","MaximumMessageSize":"262144","SqsManagedSseEnabled":"true","Policy":"'"$escaped"'"}' >/dev/null
url=$(aws sqs get-queue-url --region "$home" --queue-name "$name" --query QueueUrl --output text)
for kind in s3 iam kms; do
  rule "$home" "$kind" "Id=queue,Arn=$queue"
done

# Sends what the rules of the other Regions let through to the bus of HOME.
forward() {
  trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole",
    "Condition":{"StringEquals":{"aws:SourceAccount":"'$account'"}}}]}'
  permissions='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"events:PutEvents","Resource":"'$bus'"}]}'
  aws iam get-role --role-name "$name" >/dev/null 2>&1 ||
    aws iam create-role --role-name "$name" --assume-role-policy-document "$trust" >/dev/null
  aws iam put-role-policy --role-name "$name" --policy-name forward --policy-document "$permissions"
  for region in us-east-1 "$@"; do
    if [ "$region" = "$home" ]; then continue; fi
    for kind in s3 kms; do
      rule "$region" "$kind" "Id=bus,Arn=$bus,RoleArn=$role"
    done
    if [ "$region" = us-east-1 ]; then
      rule "$region" iam "Id=bus,Arn=$bus,RoleArn=$role"
    fi
  done
}

if [ "$partition" = aws ]; then
  forward "$@"
fi
printf 'operator:\n  events:\n    queues: [%s]\n' "$url"
printf '# For the policy of the operator: {"Sid":"Events","Effect":"Allow","Action":["sqs:ReceiveMessage","sqs:DeleteMessage"],"Resource":"%s"}\n' "$queue"
