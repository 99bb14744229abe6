#!/bin/sh
# The operator's role in AWS by IRSA, with the AWS CLI: ./irsa.sh CLUSTER [POLICY]
# The cluster has an OIDC provider in IAM already (eksctl utils associate-iam-oidc-provider).
set -eu
cd "$(dirname "$0")/.."
cluster=${1:?usage: $0 CLUSTER [POLICY]}
policy=${2:-operator-policy.json}
role=s3-replication-operator

account=$(aws sts get-caller-identity --query Account --output text)
issuer=$(aws eks describe-cluster --name "$cluster" --query cluster.identity.oidc.issuer --output text)
provider=${issuer#https://}
fill() { sed -e "s|ACCOUNT_ID|$account|g" -e "s|OIDC_PROVIDER|$provider|g" "$1"; }

aws iam create-role --role-name "$role" --assume-role-policy-document "$(fill trust-irsa.json)" >/dev/null
aws iam put-role-policy --role-name "$role" --policy-name "$role" --policy-document "$(fill "$policy")"
printf 'serviceAccount:\n  annotations:\n    eks.amazonaws.com/role-arn: arn:aws:iam::%s:role/%s\n' "$account" "$role"
