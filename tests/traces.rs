//! Traces as a collector gets them: OTLP over HTTP, in protobuf. The operator runs as in the end-to-end tests, which
//! need no second build with the feature `otlp` because these tests are apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use rig::hostile::simple;
use rig::operator::OperatorBuilder;
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::World;

type Bodies = Arc<Mutex<Vec<Bytes>>>;

/// An operator that exports its traces to a collector.
fn exporting_to(world: &World, collector: &str) -> OperatorBuilder {
    let program = env!("CARGO_BIN_EXE_s3-replication-operator");
    world.operator().binary(program).args(["--otlp-endpoint", collector])
}

/// A collector that keeps the bodies it receives.
async fn collector() -> Result<(String, Bodies)> {
    let bodies = Bodies::default();
    let take = async |State(bodies): State<Bodies>, headers: HeaderMap, body: Bytes| {
        if headers.get("content-type").is_some_and(|kind| kind == "application/x-protobuf") {
            bodies.lock().unwrap().push(body);
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let router = Router::new().route("/v1/traces", post(take)).with_state(bodies.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, bodies))
}

/// The fields of a protobuf message that are bytes, text or messages, by number.
fn fields(message: &[u8]) -> Result<Vec<(u64, &[u8])>> {
    let mut rest = message;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let length = match key & 7 {
            0 => {
                varint(&mut rest)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)?)?,
            5 => 4,
            other => anyhow::bail!("no wire type: {other}"),
        };
        let (value, after) = rest.split_at_checked(length).context("a message that is cut off")?;
        rest = after;
        if key & 7 == 2 {
            found.push((key >> 3, value));
        }
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("a number that is cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a number that does not end")
}

/// The contents of one field, of each message in a list.
fn inside<'a>(messages: &[&'a [u8]], number: u64) -> Result<Vec<&'a [u8]>> {
    let mut all = Vec::new();
    for message in messages {
        all.extend(fields(message)?.into_iter().filter(|(n, _)| *n == number).map(|(_, value)| value));
    }
    Ok(all)
}

#[derive(Clone, Debug, Default)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: HashMap<String, String>,
}

/// `ExportTraceServiceRequest` > `ResourceSpans` > `ScopeSpans` > `Span`.
fn spans(body: &[u8]) -> Result<Vec<Span>> {
    let spans = inside(&inside(&inside(&[body], 1)?, 2)?, 2)?;
    spans.into_iter().map(span).collect()
}

fn span(message: &[u8]) -> Result<Span> {
    let mut span = Span::default();
    for (number, value) in fields(message)? {
        match number {
            1 => span.trace = value.to_vec(),
            2 => span.id = value.to_vec(),
            4 => span.parent = value.to_vec(),
            5 => span.name = String::from_utf8(value.to_vec())?,
            9 => {
                let key = inside(&[value], 1)?;
                // `AnyValue`; only text is read here.
                let text = inside(&inside(&[value], 2)?, 1)?;
                if let ([key], [text]) = (key.as_slice(), text.as_slice()) {
                    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
                    span.attributes.insert(read(key)?, read(text)?);
                }
            }
            _ => {}
        }
    }
    Ok(span)
}

#[tokio::test]
async fn a_reconcile_is_a_trace_of_its_requests_to_aws() -> Result<()> {
    let world = World::new("traces").await?;
    let (address, bodies) = collector().await?;
    let operator = exporting_to(&world, &address).start().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    // The SDK retries this: two requests, two spans.
    world.proxy.inject(Fault::times(1, Matcher::operation("CreateRole"), Answer::throttling()));
    world.apply(&simple("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    // Ending the operator sends the remaining spans.
    assert_eq!(operator.terminate().await?, 0);

    let bodies = bodies.lock().unwrap().clone();
    let spans: Vec<Span> = bodies.iter().map(|body| spans(body)).collect::<Result<Vec<_>>>()?.concat();
    let reconcile = spans.iter().find(|span| span.name == "reconcile").context("no reconcile")?;
    ensure!(reconcile.parent.is_empty(), "{reconcile:?}");
    assert_eq!(reconcile.attributes["s3replication.name"], "orders");
    assert_eq!(reconcile.attributes["s3replication.reason"], "Applied");
    let children: Vec<&Span> = spans.iter().filter(|span| span.parent == reconcile.id).collect();
    assert!(children.iter().all(|span| span.trace == reconcile.trace));
    let mut names: Vec<String> = children.iter().map(|span| span.name.clone()).collect();
    let mut made: Vec<String> = world
        .proxy
        .calls()
        .iter()
        .filter(|call| call.operation != "GetCallerIdentity")
        .map(|call| format!("{}/{}", call.service.to_uppercase(), call.operation))
        .collect();
    names.sort();
    made.sort();
    assert_eq!(names, made);
    let codes: Vec<&str> = children
        .iter()
        .filter(|span| span.name == "IAM/CreateRole")
        .map(|span| span.attributes["aws.code"].as_str())
        .collect();
    assert_eq!(codes, ["Throttling", "OK"]);
    assert!(!operator.log().contains("rpc.method"), "spans do not show in the log: {}", operator.log());
    Ok(())
}

#[tokio::test]
async fn a_missing_collector_causes_no_failure() -> Result<()> {
    let world = World::new("no-collector").await?;
    let operator = exporting_to(&world, "http://127.0.0.1:1").start().await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    world.apply(&simple("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(operator.terminate().await?, 0);
    Ok(())
}
