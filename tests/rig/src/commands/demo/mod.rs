//! `rig demo`: shows the operator's main job on real parts, step by step. The demo checks every step, so that its end
//! proves more than that nothing crashed.

mod accounts;
mod arrival;
mod backfill;
mod cloud;
mod example;
mod stage;
mod story;

use std::fmt;

use anyhow::{Result, anyhow};
use rig::{Rig, operator};
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;

use stage::Stage;

/// Runs the demo. With `keep` everything stays up afterwards until Ctrl-C.
///
/// # Errors
/// When a step has not happened; the message names it.
pub fn run(keep: bool) -> Result<()> {
    let program = operator::build()?;
    let rig = Rig::start()?;
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        let mut stage = Stage::new(&rig, &program).await?;
        let outcome = tokio::select! {
            biased;
            interrupt = ctrl_c() => interrupt.map_err(Into::into).and(Err(anyhow!("interrupted"))),
            played = play(&mut stage, keep) => played,
        };
        if keep && !matches!(&outcome, Err(error) if !error.is::<Failed>()) {
            stage.say_how_to_talk();
            ctrl_c().await?;
        }
        stage.close().await;
        outcome
    });
    rig.shutdown();
    outcome
}

/// A step has not happened. The terminal shows which.
#[derive(Debug)]
struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the demo failed: see above")
    }
}

impl std::error::Error for Failed {}

async fn play(stage: &mut Stage<'_>, keep: bool) -> Result<()> {
    let played = async {
        story::play(stage).await?;
        accounts::play(stage).await
    };
    if let Err(error) = played.await {
        stage.fail(&error);
        return Err(Failed.into());
    }
    stage.conclude();
    if keep { story::apply_again(stage).await } else { Ok(()) }
}
