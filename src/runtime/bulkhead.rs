//! How many reconciles run at the same time: a number for each set of accounts that resources act in. Resources that
//! wait for an account that does not answer take nothing from those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

#[derive(Debug)]
pub struct Bulkheads {
    width: usize,
    all: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Bulkheads {
    /// `width`: reconciles at the same time in each.
    pub fn new(width: u16) -> Bulkheads {
        Bulkheads { width: width.into(), all: Mutex::default() }
    }

    /// The places of resources that act in these accounts.
    pub fn of<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) -> Arc<Semaphore> {
        // No name of an object holds a space.
        let key = accounts.into_iter().collect::<Vec<_>>().join(" ");
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.width))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_one_account_cannot_take_the_places_of_another() {
        let bulkheads = Bulkheads::new(1);
        let _held = bulkheads.of(["prod"]).try_acquire_owned().unwrap();
        assert!(bulkheads.of(["prod"]).try_acquire().is_err(), "all places of prod are taken");
        assert!(bulkheads.of(["dr"]).try_acquire().is_ok());
        assert!(bulkheads.of(["dr", "prod"]).try_acquire().is_ok(), "nor do those that need both wait");
    }
}
