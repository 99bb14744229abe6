# Lets the rules of a further account send its events to the bus of the module events, whose variable accounts must name
# this account. Use it once in the account, and then the module events-region once for each of its Regions. The rules in
# the operator's own Region are made here.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "bus" {
  description = "The output bus of the module events."
  type        = string
}

variable "kinds" {
  description = "Which events this Region forwards: s3 and kms, and iam where the Region has IAM's events."
  type        = set(string)
  default     = ["s3", "kms"]
}

data "aws_caller_identity" "this" {}

resource "aws_iam_role" "forward" {
  name = "s3-replication-operator-events"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "forward" {
  name = "forward"
  role = aws_iam_role.forward.name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "events:PutEvents", Resource = var.bus }]
  })
}

module "region" {
  source = "../events-region"
  bus    = var.bus
  role   = aws_iam_role.forward.arn
  kinds  = var.kinds
}

output "forward_role" {
  description = "The variable role of the module events-region in the other Regions of this account."
  value       = aws_iam_role.forward.arn
}
