//! Attacks of a tenant that may write `BucketReplication`s in one namespace, and has no other right.
//!
//! In: an [`Attack`] and its size. Out: objects and changes in the tenant's namespace. `cargo scale --hostile` runs
//! them in full size and measures, the end-to-end tests run them in a small size and assert on bounds. A new attack
//! begins here, as a variant of [`Attack`].

use ::kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::World;

/// The annotation that requests a check.
const REQUESTED_AT: &str = "s3replication.dev/requestedAt";

/// The most rules that the definition allows in one object.
const RULES: usize = 1000;

/// How many requests an attack has under way at the same time.
const AT_ONCE: usize = 16;

/// The largest object that etcd stores takes 1.5 MiB with everything that the API server adds.
const LARGEST: usize = 1_400_000;

const SOURCE_REGION: &str = "us-east-1";
const DESTINATION_REGION: &str = "eu-west-1";

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Merge patches of one object, each of which changes one `accountRef` of 1,000.
    AccountNames,
    /// Objects that are as large as etcd stores.
    LargeObjects,
    /// Objects that are created and deleted.
    Churn,
    /// One object with a KMS key in an invented Region in each rule, and 50 more for its source.
    InventedRegions,
    /// Resources of one source that are deleted together.
    OneSource,
    /// Requests for checks of one resource, in a loop.
    RequestLoop,
}

impl Attack {
    /// All attacks.
    pub const ALL: [Self; 6] = [
        Self::AccountNames,
        Self::LargeObjects,
        Self::Churn,
        Self::InventedRegions,
        Self::OneSource,
        Self::RequestLoop,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccountNames => "account-names",
            Self::LargeObjects => "large-objects",
            Self::Churn => "churn",
            Self::InventedRegions => "invented-regions",
            Self::OneSource => "one-source",
            Self::RequestLoop => "request-loop",
        }
    }

    /// How much a tenant would do of it at least: as many changes, objects, rules or requests.
    pub fn full_size(self) -> usize {
        match self {
            Self::AccountNames => 500,
            Self::LargeObjects => 100,
            Self::Churn => 50_000,
            Self::InventedRegions => RULES,
            Self::OneSource => 3000,
            Self::RequestLoop => 1000,
        }
    }

    /// This amount of the attack, in words.
    pub fn description(self, size: usize) -> String {
        match self {
            Self::AccountNames => format!("{size} patches, each changes one accountRef of {RULES}"),
            Self::LargeObjects => format!("{size} objects of 1.4 MB"),
            Self::Churn => format!("{size} objects created and deleted"),
            Self::InventedRegions => format!("{size} KMS keys in invented Regions"),
            Self::OneSource => format!("{size} resources of one source, deleted at once"),
            Self::RequestLoop => format!("{size} requests for a check of one resource"),
        }
    }
}

/// The tenant that attacks.
pub struct Attacker<'a> {
    world: &'a World,
    /// Its namespace.
    pub namespace: String,
    /// How many rules the object of [`Attack::AccountNames`] has: the API server takes long for many.
    pub rules: usize,
    api: Api<DynamicObject>,
}

impl<'a> Attacker<'a> {
    /// A tenant with a namespace of its own.
    pub async fn new(world: &'a World) -> Result<Self> {
        let namespace = world.namespace(&[]).await?;
        Ok(Self { world, api: world.api_in(&namespace), namespace, rules: RULES })
    }

    /// Runs an attack until the API server has accepted all of it. The operator may still be at work afterwards.
    ///
    /// # Errors
    /// When the API server refuses something: then the attack is none.
    pub async fn run(&self, attack: Attack, size: usize) -> Result<()> {
        match attack {
            Attack::AccountNames => {
                self.create(account_names(self.rules, 0)).await?;
                self.change_account_names(1..=size).await
            }
            Attack::LargeObjects => self.each(size, |n| self.create(large(n))).await,
            Attack::Churn => self.each(size, |n| self.create_and_delete(n)).await,
            Attack::InventedRegions => {
                let (source, destination) = self.buckets().await?;
                self.create(invented_regions(size, &source, &destination, &self.world.account)).await
            }
            Attack::OneSource => {
                let (source, destination) = self.buckets().await?;
                let resource = |n| simple(&format!("resource-{n}"), &source, &destination);
                self.each(size, |n| self.create(resource(n))).await?;
                self.delete_all().await
            }
            Attack::RequestLoop => {
                let (source, destination) = self.buckets().await?;
                self.create(simple("loop", &source, &destination)).await?;
                self.request_checks("loop", size).await
            }
        }
    }

