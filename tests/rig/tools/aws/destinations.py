"""Replicates an object to each of its destinations.

ministack applies the first rule that matches. On AWS an object goes to the destination of every rule that matches, of
several rules with one destination the one with the highest priority is applied
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html), and the status at the source is
COMPLETED once all have it and FAILED where one does not get it
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html). A rule leaves objects that are encrypted
with a KMS key out unless it asks for them
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html).
"""

from ministack.services import s3

replicate_by_one_rule = s3._maybe_replicate
first_rule = s3._replication_rule_for


def replicate(bucket_name, key, obj, data, tags=None):
    statuses = []
    for rule, role in rules_for(bucket_name, key, obj, tags):
        s3._replication_rule_for = lambda *_, rule=rule, role=role: (rule, role)
        obj.pop("replication_status", None)
        try:
            replicate_by_one_rule(bucket_name, key, obj, data, tags)
        finally:
            s3._replication_rule_for = first_rule
        statuses.append(obj.get("replication_status"))
    if "FAILED" in statuses:
        obj["replication_status"] = "FAILED"


def rules_for(bucket_name, key, obj, tags):
    """The rule that S3 applies for each destination, with the role."""
    config = s3._bucket_replication.get(bucket_name)
    if not config or s3._bucket_versioning.get(bucket_name) != "Enabled":
        return []
    winners = {}
    for rule in config.get("Rules", []):
        if rule.get("Status") != "Enabled" or not key.startswith(s3._replication_rule_prefix(rule)):
            continue
        if any((tags or {}).get(k) != v for k, v in s3._replication_rule_tags(rule).items()):
            continue
        destination = (rule.get("Destination") or {}).get("Bucket")
        held = winners.get(destination)
        if held is None or priority(rule) > priority(held):
            winners[destination] = rule
    return [(rule, config.get("Role", "")) for rule in winners.values() if takes(rule, obj)]


def priority(rule):
    return int(rule.get("Priority") or 0)


def takes(rule, obj):
    encryption = obj.get("preserved_headers", {}).get("x-amz-server-side-encryption", "")
    criteria = (rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}
    return not encryption.startswith("aws:kms") or criteria.get("Status") == "Enabled"


s3._maybe_replicate = replicate
