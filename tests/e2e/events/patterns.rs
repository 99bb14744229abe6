//! The event patterns that are shipped, tried on the emulator's rule engine.

use std::path::Path;

use anyhow::{Context, Result};
use rig::world::World;
use s3_replication_operator::replication::events::{EventName, Service};
use serde_json::{Value, json};
use strum::VariantArray;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The characters that EventBridge allows a pattern by default
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>).
const MAX_PATTERN: usize = 2_048;

fn pattern(service: Service) -> Result<Value> {
    let file = format!("deploy/aws/events/{}.json", service.as_str());
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    Ok(serde_json::from_str(&text)?)
}

fn event(service: Service, name: &str, error: Option<&str>) -> Value {
    let service = service.as_str();
    let mut event = json!({
        "version": "0", "id": "1", "detail-type": "AWS API Call via CloudTrail", "source": format!("aws.{service}"),
        "account": "111122223333", "time": "2026-11-25T20:14:50Z", "region": "eu-west-1", "resources": [],
        "detail": {"eventName": name, "eventSource": format!("{service}.amazonaws.com"), "requestParameters": null},
    });
    if let Some(error) = error {
        event["detail"]["errorCode"] = json!(error);
    }
    event
}

/// `events:TestEventPattern`.
async fn matches(world: &World, pattern: &Value, event: &Value) -> Result<bool> {
    let address = world.proxy.address();
    let body = json!({"EventPattern": pattern.to_string(), "Event": event.to_string()}).to_string();
    let account = &world.account;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: AWSEvents.TestEventPattern\r\nContent-Length: {}\r\nConnection: close\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={account}/20261126/us-east-1/events/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).with_context(|| answer.clone())?;
    let body: Value = serde_json::from_str(body).with_context(|| answer.clone())?;
    body["Result"].as_bool().with_context(|| answer.clone())
}

#[tokio::test]
async fn the_shipped_patterns_let_every_event_through_that_is_read_and_no_other() -> Result<()> {
    let world = World::new("event-patterns").await?;
    for service in Service::VARIANTS {
        let own = pattern(*service)?;
        assert!(own.to_string().len() <= MAX_PATTERN, "{service:?}: {}", own.to_string().len());
        for name in EventName::VARIANTS {
            let (is_own, changed) = (name.service() == *service, event(name.service(), name.as_str(), None));
            assert_eq!(matches(&world, &own, &changed).await?, is_own, "{service:?} {name}");
            let failed = event(name.service(), name.as_str(), Some("AccessDenied"));
            assert!(!matches(&world, &own, &failed).await?, "{service:?} {name} that failed");
        }
        let other = event(*service, "GetRole", None);
        assert!(!matches(&world, &own, &other).await?, "{service:?}");
    }
    Ok(())
}
