"""S3 Batch Operations, of which ministack has none: jobs that replicate the versions in its buckets.

In: requests to S3 Control under /v20180820/jobs, as the service model of botocore has them, and the commands of a test.
Out: answers in S3 Control's wire format. A job goes on only when a command says so:

    GET    /v20180820/_rig/jobs                     the jobs of the account in the header x-amz-account-id, as JSON
    POST   /v20180820/_rig/jobs/ID?tasks=2          goes on to its next state; while it is Active, by that many objects
    POST   /v20180820/_rig/jobs/ID?to=Cancelled     goes to a state, as when someone else asked for it (&reason=TEXT)
    POST   /v20180820/_rig/jobs?tasks=2             the same for each job of every account: where no test says when
    DELETE /v20180820/_rig/jobs/ID                  is forgotten, as S3 forgets a job after 90 days

What it takes from AWS, and where that is written:

- operations, paths, fields and states:
  https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_AWS_S3_Control.html
- errors inside <ErrorResponse>, and the account in the header x-amz-account-id and, where the host has a label for it, in
  that too (the same model)
- the rights of the caller: s3:CreateJob on *, s3:DescribeJob and s3:UpdateJobStatus on the job, s3:ListJobs on *, and
  iam:PassRole on the role with iam:PassedToService
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-iam-role-policies.html
- the trust and the rights of the job's role
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-batch-replication-policies.html
- a job without objects fails, and so does one of which more than half fails after 1,000 objects
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-troubleshoot.html
- a token that comes again makes no second job. AWS does not say what it does with another request of that token:
  here it is an IdempotencyException, as the name of that error says.

An object that is older than the version at the destination is not replicated: ministack would make it the current one.
"""

import copy
import csv
import datetime
import io
import json
import uuid
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from ministack import app
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, s3

PREFIX = "/v20180820/jobs"
COMMANDS = "/v20180820/_rig/jobs"
SERVICE = "batchoperations.s3.amazonaws.com"
NAMESPACE = "{http://awss3control.amazonaws.com/doc/2018-08-20/}"
STATUSES = {None: "NONE", "COMPLETED": "COMPLETED", "FAILED": "FAILED", "REPLICA": "REPLICA"}
FINAL = {"Complete", "Cancelled", "Failed"}
HALF = 1000

# By (account, region), then by id.
jobs = {}
next_to_ministack = app._handle_s3_control_request


async def handle(path, method, body, query, request_id, headers=None):
    """Answers a request about jobs; ministack answers all others."""
    headers = headers or {}
    if path.startswith(COMMANDS):
        return command(path[len(COMMANDS) :].strip("/"), method, query, headers)
    if not (path == PREFIX or path.startswith(PREFIX + "/")):
        return await next_to_ministack(path, method, body, query, request_id, headers)
    if wrong := wrong_account(headers):
        return error(*wrong)
    job, _, part = path[len(PREFIX) :].strip("/").partition("/")
    action, resource = wanted(method, job, part)
    if action is None:
        return error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    if denied := denied_by(action, resource, headers, query, request_id):
        return denied
    if action == "s3:CreateJob":
        return create(body, headers, query, request_id)
    if action == "s3:ListJobs":
        return listed(query)
    held = of_account().get(job)
    if held is None:
        return error(404, "NoSuchJob", "The specified job does not exist.")
    if action == "s3:DescribeJob":
        return answer("DescribeJobResult", f"<Job>{described(held)}</Job>")
    if action == "s3:GetJobTagging":
        return answer("GetJobTaggingResult", "<Tags></Tags>")
    return update(held, query)


def wanted(method, job, part):
    """The IAM action of a request and its resource."""
    arn = f"arn:aws:s3:{get_region()}:{get_account_id()}:job/{job}"
    actions = {
        ("POST", False, ""): ("s3:CreateJob", "*"),
        ("GET", False, ""): ("s3:ListJobs", "*"),
        ("GET", True, ""): ("s3:DescribeJob", arn),
        ("POST", True, "status"): ("s3:UpdateJobStatus", arn),
        ("GET", True, "tagging"): ("s3:GetJobTagging", arn),
    }
    return actions.get((method, bool(job), part), (None, None))


