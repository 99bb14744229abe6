"""Publishes what S3 says about replication: metrics in CloudWatch, and failure events; and holds replication.

ministack replicates within the request and publishes nothing. S3 publishes for each rule with metrics
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/repl-metrics.html):

    OperationsFailedReplication    in the Region of the source: 1 for an operation that failed, 0 for one that succeeded
    OperationsPendingReplication,  in the Region of the destination, each minute, while the destination exists
    ReplicationLatency

and an event for each operation that failed
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-metrics-events.html).

CloudWatch has a point two to three minutes after its minute. So that tests need not wait, points are of three minutes
ago, and those of what is pending of the two minutes before that too.

    PUT /_rig/replication/BUCKET   {"hold": true, "behind": 1200}: objects of the bucket stay PENDING, and their
                                   destinations are so many seconds behind; {"hold": false} replicates them
    PUT /_rig/replication/BUCKET   {"age": 3600}: the points of the bucket are so many seconds older
    PUT /_rig/replication/BUCKET   {"answers": {"page": 1}}: a page of an answer has so many points of a series
    PUT /_rig/replication/BUCKET   {"answers": {"status": "Forbidden", "rule": "b"}}: what CloudWatch says of the series
                                   of the rule, or of all rules of the bucket; "PartialData" comes with no points and no
                                   further page, and "" leaves the series out; null answers as before

Known gaps: nothing is published about operations that S3 Batch Replication does.
"""

import contextlib
import json
import time

from ministack.core.responses import (
    get_account_id,
    get_region,
    set_request_account_id,
    set_request_region,
)
from ministack.services import cloudwatch, s3

NAMESPACE = "AWS/S3"
LATE = 180
EVENT = "s3:Replication:OperationFailedReplication"

destination_of = None
replicate = None
get_metric_data = None
why_not = None

# By bucket: how CloudWatch answers about it.
answers = {}

# By bucket: how far its destinations are behind, and the objects that wait.
held = {}


def install(why):
    """Puts itself around what replicates an object, and around reading metrics. `why` names the reason of a failure."""
    global destination_of, replicate, get_metric_data, why_not
    why_not = why
    destination_of, s3._replication_destination = s3._replication_destination, destination_and_result
    replicate, s3._maybe_replicate = s3._maybe_replicate, replicate_unless_held
    get_metric_data, cloudwatch._get_metric_data = cloudwatch._get_metric_data, metric_data_of_now


def destination_and_result(bucket, key, rule, role):
    target = destination_of(bucket, key, rule, role)
    if publishes(rule):
        with request_in(get_account_id(), region_of(bucket)):
            record("OperationsFailedReplication", bucket, rule, 0.0 if target else 1.0, now())
        if target is None:
            tell(bucket, key, rule, why_not(bucket, key, rule, role))
    return target


def replicate_unless_held(bucket, key, obj, data, tags=None):
    hold = held.get(bucket)
    if hold is None:
        return replicate(bucket, key, obj, data, tags)
    rule, _ = s3._replication_rule_for(bucket, key, tags)
    if rule is not None:
        obj["replication_status"] = "PENDING"
        hold["objects"].append((get_account_id(), get_region(), key, obj, data, tags))


def release(bucket):
    hold = held.pop(bucket, None)
    for account, region, key, obj, data, tags in (hold or {"objects": []})["objects"]:
        with request_in(account, region):
            obj.pop("replication_status", None)
            replicate(bucket, key, obj, data, tags)
            # The version was recorded before it was replicated.
            for version in s3._object_versions.get((bucket, key), []):
                if version.get("version_id") == obj.get("version_id"):
                    version["replication_status"] = obj.get("replication_status")


def metric_data_of_now(*arguments):
    """Answers as CloudWatch does, which has a point of what is pending for each minute, and takes 500 queries."""
    _, asked, is_cbor = arguments[:3]
    if len(asked.get("MetricDataQueries", [])) > 500:
        words = "The collection MetricDataQueries must not have a size greater than 500."
        return cloudwatch._error("ValidationError", words, 400, use_cbor=is_cbor)
    for bucket, config in list(s3._bucket_replication.items()):
        for rule in config.get("Rules", []):
            if rule.get("Status") == "Enabled" and publishes(rule) and region_of(name_of(rule)) == get_region():
                publish_backlog(bucket, rule)
    if not (is_cbor and answers):
        return get_metric_data(*arguments)
    _, _, body = get_metric_data(None, asked, False, True)
    page = page_of(asked, json.loads(body)["MetricDataResults"])
    page["MetricDataResults"] = [cloudwatch._cbor_metric_data_result(result) for result in page["MetricDataResults"]]
    return cloudwatch._cbor_ok(page)


