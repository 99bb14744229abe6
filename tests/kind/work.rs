//! Work that a failover meets: resources that are being made, and others that differ in AWS.

use anyhow::Result;
use futures::future::try_join_all;

use super::case::Case;
use super::pod::OperatorPod;
use super::site::Site;

/// How many resources of each sort.
const MANY: usize = 3;

pub struct Work<'a> {
    site: &'a Site<'a>,
    drifted: Vec<Case<'a>>,
    under_way: Vec<Case<'a>>,
}

impl<'a> Work<'a> {
    /// Has the leader in the middle of making resources, while the configurations of others have been changed, which
    /// it does not look at for minutes.
    pub async fn begin(site: &'a Site<'a>, leader: &OperatorPod) -> Result<Self> {
        let drifted = many(site, "steady").await?;
        try_join_all(drifted.iter().map(Case::wait_ready)).await?;
        try_join_all(drifted.iter().map(Case::drift)).await?;
        site.slow_down().await?;
        let before = site.writes().await?.len();
        let under_way = many(site, "begun").await?;
        let begun = async || {
            let writes = site.writes().await?;
            Ok(writes.iter().skip(before).any(|write| write.app == leader.name).then_some(()))
        };
        site.ground.until("the leader is in the middle of its work", begun).await?;
        Ok(Self { site, drifted, under_way })
    }

    /// Adds resources.
    pub async fn add(&mut self, name: &str) -> Result<()> {
        self.under_way.extend(many(self.site, name).await?);
        Ok(())
    }

    /// Waits until all of it is done, however it came to that.
    pub async fn is_done(&self) -> Result<()> {
        try_join_all(self.under_way.iter().map(Case::wait_ready)).await?;
        try_join_all(self.drifted.iter().map(Case::put_right)).await?;
        self.site.speed_up().await
    }

    /// Deletes all resources, and sees that nothing is left of them in AWS.
    pub async fn remove(self) -> Result<()> {
        let all: Vec<Case> = self.drifted.into_iter().chain(self.under_way).collect();
        try_join_all(all.iter().map(Case::begin_deletion)).await?;
        try_join_all(all.iter().map(Case::gone)).await?;
        self.site.no_role_is_left().await
    }
}

async fn many<'a>(site: &'a Site<'a>, name: &str) -> Result<Vec<Case<'a>>> {
    let names: Vec<String> = (1..=MANY).map(|n| format!("{name}-{n}")).collect();
    try_join_all(names.iter().map(|name| Case::apply(site, name))).await
}
