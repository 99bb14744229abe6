#!/bin/sh
# The operator's role in AWS by EKS Pod Identity, and the boundary of its roles, with the AWS CLI:
# ./pod-identity.sh CLUSTER [POLICY]. The cluster has the add-on eks-pod-identity-agent. DESTINATION_ACCOUNTS lists other
# accounts to replicate into.
set -eu
cd "$(dirname "$0")/.."
cluster=${1:?usage: $0 CLUSTER [POLICY]}
policy=${2:-operator-policy.json}
. cli/operator-role.sh

make_role "$(fill trust-pod-identity.json)" "$policy"
aws eks create-pod-identity-association --cluster-name "$cluster" --namespace s3-replication-system \
  --service-account s3-replication-operator --role-arn "arn:$partition:iam::$account:role/$role"
printf '# For each AwsAccount of this account: roles: {permissionsBoundary: "%s"}\n' "$boundary"
