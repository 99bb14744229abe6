# The operator's role in AWS by IRSA (IAM roles for service accounts), and the boundary of its roles.

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
  description = "operator-policy.json, or observe-policy.json for an operator that writes nothing."
  type        = string
  default     = "operator-policy.json"
}

variable "destination_accounts" {
  description = "Ids of other accounts whose buckets roles may replicate into."
  type        = list(string)
  default     = []
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

module "operator" {
  source               = "../operator-role"
  policy_file          = var.policy_file
  destination_accounts = var.destination_accounts
  assume_role_policy = replace(
    replace(
      replace(file("${path.module}/../../trust-irsa.json"), "ACCOUNT_ID", data.aws_caller_identity.this.account_id),
      "OIDC_PROVIDER", trimprefix(data.aws_eks_cluster.this.identity[0].oidc[0].issuer, "https://")
    ),
    "arn:aws:", "arn:${data.aws_partition.this.partition}:"
  )
}

output "service_account_annotations" {
  description = "The chart's value serviceAccount.annotations."
  value       = { "eks.amazonaws.com/role-arn" = module.operator.role_arn }
}

output "permissions_boundary" {
  description = "roles.permissionsBoundary of each AwsAccount of this account."
  value       = module.operator.boundary_arn
}
