//! Work for a failover: resources that are being created, and others that drifted.

use anyhow::Result;
use futures::future::try_join_all;

use super::pod::OperatorPod;
use super::release::OperatorRelease;
use super::replication::Replication;

/// The number of resources of each kind.
const MANY: usize = 3;

pub struct Workload<'a> {
    operator: &'a OperatorRelease<'a>,
    drifted: Vec<Replication<'a>>,
    under_way: Vec<Replication<'a>>,
}

impl<'a> Workload<'a> {
    /// Changes the configurations of some resources in AWS, which the leader will not check for minutes, and waits
    /// until the leader is creating others.
    pub async fn begin(operator: &'a OperatorRelease<'a>, leader: &OperatorPod) -> Result<Self> {
        let drifted = many(operator, "steady").await?;
        try_join_all(drifted.iter().map(Replication::wait_ready)).await?;
        try_join_all(drifted.iter().map(Replication::change_in_aws)).await?;
        operator.slow_down().await?;
        let before = operator.writes().await?.len();
        let under_way = many(operator, "begun").await?;
        let begun = async || {
            let writes = operator.writes().await?;
            Ok(writes.iter().skip(before).any(|write| write.app == leader.name).then_some(()))
        };
        operator.cluster.until("the leader is in the middle of its work", begun).await?;
        Ok(Self { operator, drifted, under_way })
    }

    /// Adds resources.
    pub async fn add(&mut self, name: &str) -> Result<()> {
        self.under_way.extend(many(self.operator, name).await?);
        Ok(())
    }

    /// Waits until everything is Ready or corrected.
    pub async fn wait_done(&self) -> Result<()> {
        try_join_all(self.under_way.iter().map(Replication::wait_ready)).await?;
        try_join_all(self.drifted.iter().map(Replication::wait_corrected)).await?;
        self.operator.speed_up().await
    }

    /// Deletes all resources, and checks that nothing is left of them in AWS.
    pub async fn remove(self) -> Result<()> {
        let all: Vec<Replication> = self.drifted.into_iter().chain(self.under_way).collect();
        try_join_all(all.iter().map(Replication::begin_deletion)).await?;
        try_join_all(all.iter().map(Replication::wait_deleted)).await?;
        self.operator.check_no_role_is_left().await
    }
}

async fn many<'a>(operator: &'a OperatorRelease<'a>, name: &str) -> Result<Vec<Replication<'a>>> {
    let names: Vec<String> = (1..=MANY).map(|n| format!("{name}-{n}")).collect();
    try_join_all(names.iter().map(|name| Replication::apply(operator, name))).await
}
