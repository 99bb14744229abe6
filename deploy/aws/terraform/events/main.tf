# The queue that the operator reads events from, and the rules of its own account and Region. For every further Region
# with buckets, and for us-east-1 (IAM's events come from there), use the module events-region; for every further account
# the module events-account. A trail that logs management events must exist in each account: one that is multi-Region and
# includes global service events serves all.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "accounts" {
  description = "Ids of other accounts whose events may be sent to this account's event bus."
  type        = list(string)
  default     = []
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  # The Region's name; `name` is deprecated since version 6 of the provider, and `region` is not there before.
  region   = data.aws_region.this.id
  patterns = { for kind in ["s3", "iam", "kms"] : kind => file("${path.module}/../../events/${kind}.json") }
  bus      = "arn:${data.aws_partition.this.partition}:events:${local.region}:${local.account}:event-bus/default"
}

resource "aws_sqs_queue" "events" {
  name = "s3-replication-operator-events"
  # Longer than the operator is ever away: it checks every resource after a restart.
  message_retention_seconds  = 345600
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 60
  # A larger message is no event of CloudTrail, and must not fill the pod's memory.
  max_message_size        = 262144
  sqs_managed_sse_enabled = true
}

resource "aws_cloudwatch_event_rule" "events" {
  for_each      = local.patterns
  name          = "s3-replication-operator-${each.key}"
  description   = "Changes of ${each.key} that concern S3 replication"
  event_pattern = each.value
}

resource "aws_cloudwatch_event_target" "queue" {
  for_each = aws_cloudwatch_event_rule.events
  rule     = each.value.name
  arn      = aws_sqs_queue.events.arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 185
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Rules"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.events.arn
        Condition = { ArnEquals = { "aws:SourceArn" = [for rule in aws_cloudwatch_event_rule.events : rule.arn] } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.events.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

# Lets rules of other Regions of this account send to its bus.
resource "aws_iam_role" "forward" {
  name = "s3-replication-operator-events"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "forward" {
  name = "forward"
  role = aws_iam_role.forward.name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "events:PutEvents", Resource = local.bus }]
  })
}

resource "aws_cloudwatch_event_permission" "account" {
  for_each     = toset(var.accounts)
  principal    = each.value
  statement_id = "s3-replication-operator-${each.value}"
}

output "queue_url" {
  description = "The chart's value operator.events.queues."
  value       = aws_sqs_queue.events.url
}

output "operator_statement" {
  description = "To add to the policy of the operator's role."
  value = {
    Sid      = "Events"
    Effect   = "Allow"
    Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    Resource = aws_sqs_queue.events.arn
  }
}

output "bus" {
  description = "The variable bus of the modules events-region and events-account."
  value       = local.bus
}

output "forward_role" {
  description = "The variable role of the module events-region."
  value       = aws_iam_role.forward.arn
}
