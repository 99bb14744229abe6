//! What an `AwsAccount` makes of the operator: identities, sessions, and troubles that stay in their account.
