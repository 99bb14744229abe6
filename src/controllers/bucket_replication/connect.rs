//! Connects to the accounts of a resource, to each of its destinations' apart where not all can be reached.
//!
//! In: the accounts. Out: clients, and why some accounts of destinations cannot be reached. One of them must not keep
//! the others, and the source, from being corrected or cleaned up.

use std::collections::BTreeMap;

use crate::ports::Cloud;
use crate::replication::observed::Read;
use crate::replication::{Accounts, Failure, ResourceId};

/// The clients of a resource.
pub struct Connected<T> {
    pub clients: T,
    /// Why the operator has no identity in some of the accounts of destinations, by the name under which buckets refer
    /// to them.
    pub unreached: BTreeMap<String, Failure>,
}

/// Connects to the source, and to every destination that lets the operator in.
///
/// # Errors
/// When the account of the source cannot be reached.
pub async fn connect<C: Cloud>(
    accounts: &Accounts,
    id: &ResourceId,
    cloud: &C,
) -> Read<Connected<C::Clients>> {
    let mut unreached = BTreeMap::new();
    let clients = match cloud.connect(accounts, id).await {
        Ok(clients) => clients,
        Err(failure) if accounts.destinations.is_empty() => return Err(failure),
        Err(_) => {
            let source = Accounts { destinations: BTreeMap::new(), ..accounts.clone() };
            let mut clients = cloud.connect(&source, id).await?;
            for (name, account) in &accounts.destinations {
                if let Err(failure) = cloud.connect_also(&mut clients, name, account, id).await {
                    unreached.insert(name.clone(), failure);
                }
            }
            clients
        }
    };
    Ok(Connected { clients, unreached })
}
