"""Starts ministack, with two additions.

Its IAM knows the condition key iam:PermissionsBoundary, for the actions on roles that AWS documents
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html).

Its S3 checks the replication role before it writes a replica.

ministack asks the policy of a destination bucket in another account, as AWS does. It does not ask whether the role
is there, whether S3 may assume it, nor what it is allowed, so that an object would arrive whatever the operator made
of the role. On AWS each of these leaves the object FAILED
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html). The evaluation is
ministack's own; it is asked in both of its modes.

Still not looked at: keys and their policies, what the role is allowed on tags, ACLs and delete markers.
"""

import json
import os

from ministack import app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, s3

from recorder import Recorder

SERVICE = "s3.amazonaws.com"
SOURCE = "s3:GetObjectVersionForReplication"
DESTINATION = "s3:ReplicateObject"

# What a request sets is compared, or what the role has.
SETS_BOUNDARY = {"iam:CreateRole", "iam:PutRolePermissionsBoundary"}
KEEPS_BOUNDARY = {
    "iam:AttachRolePolicy",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
}

destination_of = s3._replication_destination
tags_of_request = iam_actions.request_tag_context


def keys_of_request(service, action, body, params):
    """ministack's own condition keys, and iam:PermissionsBoundary where there is one."""
    keys = tags_of_request(service, action, body, params)
    boundary = None
    if action in SETS_BOUNDARY:
        boundary = first(params, "PermissionsBoundary")
    elif action in KEEPS_BOUNDARY:
        boundary = (iam._roles.get(first(params, "RoleName")) or {}).get("PermissionsBoundary")
    return {**keys, "iam:permissionsboundary": boundary} if boundary else keys


def first(params, name):
    value = params.get(name)
    return value[0] if isinstance(value, list) and value else value


def destination_if_allowed(bucket, key, rule, role_arn):
    """As ministack's own: where the replica goes, or None if it may not."""
    target = destination_of(bucket, key, rule, role_arn)
    if target is None or not role_allows(role_arn, bucket, key, target[0]):
        return None
    return target


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
            context(role_arn, "AssumedRole", account, action, f"arn:aws:s3:::{bucket}/{key}"), policies, *limits
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
    # Those about S3, each made one about whoever asks: the evaluation of trust knows no service.
    about_s3 = [
        {**statement, "Principal": "*"}
        for statement in statements
        if statement.get("Principal") == "*"
        or iam_evaluator._service_principal_matches(statement.get("Principal"), SERVICE)
    ]
    asked = context(SERVICE, "Service", "", "sts:AssumeRole", role["Arn"])
    asked.service_context = {
        "aws:sourceaccount": get_account_id(),
        "aws:sourcearn": f"arn:aws:s3:::{source}",
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


s3._replication_destination = destination_if_allowed
iam_actions.request_tag_context = keys_of_request

if __name__ == "__main__":
    if os.environ.get("RIG_RECORD"):
        app.app = Recorder(app.app)
    app.main()
