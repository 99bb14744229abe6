//! Sessions that AWS no longer accepts: revoked, or expired earlier than the operator's clock says.

use anyhow::Result;
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::DEADLINE;

use crate::support::{reason, request_check, world_with_accounts};

use super::{RemoteAccount, replicate};

/// After the session of the resource fails a call with this answer once, a new session is begun and the resource is
/// Ready again, without being asked.
async fn is_begun_again(name: &str, operation: &str, answer: Answer) -> Result<()> {
    let (world, _operator) = world_with_accounts(name).await?;
    let here = RemoteAccount::new(&world, "here").await?;
    here.apply(&world).await?;
    replicate(&world, "orders", Some(&here), Some(&here)).await?;
    world.wait_ready("orders").await?;
    let named = format!("{}.orders", world.namespace);
    let begun = |calls: &[rig::proxy::Call]| {
        here.session_names(calls).iter().filter(|session| session.contains(&named)).count()
    };
    assert_eq!(begun(&world.proxy.calls()), 1);
    let matching = Matcher::operation(operation).in_account(&here.id);
    world.proxy.inject(Fault::times(1, matching, answer));
    request_check(&world, "orders").await?;
    world.proxy.wait_for(|calls| begun(calls) == 2, DEADLINE).await?;
    let ready = |status: &serde_json::Value| reason(status, "Ready") == "Applied";
    world.wait("orders", ready, "to be Ready again").await?;
    Ok(())
}

#[tokio::test]
async fn a_session_that_expired_early_is_begun_again() -> Result<()> {
    let expired = Answer::error(400, "ExpiredToken", "The provided token has expired.");
    is_begun_again("session-expired", "GetBucketReplication", expired).await
}

/// AWS denies everything to a revoked session, in the words of any other denial.
#[tokio::test]
async fn a_session_that_was_revoked_is_begun_again() -> Result<()> {
    is_begun_again("session-revoked", "GetRole", Answer::access_denied()).await
}
