//! Acts about jobs of S3 Batch Operations, on the simulated AWS and on the rig's stand-in.
//!
//! In: an act. Out: the answers of both. Each names jobs by ids of its own: an answer names a job by its number.

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::aws::tests::answers;
use crate::aws::tests::stage::Stage;
use crate::ports::Cloud;
use crate::replication::backfill::{JobAddress, JobRequest, JobState, JobUpdate};

/// One act. `back`: the job that was made so many before the last one.
#[derive(Clone, Debug)]
pub enum JobAct {
    Create(Box<JobRequest>),
    Describe {
        back: usize,
        address: JobAddress,
    },
    Find(JobAddress, String),
    Update {
        back: usize,
        address: JobAddress,
        update: JobUpdate,
    },
    /// A job comes to a state.
    Put {
        back: usize,
        state: String,
    },
    /// A job goes on to its next state by itself.
    Advance {
        back: usize,
    },
    /// S3 forgets a job.
    Forget {
        back: usize,
    },
}

/// The ids of the jobs that both have made.
#[derive(Debug, Default)]
pub struct MadeJobs(Mutex<Vec<(String, String)>>);

impl MadeJobs {
    /// The ids of a job; those of one that nobody made, where there is none.
    fn last(&self, back: usize) -> (String, String) {
        let all = self.0.lock();
        let made = all.iter().rev().cycle().nth(back).cloned();
        made.unwrap_or_else(|| ("job-none".to_owned(), "00000000-0000-0000-0000-000000000000".to_owned()))
    }

    fn number(&self, is: impl Fn(&(String, String)) -> bool) -> Option<usize> {
        self.0.lock().iter().position(is)
    }
}

const REASON: &str = "moved";

impl Stage {
    pub async fn perform_job(&self, act: &JobAct) -> (Value, Value) {
        let (simulated, real) = (&self.simulated, &self.real);
        let (of_simulated, of_real) = (&self.simulated_clients, &self.real_clients);
        match act {
            JobAct::Create(request) => self.create_job(request).await,
            JobAct::Describe { back, address } => {
                let (one, other) = self.jobs.last(*back);
                let found = simulated.describe_job(of_simulated, address, &one).await;
                let really = real.describe_job(of_real, address, &other).await;
                (answers::job(&found), answers::job(&really))
            }
            JobAct::Find(address, description) => {
                let found = simulated.find_job(of_simulated, address, description).await;
                let really = real.find_job(of_real, address, description).await;
                (self.numbered(&found, false), self.numbered(&really, true))
            }
            JobAct::Update { back, address, update } => {
                let (one, other) = self.jobs.last(*back);
                let done = simulated.update_job(of_simulated, address, &one, *update).await;
                let really = real.update_job(of_real, address, &other, *update).await;
                (answers::written(&done), answers::written(&really))
            }
            JobAct::Put { back, state } => {
                let (one, other) = self.jobs.last(*back);
                let there = self.simulated.with(|world| {
                    let job = world.jobs.held.get_mut(&one)?;
                    (job.state, job.update_reason) = (state.clone(), Some(REASON.to_owned()));
                    Some(())
                });
                let put = self.stand_in().put(&other, state, REASON).await;
                (json!(there.is_some()), json!(put.is_ok()))
            }
            JobAct::Advance { back } => self.advance(*back).await,
            JobAct::Forget { back } => {
                let (one, other) = self.jobs.last(*back);
                let gone = self.simulated.with(|world| world.jobs.held.remove(&one));
                let forgotten = self.stand_in().forget(&other).await;
                (json!(gone.is_some()), json!(forgotten.is_ok()))
            }
        }
    }

    fn stand_in(&self) -> rig::jobs::Jobs {
        rig::jobs::Jobs::new(&self.endpoint, &self.names.here)
    }

    async fn create_job(&self, request: &JobRequest) -> (Value, Value) {
        let made = self.simulated.create_job(&self.simulated_clients, request).await;
        let really = self.real.create_job(&self.real_clients, request).await;
        if let (Ok(one), Ok(other)) = (&made, &really)
            && self.jobs.number(|(known, _)| known == one).is_none()
        {
            self.jobs.0.lock().push((one.clone(), other.clone()));
        }
        let (made, really) = (made.map(Some), really.map(Some));
        (self.numbered(&made, false), self.numbered(&really, true))
    }

    /// A job by its number. The code of a refusal counts: one of them makes the operator search for its job.
    fn numbered(&self, found: &crate::replication::observed::Read<Option<String>>, real: bool) -> Value {
        match found {
            Err(failure) => json!({"failure": format!("{:?}", failure.class), "code": failure.code}),
            Ok(None) => Value::Null,
            Ok(Some(id)) => {
                json!(self.jobs.number(|(one, other)| if real { other == id } else { one == id }))
            }
        }
    }

    /// The states between which a job goes by itself, whatever objects it lists.
    async fn advance(&self, back: usize) -> (Value, Value) {
        let (one, other) = self.jobs.last(back);
        let state =
            self.simulated.with(|world| world.jobs.held.get(&one).map(|job| JobState::of(&job.state)));
        let next = match state {
            Some(JobState::New) => "Preparing",
            Some(JobState::Ready) => "Active",
            Some(JobState::Cancelling) => "Cancelled",
            _ => return (json!("stays"), json!("stays")),
        };
        self.simulated.with(|world| {
            let others = world.jobs.held.clone();
            world.jobs.advance();
            world.jobs.held.extend(others.into_iter().filter(|(id, _)| *id != one));
        });
        let now = self.simulated.with(|world| world.jobs.held.get(&one).map(|job| job.state.clone()));
        assert_eq!(now.as_deref(), Some(next));
        let really = self.stand_in().advance(&other).await;
        (json!(now), json!(really.ok().and_then(|job| job["status"].as_str().map(str::to_owned))))
    }
}
