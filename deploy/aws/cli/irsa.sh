#!/bin/sh
# The operator's role in AWS by IRSA, and the boundary of its roles, with the AWS CLI: ./irsa.sh CLUSTER [POLICY]
# The cluster has an OIDC provider in IAM already (eksctl utils associate-iam-oidc-provider). DESTINATION_ACCOUNTS lists
# other accounts to replicate into. Prints values for the chart.
set -eu
cd "$(dirname "$0")/.."
cluster=${1:?usage: $0 CLUSTER [POLICY]}
policy=${2:-operator-policy.json}
. cli/operator-role.sh

issuer=$(aws eks describe-cluster --name "$cluster" --query cluster.identity.oidc.issuer --output text)
make_role "$(fill trust-irsa.json -e "s|OIDC_PROVIDER|${issuer#https://}|g")" "$policy"
printf 'serviceAccount:\n  annotations:\n    eks.amazonaws.com/role-arn: arn:%s:iam::%s:role/%s\n' "$partition" "$account" "$role"
printf '# For each AwsAccount of this account: roles: {permissionsBoundary: "%s"}\n' "$boundary"