def page_of(asked, results):
    """One page of an answer, as CloudWatch returns it
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html)."""
    start, shown, more = int(asked.get("NextToken") or 0), [], None
    for query, result in zip(asked["MetricDataQueries"], results):
        labels = {label["Name"]: label["Value"] for label in query["MetricStat"]["Metric"]["Dimensions"]}
        how = answers.get(labels["SourceBucket"], {})
        points = list(zip(result["Timestamps"], result["Values"]))
        status = how.get("status") if how.get("rule", labels["RuleId"]) == labels["RuleId"] else None
        if status == "":
            continue
        if status is not None:
            words = [{"Code": status, "Value": f"{status} for the test"}] if status != "PartialData" else []
            shown.append({**result, "Timestamps": [], "Values": [], "StatusCode": status, "Messages": words})
            continue
        end = start + how.get("page", len(points))
        if start > 0 and start >= len(points):
            continue
        if end < len(points):
            more, result = end, {**result, "StatusCode": "PartialData"}
        on_page = points[start:end]
        shown.append({**result, "Timestamps": [at for at, _ in on_page], "Values": [value for _, value in on_page]})
    return {"MetricDataResults": shown, "NextToken": None if more is None else str(more)}


def publish_backlog(bucket, rule):
    hold = held.get(bucket, {"objects": [], "behind": 0})
    pending = len(hold["objects"])
    values = {
        "OperationsPendingReplication": float(pending),
        "ReplicationLatency": float(hold["behind"] if pending else 0),
    }
    for minutes in range(3):
        at = now() - 60 * minutes
        for metric, value in values.items():
            points = cloudwatch._metrics.get(key_of(metric, bucket, rule)) or []
            if pending:
                points[:] = [point for point in points if point["Timestamp"] != at]
            if not any(point["Timestamp"] == at for point in points):
                record(metric, bucket, rule, value, at)


def publishes(rule):
    destination = rule.get("Destination") or {}
    return any((destination.get(part) or {}).get("Status") == "Enabled" for part in ("Metrics", "ReplicationTime"))


def now():
    """The minute whose points are complete."""
    return int((time.time() - LATE) // 60) * 60


def name_of(rule):
    return ((rule.get("Destination") or {}).get("Bucket") or "").rsplit(":", 1)[-1]


def region_of(bucket):
    return s3._replication_destination_region(bucket)


def dimensions(bucket, rule):
    return {"SourceBucket": bucket, "DestinationBucket": name_of(rule), "RuleId": rule.get("ID") or ""}


def key_of(metric, bucket, rule):
    return (NAMESPACE, metric, cloudwatch._dims_key(dimensions(bucket, rule)))


def record(metric, bucket, rule, value, at):
    labels = dimensions(bucket, rule)
    point = {"Timestamp": at, "Value": value, "Unit": "None", "Dimensions": labels}
    cloudwatch._metric_bucket(key_of(metric, bucket, rule)).append(point)


def tell(bucket, key, rule, reason):
    data = {
        "replicationRuleId": rule.get("ID") or "",
        "destinationBucket": f"arn:aws:s3:::{name_of(rule)}",
        "s3Operation": "OBJECT_PUT",
        "requestTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "failureReason": reason,
    }
    s3._fire_s3_event(bucket, key, EVENT, record_extra={"replicationEventData": data})


@contextlib.contextmanager
def request_in(account, region):
    """Acts as a request of an account in a Region."""
    before = (get_account_id(), get_region())
    set_request_account_id(account)
    set_request_region(region)
    try:
        yield
    finally:
        set_request_account_id(before[0])
        set_request_region(before[1])


def make_older(bucket, seconds):
    for (_, _, (_, _, labels)), points in list(cloudwatch._metrics._data.items()):
        if any(point["Dimensions"].get("SourceBucket") == bucket for point in points):
            for point in points:
                point["Timestamp"] -= seconds


class Controls:
    """Answers what a test asks of this file."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/_rig/replication/"):
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.control(path.rsplit("/", 1)[-1], json.loads(body or b"{}"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def control(self, bucket, asked):
        if "answers" in asked:
            answers.pop(bucket, None)
            answers.update({bucket: asked["answers"]} if asked["answers"] else {})
        if "age" in asked:
            make_older(bucket, asked["age"])
        if asked.get("hold"):
            held.setdefault(bucket, {"objects": []})["behind"] = asked.get("behind", 0)
        elif "hold" in asked:
            release(bucket)
