# The operator's role, and the boundary of the roles that it makes. The modules irsa and pod-identity use it.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "assume_role_policy" {
  description = "The trust policy of the operator's role, as JSON."
  type        = string
}

variable "policy_file" {
  description = "operator-policy.json, or observe-policy.json for an operator that writes nothing."
  type        = string
}

variable "destination_accounts" {
  description = "Ids of other accounts whose buckets roles may replicate into."
  type        = list(string)
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  documents    = "${path.module}/../.."
  account      = data.aws_caller_identity.this.account_id
  arns         = "arn:${data.aws_partition.this.partition}:"
  destinations = join(", ", [for id in concat([local.account], var.destination_accounts) : jsonencode(id)])
}

# Nothing that the operator writes into a role's policy reaches further.
resource "aws_iam_policy" "boundary" {
  name = "s3-replication-boundary"
  policy = replace(
    replace(
      replace(file("${local.documents}/boundary-policy.json"), "\"DESTINATION_ACCOUNT_IDS\"", local.destinations),
      "ACCOUNT_ID", local.account
    ),
    "arn:aws:", local.arns
  )
}

resource "aws_iam_role" "operator" {
  name               = "s3-replication-operator"
  assume_role_policy = var.assume_role_policy
}

resource "aws_iam_role_policy" "operator" {
  name   = "s3-replication-operator"
  role   = aws_iam_role.operator.name
  policy = replace(
    replace(file("${local.documents}/${var.policy_file}"), "ACCOUNT_ID", local.account), "arn:aws:", local.arns
  )
}

output "role_arn" {
  value = aws_iam_role.operator.arn
}

output "boundary_arn" {
  value = aws_iam_policy.boundary.arn
}
