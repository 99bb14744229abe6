//! Waits for facts that nothing reports: asks again until the answer is there or the deadline has passed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often to ask.
const POLL: Duration = Duration::from_millis(200);

/// Asks until the answer is `Some`, and returns it. An error counts as no answer: a server may be restarting, an object
/// may not exist yet.
///
/// # Errors
/// If there is no answer within `deadline`; the message names `what` and holds the last error.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) if begun.elapsed() > deadline => bail!("not within {deadline:?}: {what}"),
            Err(error) if begun.elapsed() > deadline => {
                return Err(error.context(format!("not within {deadline:?}: {what}")));
            }
            Ok(None) | Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_and_missing_answers_are_asked_again() {
        let mut asked = 0;
        let answer = until("the third answer", Duration::from_secs(60), async || {
            asked += 1;
            match asked {
                1 => bail!("the server is restarting"),
                2 => Ok(None),
                _ => Ok(Some(asked)),
            }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_deadline_s_error_names_the_fact_and_the_last_error() {
        let failing = until::<()>("a pod", Duration::ZERO, async || bail!("no such namespace"));
        let error = format!("{:#}", failing.await.unwrap_err());
        assert!(error.contains("a pod") && error.contains("no such namespace"), "{error}");
    }
}