def wrong_account(headers):
    """Why a request does not say for which account it is; None where it does."""
    account = headers.get("x-amz-account-id", "")
    label = headers.get("host", "").split(".")[0]
    if account != get_account_id():
        return 403, "AccessDenied", "Access Denied"
    if len(label) == 12 and label.isdigit() and label != account:
        return 400, "InvalidRequest", "The account in the host is not the account of the request."
    return None


def denied_by(action, resource, headers, query, request_id, keys=None):
    """The answer of S3 Control where a policy does not allow an action."""
    refused = app._enforce_data_plane(
        "iam" if action.startswith("iam:") else "s3",
        action,
        headers,
        query,
        request_id,
        resource_arn=resource,
        service_context=keys,
    )
    if not refused:
        return None
    caller = iam_evaluator.request_caller_arn(headers, query)
    words = f"User: {caller} is not authorized to perform: {action} on resource: {resource}"
    return error(403, "AccessDenied", words)


def create(body, headers, query, request_id):
    try:
        asked = parse(ET.fromstring(body))
    except (ET.ParseError, KeyError, ValueError) as wrong:
        return error(400, "BadRequestException", f"The request is not valid: {wrong}")
    role = asked["RoleArn"]
    keys = {"iam:PassedToService": SERVICE}
    if denied := denied_by("iam:PassRole", role, headers, query, request_id, keys):
        return denied
    held = of_account()
    known = next((job for job in held.values() if job["token"] == asked["ClientRequestToken"]), None)
    if known is not None and known["asked"] != asked:
        return error(400, "IdempotencyException", "The token was used with another request.")
    if known is None:
        known = {
            "id": str(uuid.uuid4()),
            "token": asked["ClientRequestToken"],
            "asked": asked,
            "body": body.decode(),
            "status": "New",
            "created": now(),
            "ended": None,
            "total": None,
            "succeeded": 0,
            "failed": 0,
            "reasons": [],
            "because": None,
            "todo": [],
            "done": [],
        }
        held[known["id"]] = known
    return answer("CreateJobResult", f"<JobId>{known['id']}</JobId>")


def parse(root):
    """The fields of CreateJobRequest that matter here; KeyError or ValueError where one is missing or wrong."""
    text = lambda node, path: (node.findtext(NAMESPACE + path.replace("/", "/" + NAMESPACE)) if node is not None else None)
    find = lambda node, path: node.find(NAMESPACE + path.replace("/", "/" + NAMESPACE)) if node is not None else None
    need = lambda node, path: text(node, path) or fail(path)
    operation, generator = find(root, "Operation"), find(root, "ManifestGenerator/S3JobManifestGenerator")
    if find(operation, "S3ReplicateObject") is None or generator is None:
        fail("Operation/S3ReplicateObject and ManifestGenerator/S3JobManifestGenerator")
    report, wanted = find(root, "Report"), find(generator, "Filter")
    members = lambda path: [node.text for node in (find(wanted, path) if find(wanted, path) is not None else [])]
    asked = {
        "ClientRequestToken": need(root, "ClientRequestToken"),
        "RoleArn": need(root, "RoleArn"),
        "Priority": int(need(root, "Priority")),
        "Description": text(root, "Description"),
        "ConfirmationRequired": text(root, "ConfirmationRequired") == "true",
        "SourceBucket": need(generator, "SourceBucket").removeprefix("arn:aws:s3:::"),
        "ExpectedBucketOwner": text(generator, "ExpectedBucketOwner"),
        "EligibleForReplication": text(wanted, "EligibleForReplication") == "true",
        "CreatedAfter": text(wanted, "CreatedAfter"),
        "CreatedBefore": text(wanted, "CreatedBefore"),
        "Statuses": members("ObjectReplicationStatuses"),
        "Prefixes": members("KeyNameConstraint/MatchAnyPrefix"),
        "Report": None,
    }
    if text(report, "Enabled") == "true":
        asked["Report"] = {
            "Bucket": need(report, "Bucket").removeprefix("arn:aws:s3:::"),
            "Prefix": text(report, "Prefix") or "",
            "All": text(report, "ReportScope") == "AllTasks",
        }
    if len(asked["ClientRequestToken"]) > 64 or len(asked["Description"] or "x") > 256:
        raise ValueError("a text is too long")
    return asked


