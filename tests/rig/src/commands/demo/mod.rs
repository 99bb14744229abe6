//! `rig demo`: the operator's main job on real parts, told step by step. Every step is checked, so that the end of
//! it says more than that nothing crashed.

mod cloud;
mod example;
mod stage;
mod story;

use anyhow::{Result, anyhow};
use rig::Rig;
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;

use super::program;
use stage::Stage;

/// Tells the story. With `keep` all of it stays up afterwards, until Ctrl-C.
///
/// # Errors
/// When a step was not seen to be true; the message says which.
pub fn run(keep: bool) -> Result<()> {
    println!("Building the operator.");
    let program = program::build()?;
    let rig = Rig::start()?;
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let mut stage = Stage::new(&rig, &program).await?;
        let outcome = tokio::select! {
            biased;
            interrupt = ctrl_c() => interrupt.map_err(Into::into).and(Err(anyhow!("interrupted"))),
            told = tell(&mut stage, keep) => told,
        };
        stage.close().await;
        outcome
    });
    rig.shutdown();
    outcome
}

async fn tell(stage: &mut Stage<'_>, keep: bool) -> Result<()> {
    let told = story::tell(stage).await;
    match &told {
        Ok(()) => stage.conclude(),
        Err(error) => stage.fail(error),
    }
    if keep {
        if told.is_ok() {
            story::apply_again(stage).await?;
        }
        stage.say_how_to_talk();
        // Ctrl-C is the other branch's.
        std::future::pending::<()>().await;
    }
    told.map_err(|_| anyhow!("the demo failed"))
}
