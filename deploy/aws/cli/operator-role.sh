# Functions of irsa.sh and pod-identity.sh, which source this file in deploy/aws.

role=s3-replication-operator
account=$(aws sts get-caller-identity --query Account --output text)
# The second field of every ARN: aws-cn in China, for example.
partition=$(aws sts get-caller-identity --query Arn --output text | cut -d: -f2)
case $partition in aws*) ;; *) partition=aws ;; esac
boundary=arn:$partition:iam::$account:policy/s3-replication-boundary
# The accounts whose buckets roles may replicate into: this one, and those of DESTINATION_ACCOUNTS, a list such as
# 111122223333,444455556666.
destinations=$(printf '%s' "$account${DESTINATION_ACCOUNTS:+,$DESTINATION_ACCOUNTS}" | sed 's|,|", "|g')

# Prints a document with its placeholders filled and the partition of its ARNs; more replacements may follow.
fill() {
  document=$1
  shift
  sed -e "s|DESTINATION_ACCOUNT_IDS|$destinations|g" -e "s|ACCOUNT_ID|$account|g" \
    -e "s|arn:aws:|arn:$partition:|g" "$@" "$document"
}

# Makes the boundary of the roles that S3 assumes, and the operator's own role with this trust policy and this policy.
make_role() {
  aws iam create-policy --policy-name s3-replication-boundary --policy-document "$(fill boundary-policy.json)" >/dev/null
  aws iam create-role --role-name "$role" --assume-role-policy-document "$1" >/dev/null
  aws iam put-role-policy --role-name "$role" --policy-name "$role" --policy-document "$(fill "$2")"
}