def fail(path):
    raise KeyError(path)


def listed(query):
    size = max(1, min(int(first(query, "maxResults") or 1000), 1000))
    start = int(first(query, "nextToken") or 0)
    all_jobs = sorted(of_account().values(), key=lambda job: job["created"], reverse=True)
    members = "".join(f"<member>{described(job)}</member>" for job in all_jobs[start : start + size])
    more = f"<NextToken>{start + size}</NextToken>" if len(all_jobs) > start + size else ""
    return answer("ListJobsResult", f"<Jobs>{members}</Jobs>{more}")


def update(job, query):
    to = first(query, "requestedJobStatus")
    allowed = {"Ready": {"Suspended"}, "Cancelled": set(states()) - FINAL - {"Completing", "Failing"}}
    if job["status"] not in allowed.get(to, set()):
        return error(400, "JobStatusException", f"The job is {job['status']} and cannot become {to}.")
    job["status"] = "Cancelling" if to == "Cancelled" else "Ready"
    job["because"] = first(query, "statusUpdateReason")
    return answer("UpdateJobStatusResult", f"<JobId>{job['id']}</JobId><Status>{job['status']}</Status>")


def states():
    return ["New", "Preparing", "Suspended", "Ready", "Active", "Paused", "Completing", "Cancelling", "Failing", *FINAL]


def described(job):
    asked = job["asked"]
    reasons = "".join(
        f"<member><FailureCode>{escape(code)}</FailureCode><FailureReason>{escape(why)}</FailureReason></member>"
        for code, why in job["reasons"]
    )
    total = "" if job["total"] is None else f"<TotalNumberOfTasks>{job['total']}</TotalNumberOfTasks>"
    optional = lambda name, value: f"<{name}>{escape(str(value))}</{name}>" if value else ""
    return (
        f"<JobId>{job['id']}</JobId><ConfirmationRequired>{str(asked['ConfirmationRequired']).lower()}"
        f"</ConfirmationRequired>{optional('Description', asked['Description'])}<Status>{job['status']}</Status>"
        f"<Priority>{asked['Priority']}</Priority><ProgressSummary>{total}"
        f"<NumberOfTasksSucceeded>{job['succeeded']}</NumberOfTasksSucceeded>"
        f"<NumberOfTasksFailed>{job['failed']}</NumberOfTasksFailed></ProgressSummary>"
        f"{optional('StatusUpdateReason', job['because'])}<FailureReasons>{reasons}</FailureReasons>"
        f"<CreationTime>{job['created']}</CreationTime>{optional('TerminationDate', job['ended'])}"
        f"<RoleArn>{escape(asked['RoleArn'])}</RoleArn>"
    )


# What a test tells a job.


def command(job, method, query, headers):
    account = headers.get("x-amz-account-id", "")
    tasks = int(first(query, "tasks") or 0)
    if not job and method == "POST":
        return all_go_on(tasks)
    held = {}
    for (owner, region), of_region in jobs.items():
        if owner == account:
            held.update({id: (region, one) for id, one in of_region.items()})
    if not job:
        return 200, {"Content-Type": "application/json"}, json.dumps([one for _, one in held.values()]).encode()
    if job not in held:
        return 404, {"Content-Type": "application/json"}, b"{}"
    region, one = held[job]
    if method == "DELETE":
        del jobs[(account, region)][job]
    elif to := first(query, "to"):
        one["status"], one["because"] = to, first(query, "reason")
        one["ended"] = now() if to in FINAL else None
    else:
        with s3._in_account(account):
            go_on(one, account, tasks)
    return 200, {"Content-Type": "application/json"}, json.dumps(one).encode()


def all_go_on(tasks):
    for (account, _), of_region in jobs.items():
        with s3._in_account(account):
            for job in of_region.values():
                go_on(job, account, tasks)
    return 200, {"Content-Type": "application/json"}, b"{}"


