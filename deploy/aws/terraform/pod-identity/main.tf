# The operator's role in AWS by EKS Pod Identity.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.29" }
  }
}

variable "cluster_name" {
  description = "The EKS cluster the operator runs in; it has the add-on eks-pod-identity-agent."
  type        = string
}

variable "policy_file" {
  description = "What the operator may do: operator-policy.json, or observe-policy.json where it is to write nothing."
  type        = string
  default     = "operator-policy.json"
}

data "aws_caller_identity" "this" {}

locals {
  documents = "${path.module}/../.."
  account   = data.aws_caller_identity.this.account_id
}

resource "aws_iam_role" "operator" {
  name               = "s3-replication-operator"
  assume_role_policy = file("${local.documents}/trust-pod-identity.json")
}

resource "aws_iam_role_policy" "operator" {
  name   = "s3-replication-operator"
  role   = aws_iam_role.operator.name
  policy = replace(file("${local.documents}/${var.policy_file}"), "ACCOUNT_ID", local.account)
}

resource "aws_eks_pod_identity_association" "operator" {
  cluster_name    = var.cluster_name
  namespace       = "s3-replication-system"
  service_account = "s3-replication-operator"
  role_arn        = aws_iam_role.operator.arn
}
