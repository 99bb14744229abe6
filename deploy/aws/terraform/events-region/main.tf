# Forwards the events of a further Region to the bus of the module events. Use it once for each such Region, with a
# provider of that Region. IAM's events come from us-east-1 alone (in China from cn-north-1, in GovCloud from
# us-gov-west-1): elsewhere leave iam out. A rule cannot send to a queue of another Region, and in China and GovCloud not
# to a bus of another Region either: make one queue in each Region there, with the module events.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "bus" {
  description = "The output bus of the module events."
  type        = string
}

variable "role" {
  description = "The output forward_role of the module events or events-account of this account."
  type        = string
}

variable "kinds" {
  description = "Which events to forward: s3 and kms, and iam where the Region has IAM's events."
  type        = set(string)
  default     = ["s3", "kms"]
}

resource "aws_cloudwatch_event_rule" "events" {
  for_each      = var.kinds
  name          = "s3-replication-operator-${each.value}"
  description   = "Changes of ${each.value} that concern S3 replication"
  event_pattern = file("${path.module}/../../events/${each.value}.json")
}

resource "aws_cloudwatch_event_target" "bus" {
  for_each = aws_cloudwatch_event_rule.events
  rule     = each.value.name
  arn      = var.bus
  role_arn = var.role
}
