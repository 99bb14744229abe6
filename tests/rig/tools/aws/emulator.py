"""Starts ministack with what it lacks of AWS.

1. IAM's condition key iam:PermissionsBoundary, for the actions on roles that AWS documents
   (https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html).

2. The condition keys s3:ResourceAccount and aws:ResourceAccount for buckets: they are the account that owns the
   bucket (https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html). The ARN of a bucket names
   no account, and ministack answers the account of the caller.

3. S3 checks the replication role before it writes a replica. ministack evaluates the policy of a destination bucket in
   another account, as AWS does. It does not check that the role exists, that S3 may assume it, nor what its policies
   allow, so that an object would arrive whatever the operator made of the role. On AWS each of these leaves the object
   FAILED (https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html). The evaluation
   is ministack's own, and it is made whether ministack enforces policies or not.

4. S3 publishes metrics and failure events about replication, which may take a while: see replication_metrics.py.
5. Jobs of S3 Batch Operations (jobs.py).

6. An object goes to each of its destinations: see destinations.py.

7. The key that encrypts the replicas of a rule exists, is enabled, and its policy lets the role use it
   (https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html). Here that is asked of
   every object of a rule with a key, and not only of those that are encrypted at the source.

8. A permissions boundary of a role exists: IAM answers NoSuchEntity otherwise
   (https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html,
   https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePermissionsBoundary.html). ministack checks that only
   where it enforces policies. The words are those that it has from recorded answers.

Not checked: the keys of the source, what the role's own policy says of keys, and what the role may do with tags, ACLs and
delete markers.
"""

import json
import os

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, kms, s3

import destinations  # noqa: F401
import jobs
import replication_metrics
from recorder import Recorder

SERVICE = "s3.amazonaws.com"
SOURCE = "s3:GetObjectVersionForReplication"
DESTINATION = "s3:ReplicateObject"

# IAM compares the boundary that the request sets, or the one that the role has.
SETS_BOUNDARY = {"iam:CreateRole", "iam:PutRolePermissionsBoundary"}
KEEPS_BOUNDARY = {
    "iam:AttachRolePolicy",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
}

RESOURCE_ACCOUNT = {"aws:resourceaccount", "s3:resourceaccount"}
BUCKETS = "arn:aws:s3:::"

destination_of = s3._replication_destination
tags_of_request = iam_actions.request_tag_context
value_of_key = iam_evaluator._resolve_condition_key


def keys_of_request(service, action, body, params):
    """Returns ministack's own condition keys, and iam:PermissionsBoundary where there is one."""
    keys = tags_of_request(service, action, body, params)
    boundary = None
    if action in SETS_BOUNDARY:
        boundary = first(params, "PermissionsBoundary")
    elif action in KEEPS_BOUNDARY:
        boundary = (iam._roles.get(first(params, "RoleName")) or {}).get("PermissionsBoundary")
    return {**keys, "iam:permissionsboundary": boundary} if boundary else keys


def value_of_key_or_owner(key, context):
    """Returns the value of a condition key. The account of a bucket is its owner; ministack decides all others."""
    if key.lower() in RESOURCE_ACCOUNT and context.resource_arn.startswith(BUCKETS):
        bucket = context.resource_arn.removeprefix(BUCKETS).split("/", 1)[0]
        return s3._bucket_owner_account(bucket) or value_of_key(key, context)
    return value_of_key(key, context)


def first(params, name):
    value = params.get(name)
    return value[0] if isinstance(value, list) and value else value


def destination_if_allowed(bucket, key, rule, role_arn):
    """Returns where the replica goes, as ministack's own does, or None if it may not go there."""
    target = destination_of(bucket, key, rule, role_arn)
    if target is None or key_problem(bucket, key, rule, role_arn) or not role_allows(role_arn, bucket, key, target[0]):
        return None
    return target


