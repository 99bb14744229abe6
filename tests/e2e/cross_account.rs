//! Replication between two accounts: versioning and policies on both sides, and real objects.