    /// Changes one `accountRef` of the object of [`Attack::AccountNames`] for each of these numbers.
    ///
    /// # Errors
    /// When the API server refuses a change.
    pub async fn change_account_names(&self, numbers: impl IntoIterator<Item = usize>) -> Result<()> {
        for number in numbers {
            let patch =
                Patch::Merge(json!({"spec": {"rules": account_names(self.rules, number)["spec"]["rules"]}}));
            self.api.patch("account-names", &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// Requests checks of a resource, one after the other, without waiting for them. Returns after the last request,
    /// whose value is `request-` and the count.
    ///
    /// # Errors
    /// When the API server refuses a request.
    pub async fn request_checks(&self, name: &str, count: usize) -> Result<()> {
        for number in 1..=count {
            let value = format!("request-{number}");
            let patch = Patch::Merge(json!({"metadata": {"annotations": {REQUESTED_AT: value}}}));
            self.api.patch(name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        self.api
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("{name} was not created"))?;
        Ok(())
    }

    /// Creates a resource of an `AwsAccount` that does not exist, and deletes it.
    async fn create_and_delete(&self, number: usize) -> Result<()> {
        let name = format!("churn-{number}");
        let mut resource = simple(&name, "nobodys-bucket", "nobodys-destination");
        resource["spec"]["source"]["accountRef"] = json!("nobodys-account");
        self.create(resource).await?;
        let _ = self.api.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Creates a source and a destination.
    ///
    /// # Errors
    /// When the emulator refuses one.
    pub async fn buckets(&self) -> Result<(String, String)> {
        Ok((self.world.bucket(SOURCE_REGION).await?, self.world.bucket(DESTINATION_REGION).await?))
    }

    /// Deletes every object of the namespace in one request, as `kubectl delete --all` does.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete_all(&self) -> Result<()> {
        let _ = self.api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Ok(())
    }

    /// Acts once for each number below `size`, a few at the same time.
    async fn each<F: Future<Output = Result<()>>>(
        &self,
        size: usize,
        act: impl Fn(usize) -> F,
    ) -> Result<()> {
        stream::iter((0..size).map(act)).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// A resource with one rule.
pub fn simple(name: &str, source: &str, destination: &str) -> Value {
    new_resource(
        name,
        source,
        vec![json!({"id": "all", "priority": 0, "destination": {"bucket": destination}})],
    )
}

fn new_resource(name: &str, source: &str, rules: Vec<Value>) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": name},
        "spec": {"source": {"bucket": source}, "rules": rules},
    })
}

/// Rules that each name another `AwsAccount` that does not exist. With another number, one of them has another name.
fn account_names(rules: usize, number: usize) -> Value {
    let name = |rule: usize| match rule == number % rules {
        true => format!("{:x<253}", format!("account-{rule}-changed-{number}-")),
        false => format!("{:x<253}", format!("account-{rule}-")),
    };
    let rules = (0..rules).map(|rule| {
        let destination = json!({"bucket": "nobodys-destination", "accountRef": name(rule)});
        json!({"id": format!("{rule}"), "priority": rule, "destination": destination})
    });
    new_resource("account-names", "nobodys-source", rules.collect())
}

/// As many rules as the definition allows, and each as long as fits.
fn large(number: usize) -> Value {
    let rules = (0..RULES).map(|rule| {
        let padding = "x".repeat(LARGEST / RULES - 180);
        let prefix = format!("{number}/{rule}/{}", padding.get(..1000).unwrap_or(&padding));
        let tag = padding.get(..200).unwrap_or(&padding);
        json!({
            "id": format!("{rule}"),
            "priority": rule,
            "filter": {"prefix": prefix, "tags": {"padding": tag}},
            "destination": {"bucket": "nobodys-destination"},
        })
    });
    new_resource(&format!("large-{number}"), &format!("nobodys-source-{number}"), rules.collect())
}

fn invented_regions(size: usize, source: &str, destination: &str, account: &str) -> Value {
    let key = |side: &str, number: usize| format!("arn:aws:kms:zz-{side}-{number}:{account}:key/{number}");
    let rules = (0..size).map(|number| {
        json!({
            "id": format!("{number}"),
            "priority": number,
            "filter": {"prefix": format!("{number}/")},
            "kmsEncryptedObjects": "Enabled",
            "destination": {"bucket": destination, "kmsKeyArn": key("replicas", number)},
        })
    });
    let mut resource = new_resource("invented-regions", source, rules.collect());
    let keys: Vec<String> = (0..size.min(50)).map(|number| key("source", number)).collect();
    resource["spec"]["source"]["kmsKeyArns"] = json!(keys);
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_object_is_just_below_the_limit_of_etcd() {
        let size = large(99).to_string().len();
        assert!((1_300_000..1_500_000).contains(&size), "{size}");
    }

    #[test]
    fn a_change_of_account_names_changes_one_of_a_thousand() {
        let names = |number| -> Vec<Value> {
            let rules = account_names(RULES, number)["spec"]["rules"].take();
            rules.as_array().unwrap().iter().map(|rule| rule["destination"]["accountRef"].clone()).collect()
        };
        let (before, after) = (names(1), names(2));
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        // The one of before has its first name again.
        assert_eq!(changed, 2);
        assert!(after.iter().all(|name| name.as_str().unwrap().len() == 253));
    }
}