def key_problem(bucket, key, rule, role_arn):
    """Why the role cannot use the key of the object, or the key of its replica, by the reason that S3 gives; None if it can
    use both, or if there is none."""
    of_replica = ((rule.get("Destination") or {}).get("EncryptionConfiguration") or {}).get("ReplicaKmsKeyID")
    held = ((s3._buckets.get(bucket) or {}).get("objects") or {}).get(key) or {}
    of_object = held.get("preserved_headers", {}).get("x-amz-server-side-encryption-aws-kms-key-id")
    uses = [
        ("Src", of_object, "kms:Decrypt", "SrcGetObjectNotPermitted"),
        ("Dst", of_replica, "kms:GenerateDataKey", "DstPutObjectNotPermitted"),
    ]
    problems = (use_problem(side, arn, action, role_arn, denied) for side, arn, action, denied in uses if arn)
    return next(filter(None, problems), None)


def use_problem(side, arn, action, role_arn, denied):
    owner, region = arn.split(":")[4], arn.split(":")[3]
    with replication_metrics.request_in(owner, region):
        held = kms._resolve_key(arn)
    if held is None:
        return f"{side}KmsKeyNotFound"
    if held["KeyState"] != "Enabled":
        return f"{side}KmsKeyInvalidState"
    account = iam_evaluator._account_from_arn(role_arn)
    asked = context(role_arn, "AssumedRole", account, action, arn)
    decision = iam_evaluator.evaluate_resource_policy(held.get("Policy") or "", asked).decision
    return None if decision == "Allow" else denied


def role_allows(role_arn, source, key, destination):
    account = iam_evaluator._account_from_arn(role_arn)
    name = role_arn.rsplit("/", 1)[-1]
    role = iam._roles.get_scoped(account, None, name) if account else None
    if role is None or role["Arn"] != role_arn or not trusts_s3(role, source):
        return False
    policies = iam_evaluator._gather_role_policies(name, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    asked = [(SOURCE, source), (DESTINATION, destination)]
    return all(
        iam_evaluator.evaluate(
            context(role_arn, "AssumedRole", account, action, f"{BUCKETS}{bucket}/{key}"), policies, *limits
        ).decision
        == "Allow"
        for action, bucket in asked
    )


def trusts_s3(role, source):
    try:
        trust = json.loads(role["AssumeRolePolicyDocument"])
    except ValueError:
        return False
    statements = trust.get("Statement", []) if isinstance(trust, dict) else []
    if isinstance(statements, dict):
        statements = [statements]
    # ministack evaluates trust for principals and not for services, so each statement about S3 names everybody here.
    about_s3 = [
        {**statement, "Principal": "*"}
        for statement in statements
        if statement.get("Principal") == "*"
        or iam_evaluator._service_principal_matches(statement.get("Principal"), SERVICE)
    ]
    asked = context(SERVICE, "Service", "", "sts:AssumeRole", role["Arn"])
    asked.service_context = {
        "aws:sourceaccount": get_account_id(),
        "aws:sourcearn": f"{BUCKETS}{source}",
    }
    return iam_evaluator.evaluate_trust_policy({"Statement": about_s3}, SERVICE, asked)


def context(principal, kind, account, action, resource):
    return iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type=kind,
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
    )


def why_not(bucket, key, rule, role_arn):
    """The reason that S3 gives for an operation that failed."""
    name = (rule.get("Destination") or {}).get("Bucket", "").rsplit(":", 1)[-1]
    owner = s3._bucket_owner_account(name)
    if owner is None:
        return "DstBucketNotFound"
    if s3._bucket_versioning.get_scoped(owner, None, name) != "Enabled":
        return "DstBucketUnversioned"
    account = iam_evaluator._account_from_arn(role_arn)
    role = iam._roles.get_scoped(account, None, role_arn.rsplit("/", 1)[-1]) if account else None
    if role is None or not trusts_s3(role, bucket):
        return "AssumeRoleNotPermitted"
    return key_problem(bucket, key, rule, role_arn) or "DstPutObjectNotPermitted"


def boundary_problem(arn):
    """The answer of IAM to a permissions boundary that does not exist; None where it exists."""
    if iam._policy_exists(arn):
        return None
    return iam._error(404, "NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", ns="iam")


s3._replication_destination = destination_if_allowed
iam._boundary_policy_error = boundary_problem
iam_actions.request_tag_context = keys_of_request
iam_evaluator._resolve_condition_key = value_of_key_or_owner
jobs.install()
replication_metrics.install(why_not)

if __name__ == "__main__":
    app.app = replication_metrics.Controls(app.app)
    if os.environ.get("RIG_RECORD"):
        app.app = Recorder(app.app)
    app.main()