def go_on(job, account, tasks):
    """Moves a job to its next state."""
    asked, state = job["asked"], job["status"]
    if state == "New":
        job["status"] = "Preparing"
    elif state == "Preparing":
        prepare(job, account)
    elif state == "Ready":
        job["status"] = "Active"
    elif state == "Active":
        batch = job["todo"][: tasks or len(job["todo"])]
        for key, version in batch:
            code = replicate(asked["SourceBucket"], key, version, asked["RoleArn"], account)
            job["failed" if code else "succeeded"] += 1
            job["done"].append([key, version, code])
        job["todo"] = job["todo"][len(batch) :]
        if job["failed"] * 2 > job["total"] and len(job["done"]) >= HALF:
            end(job, "Failed", [("JobFailureRate", "Job failure rate is above 50%")])
        elif not job["todo"]:
            end(job, "Complete", [])
    elif state == "Cancelling":
        end(job, "Cancelled", [])


def prepare(job, account):
    """Lists the objects, as the role may."""
    asked = job["asked"]
    bucket, role = asked["SourceBucket"], asked["RoleArn"]
    arn = f"arn:aws:s3:::{bucket}"
    if not trusts(role, account):
        return end(job, "Failed", [("AssumeRoleNotPermitted", "The role could not be assumed")])
    for action in ("s3:GetReplicationConfiguration", "s3:PutInventoryConfiguration"):
        if not may(role, account, action, arn):
            return end(job, "Failed", [("ManifestGenerationFailed", f"The role may not {action} on {arn}")])
    if not s3._bucket_replication.get(bucket):
        return end(job, "Failed", [("SrcBucketReplicationConfigMissing", "The bucket has no replication configuration")])
    job["todo"] = [[key, version] for key, version in sorted(chosen(asked))]
    job["total"] = len(job["todo"])
    if not job["todo"]:
        words = "Manifest generation found no keys matching the filter criteria"
        return end(job, "Failed", [("ManifestGenerationFailed", words)])
    job["status"] = "Suspended" if asked["ConfirmationRequired"] else "Ready"


def chosen(asked):
    """The versions that the filter of a job names, by key, oldest first."""
    bucket = asked["SourceBucket"]
    for key, version, record in versions(bucket):
        tags = s3._object_tags.get((bucket, key, version)) or {}
        rule, _ = s3._replication_rule_for(bucket, key, tags)
        created = record["last_modified"]
        fits = (
            STATUSES.get(record.get("replication_status")) in asked["Statuses"]
            and (not asked["Prefixes"] or any(key.startswith(prefix) for prefix in asked["Prefixes"]))
            and (not asked["CreatedBefore"] or instant(created) < instant(asked["CreatedBefore"]) + ROUNDING)
            and (not asked["CreatedAfter"] or instant(created) > instant(asked["CreatedAfter"]))
        )
        if fits and rule is not None:
            yield key, version


# Requests name whole seconds, and tests write objects in the same second.
ROUNDING = datetime.timedelta(seconds=1)


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def versions(bucket):
    """Every version of every object: its key, its id (None for one from before versioning) and its record."""
    held = s3._buckets.get(bucket) or {"objects": {}}
    for key, current in list(held["objects"].items()):
        if current.get("version_id") is None:
            yield key, None, current
    for (of_bucket, key), entries in list(s3._object_versions.items()):
        for entry in entries if of_bucket == bucket else []:
            if not entry.get("is_delete_marker") and entry.get("version_id") != "null":
                yield key, entry["version_id"], entry


def records(bucket, key, version):
    """The records of one version: ministack keeps the current one twice."""
    current = (s3._buckets.get(bucket) or {"objects": {}})["objects"].get(key)
    entries = s3._object_versions.get((bucket, key), [])
    found = [entry for entry in entries if entry.get("version_id") == version]
    if current is not None and current.get("version_id") == version:
        found.insert(0, current)
    return found


