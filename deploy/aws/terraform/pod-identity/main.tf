# The operator's role in AWS by EKS Pod Identity, and the boundary of its roles.

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
  description = "operator-policy.json, or observe-policy.json for an operator that writes nothing."
  type        = string
  default     = "operator-policy.json"
}

variable "destination_accounts" {
  description = "Ids of other accounts whose buckets roles may replicate into."
  type        = list(string)
  default     = []
}

module "operator" {
  source               = "../operator-role"
  policy_file          = var.policy_file
  destination_accounts = var.destination_accounts
  assume_role_policy   = file("${path.module}/../../trust-pod-identity.json")
}

resource "aws_eks_pod_identity_association" "operator" {
  cluster_name    = var.cluster_name
  namespace       = "s3-replication-system"
  service_account = "s3-replication-operator"
  role_arn        = module.operator.role_arn
}

output "permissions_boundary" {
  description = "roles.permissionsBoundary of each AwsAccount of this account."
  value       = module.operator.boundary_arn
}
