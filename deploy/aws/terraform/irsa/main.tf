# The operator's role in AWS by IRSA: IAM roles for service accounts.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "cluster_name" {
  description = "The EKS cluster the operator runs in; its OIDC provider is in IAM already."
  type        = string
}

variable "policy_file" {
  description = "What the operator may do: operator-policy.json, or observe-policy.json where it is to write nothing."
  type        = string
  default     = "operator-policy.json"
}

data "aws_caller_identity" "this" {}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

locals {
  documents = "${path.module}/../.."
  account   = data.aws_caller_identity.this.account_id
  provider  = trimprefix(data.aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")
}

resource "aws_iam_role" "operator" {
  name = "s3-replication-operator"
  assume_role_policy = replace(
    replace(file("${local.documents}/trust-irsa.json"), "ACCOUNT_ID", local.account),
    "OIDC_PROVIDER", local.provider
  )
}

resource "aws_iam_role_policy" "operator" {
  name   = "s3-replication-operator"
  role   = aws_iam_role.operator.name
  policy = replace(file("${local.documents}/${var.policy_file}"), "ACCOUNT_ID", local.account)
}

output "service_account_annotations" {
  description = "The chart's value serviceAccount.annotations."
  value       = { "eks.amazonaws.com/role-arn" = aws_iam_role.operator.arn }
}
