#!/bin/sh
# The queue that the operator reads events from, and the rules that fill it, with the AWS CLI: ./events.sh HOME [REGION…]
# HOME is the Region of the queue, the others are further Regions with buckets. IAM's events come from us-east-1, which is
# added. The account has a trail that logs management events in all of them. Prints a value for the chart, and the
# statement to add to the policy of the operator's role. May be repeated, with more Regions.
set -eu
cd "$(dirname "$0")/.."
home=${1:?usage: $0 HOME [REGION...]}
shift
name=s3-replication-operator-events
account=$(aws sts get-caller-identity --query Account --output text)
queue=arn:aws:sqs:$home:$account:$name
bus=arn:aws:events:$home:$account:event-bus/default
role=arn:aws:iam::$account:role/$name

# Makes a rule in a Region, and sends what it lets through to a target.
rule() {
  aws events put-rule --region "$1" --name "s3-replication-operator-$2" --event-pattern "$(cat "events/$2.json")" >/dev/null
  aws events put-targets --region "$1" --rule "s3-replication-operator-$2" --targets "$3" >/dev/null
}

policy='{"Version":"2012-10-17","Statement":[
  {"Sid":"Rules","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"'$queue'",
   "Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:events:'$home:$account':rule/s3-replication-operator-*"}}},
  {"Sid":"TlsOnly","Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"'$queue'",
   "Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}'
escaped=$(printf '%s' "$policy" | tr -d '\n' | sed 's|"|\\"|g')
aws sqs create-queue --region "$home" --queue-name "$name" --attributes \
  '{"MessageRetentionPeriod":"345600","VisibilityTimeout":"60","MaximumMessageSize":"262144","SqsManagedSseEnabled":"true","Policy":"'"$escaped"'"}' >/dev/null
for kind in s3 iam kms; do
  rule "$home" "$kind" "Id=queue,Arn=$queue"
done

trust='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole",
  "Condition":{"StringEquals":{"aws:SourceAccount":"'$account'"}}}]}'
forward='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"events:PutEvents","Resource":"'$bus'"}]}'
aws iam get-role --role-name "$name" >/dev/null 2>&1 ||
  aws iam create-role --role-name "$name" --assume-role-policy-document "$trust" >/dev/null
aws iam put-role-policy --role-name "$name" --policy-name forward --policy-document "$forward"
for region in us-east-1 "$@"; do
  if [ "$region" = "$home" ]; then continue; fi
  for kind in s3 kms; do
    rule "$region" "$kind" "Id=bus,Arn=$bus,RoleArn=$role"
  done
  if [ "$region" = us-east-1 ]; then
    rule "$region" iam "Id=bus,Arn=$bus,RoleArn=$role"
  fi
done
printf 'operator:\n  events:\n    queues: [https://sqs.%s.amazonaws.com/%s/%s]\n' "$home" "$account" "$name"
printf '# For the policy of the operator: {"Sid":"Events","Effect":"Allow","Action":["sqs:ReceiveMessage","sqs:DeleteMessage"],"Resource":"%s"}\n' "$queue"
