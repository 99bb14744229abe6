#!/bin/sh
# The operator's role in AWS by EKS Pod Identity, with the AWS CLI: ./pod-identity.sh CLUSTER [POLICY]
# The cluster has the add-on eks-pod-identity-agent.
set -eu
cd "$(dirname "$0")/.."
cluster=${1:?usage: $0 CLUSTER [POLICY]}
policy=${2:-operator-policy.json}
role=s3-replication-operator

account=$(aws sts get-caller-identity --query Account --output text)
fill() { sed -e "s|ACCOUNT_ID|$account|g" "$1"; }

aws iam create-role --role-name "$role" --assume-role-policy-document "$(fill trust-pod-identity.json)" >/dev/null
aws iam put-role-policy --role-name "$role" --policy-name "$role" --policy-document "$(fill "$policy")"
aws eks create-pod-identity-association --cluster-name "$cluster" --namespace s3-replication-system \
  --service-account s3-replication-operator --role-arn "arn:aws:iam::$account:role/$role"