def replicate(bucket, key, version, role, account):
    """Replicates one version as the rules say. Returns the code of the failure, or None."""
    found = records(bucket, key, version)
    if not found:
        return "SrcVersionNotFound"
    if not may(role, account, "s3:InitiateReplication", f"arn:aws:s3:::{bucket}/{key}"):
        return "InitiateReplicationNotPermitted"
    data = found[0].get("body", found[0].get("data"))
    tags = s3._object_tags.get((bucket, key, version)) or {}
    record = copy.deepcopy(s3._object_record_from_version(found[0]) if "data" in found[0] else found[0])
    rule, of_rule = s3._replication_rule_for(bucket, key, tags)
    target = s3._replication_destination(bucket, key, rule, of_rule) if rule else None
    there = target[2]["objects"].get(key) if target else None
    if there is not None and instant(there["last_modified"]) > instant(found[0]["last_modified"]):
        return None
    s3._maybe_replicate(bucket, key, record, data, tags)
    replica = record.pop("_replica", None)
    if replica and tags:
        name, replica_version, owner = replica
        with s3._in_account(owner):
            s3._object_tags[(name, key, replica_version)] = dict(tags)
    for one in found:
        one["replication_status"] = record.get("replication_status")
    return None if record.get("replication_status") == "COMPLETED" else "DstPutObjectNotPermitted"


def end(job, state, reasons):
    job["status"], job["reasons"], job["ended"] = state, reasons, now()
    report = job["asked"]["Report"]
    if report and job["total"]:
        write_report(job, report)


def write_report(job, report):
    """Writes the completion report, if the role may: one file of CSV, and the manifest that names it."""
    account = iam_evaluator._account_from_arn(job["asked"]["RoleArn"])
    folder = "/".join(part for part in [report["Prefix"], f"job-{job['id']}"] if part)
    rows = io.StringIO()
    for key, version, code in job["done"]:
        if report["All"] or code:
            outcome = ["failed", code, "403", code] if code else ["succeeded", "", "200", ""]
            csv.writer(rows).writerow([job["asked"]["SourceBucket"], key, version or "", *outcome])
    files = {f"{folder}/results/1.csv": rows.getvalue(), f"{folder}/manifest.json": json.dumps({"Format": "Report_CSV_20180820"})}
    for key, text in files.items():
        if may(job["asked"]["RoleArn"], account, "s3:PutObject", f"arn:aws:s3:::{report['Bucket']}/{key}"):
            s3._put_object(report["Bucket"], key, text.encode(), {})


# What the role of a job may do, by ministack's own evaluation, whether ministack enforces policies or not.


def trusts(role_arn, account):
    role = role_of(role_arn, account)
    trust = json.loads(role["AssumeRolePolicyDocument"]) if role else {}
    statements = trust.get("Statement", [])
    statements = statements if isinstance(statements, list) else [statements]
    named = lambda s: iam_evaluator._service_principal_matches(s.get("Principal"), SERVICE)
    return any(s.get("Effect") == "Allow" and named(s) for s in statements)


def may(role_arn, account, action, resource):
    if role_of(role_arn, account) is None:
        return False
    name = role_arn.rsplit("/", 1)[-1]
    asked = iam_evaluator.EvalContext(
        principal_arn=role_arn,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    return iam_evaluator.evaluate(asked, policies, *limits).decision == "Allow"


def role_of(role_arn, account):
    role = iam._roles.get_scoped(account, None, role_arn.rsplit("/", 1)[-1])
    return role if role is not None and role["Arn"] == role_arn else None


# The wire.


def of_account():
    return jobs.setdefault((get_account_id(), get_region()), {})


def first(query, name):
    value = query.get(name)
    return value[0] if isinstance(value, list) and value else value


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def answer(root, inner):
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE[1:-1]}">{inner}</{root}>'
    return 200, {"Content-Type": "application/xml"}, body.encode()


def error(status, code, message):
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ErrorResponse><Error>'
        f"<Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        f"<RequestId>{uuid.uuid4().hex}</RequestId></ErrorResponse>"
    )
    return status, {"Content-Type": "application/xml"}, body.encode()


def install():
    app._handle_s3_control_request = handle
