//! One request on its way through the proxy: recorded, held, answered with a fault or a rejection, or forwarded.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinSet;

use super::calls::{Call, Log};
use super::classify::{self, Scope};
use super::faults::{Answer, Faults};
use super::gates::{GateAt, Gates};
use super::lock;
use super::owners::{Owners, Ownership};
use super::principals::Principals;
use super::refusals::{self, Refusal};
use super::trail::Trail;
use super::wire::{self, Reply};
use super::{policies, sessions};

/// How long a connection to the emulator is kept for the next request. The emulator closes it after 75 seconds, and a
/// request that is sent at that moment would be lost.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// The state that all connections of one proxy share.
#[derive(Debug)]
pub(super) struct State {
    pub log: Log,
    pub faults: Faults,
    pub gates: Gates,
    pub owners: Owners,
    pub principals: Principals,
    pub latency: Mutex<Duration>,
    pub mfa_delete: Mutex<HashSet<String>>,
    pub no_bodies: AtomicBool,
    pub trail: Mutex<Option<Trail>>,
    /// How many requests to SQS there were. They are not recorded: one of them is always under way.
    pub queue_requests: AtomicUsize,
    upstream: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl State {
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            log: Log::new(),
            faults: Faults::default(),
            gates: Gates::default(),
            owners: Owners::new(upstream),
            principals: Principals::new(upstream),
            latency: Mutex::default(),
            mfa_delete: Mutex::default(),
            no_bodies: AtomicBool::default(),
            trail: Mutex::default(),
            queue_requests: AtomicUsize::default(),
            upstream,
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(LONGEST_IDLE)
                .build_http(),
        }
    }
}

/// Accepts connections until it is cancelled. That also cuts them.
pub(super) async fn serve(listener: std::net::TcpListener, state: Arc<State>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // The client closed the connection before the proxy accepted it.
                let Ok((stream, _)) = accepted else { continue };
                // The system must send small answers at once.
                let _ = stream.set_nodelay(true);
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = service_fn(move |request| handle(Arc::clone(&state), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    // An error here is a cut connection, often because of a fault.
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// An error makes hyper cut the connection without an answer.
async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Reply> {
    let (head, body) = request.into_parts();
    let arrived = Instant::now();
    let body = body.collect().await?.to_bytes();
    let scope = classify::scope(&head.headers);
    let account = state.owners.account_of(&scope.access_key).await;
    let asked = Asked::new(head, body, arrived, scope, account);
    let mut recorded = asked.call.clone();
    if state.no_bodies.load(Ordering::Relaxed) {
        recorded.body = String::new();
    }
    // Before the call is in the log: to whoever sees it there, its fault has been used.
    let gates = state.gates.for_call(&asked.call);
    let fault = state.faults.take(&asked.call);
    let recording = if recorded.service == "sqs" {
        state.queue_requests.fetch_add(1, Ordering::Relaxed);
        None
    } else {
        Some(state.log.begin(recorded))
    };

    gates.pass(GateAt::BeforeForward, &asked.call).await;
    let reply = match fault {
        None => answer(&state, &asked).await,
        Some(Answer::DropAfter) => {
            answer(&state, &asked).await?;
            Err(anyhow!("cut after forwarding, as asked"))
        }
        Some(fault) => faulty(fault, &asked).await,
    };
    gates.pass(GateAt::AfterForward, &asked.call).await;
    let latency = *lock(&state.latency);
    tokio::time::sleep(latency).await;

    let reply = reply?;
    let (head, body) = reply.into_parts();
    let Ok::<_, Infallible>(body) = body.collect().await;
    let body = body.to_bytes();
    let code = (head.status.as_u16() >= 300).then(|| wire::error_code(&body)).flatten();
    if let Some(trail) = &*lock(&state.trail) {
        trail.record(&asked.call, head.status.as_u16(), code.as_deref());
    }
    if let Some(recording) = recording {
        recording.answered(head.status.as_u16(), code);
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

/// A request with its whole body.
struct Asked {
    head: http::request::Parts,
    body: Bytes,
    call: Call,
}

impl Asked {
    fn new(head: http::request::Parts, body: Bytes, arrived: Instant, scope: Scope, account: String) -> Self {
        let operation = classify::operation(&head.method, &head.uri, &head.headers, &body);
        let Scope { access_key, region, service } = scope;
        // It is signed for S3, and its errors have another form.
        let service = if classify::is_s3_control(&head.uri) { "s3control".to_owned() } else { service };
        let call = Call {
            operation: operation.name,
            subject: operation.subject,
            account,
            access_key,
            region,
            service,
            status: None,
            error_code: None,
            started: arrived,
            ended: arrived,
            path: head.uri.to_string(),
            body: String::from_utf8_lossy(&body).into_owned(),
            user_agent: text(&head.headers, "user-agent").unwrap_or_default(),
            expected_owner: text(&head.headers, "x-amz-expected-bucket-owner"),
        };
        Self { head, body, call }
    }

    fn error(&self, status: u16, code: &str, message: &str) -> Reply {
        wire::error(&self.call.service, &self.head.method, status, code, message)
    }
}

/// The answer of AWS: a rejection, or the emulator's answer.
async fn answer(state: &Arc<State>, asked: &Asked) -> Result<Reply> {
    if let Some(refusal) = refuse(state, asked).await? {
        return Ok(asked.error(refusal.status, refusal.code, &refusal.message));
    }
    let reply = forward(state, asked).await?;
    let call = &asked.call;
    let mfa = call.operation == "GetBucketVersioning"
        && reply.status().is_success()
        && lock(&state.mfa_delete).contains(&call.subject);
    if !mfa {
        return Ok(reply);
    }
    let (mut head, body) = reply.into_parts();
    let Ok::<_, Infallible>(body) = body.collect().await;
    let body = refusals::with_mfa_delete(&String::from_utf8_lossy(&body.to_bytes()));
    head.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(head, Full::new(Bytes::from(body))))
}

async fn faulty(fault: Answer, asked: &Asked) -> Result<Reply> {
    Ok(match fault {
        Answer::Error { status, code, message } => asked.error(status, &code, &message),
        Answer::WrongRegion { region } => {
            wire::wrong_region(&asked.head.method, &asked.call.subject, &region)
        }
        Answer::Custom { status, headers, body } => wire::custom(status, &headers, body),
        Answer::Hang => std::future::pending().await,
        Answer::Drop | Answer::DropAfter => return Err(anyhow!("cut, as asked")),
    })
}

/// Rejections of AWS that the emulator lacks.
async fn refuse(state: &State, asked: &Asked) -> Result<Option<Refusal>> {
    let call = &asked.call;
    if let Some(expected) = &call.expected_owner
        && state.owners.ask(&call.subject, expected).await? == Ownership::Foreign
    {
        return Ok(Some(refusals::wrong_owner()));
    }
    // S3 routes and authorizes a request before it validates what is to be written.
    let validates = matches!(call.operation.as_str(), "PutBucketReplication" | "PutBucketPolicy");
    if validates && !state.owners.answers(&call.subject, &call.account, &call.region).await {
        return Ok(None);
    }
    match call.operation.as_str() {
        "PutBucketReplication" => refuse_replication(state, call).await,
        "PutBucketPolicy" => refuse_bucket_policy(state, call).await,
        "AssumeRole" => refuse_session(state, call).await,
        "PutBucketVersioning" => {
            let mfa = lock(&state.mfa_delete).contains(&call.subject);
            if mfa && !asked.head.headers.contains_key("x-amz-mfa") {
                return Ok(Some(refusals::mfa_needed()));
            }
            if !refusals::suspends(&call.body) {
                return Ok(None);
            }
            let Call { subject, account, region, .. } = call;
            if state.owners.replicates(subject, account, region).await {
                return Ok(Some(refusals::replicating()));
            }
            Ok(state.owners.locks(subject, account, region).await.then(refusals::locking))
        }
        _ => Ok(None),
    }
}

async fn refuse_replication(state: &State, call: &Call) -> Result<Option<Refusal>> {
    let destinations = match refusals::replication(&call.body, &call.subject) {
        Ok(destinations) => destinations,
        Err(refusal) => return Ok(Some(refusal)),
    };
    for destination in destinations {
        let account = destination.account.as_deref();
        let found = state.owners.ask(&destination.bucket, account.unwrap_or(&call.account)).await?;
        match found {
            Ownership::Missing => return Ok(Some(refusals::missing_destination())),
            Ownership::Foreign if account.is_some() => {
                return Ok(Some(refusals::wrong_account()));
            }
            Ownership::Foreign | Ownership::Own => {}
        }
    }
    Ok(None)
}

async fn refuse_bucket_policy(state: &State, call: &Call) -> Result<Option<Refusal>> {
    let named = match policies::bucket_policy(&call.body, &call.subject) {
        Ok(named) => named,
        Err(refusal) => return Ok(Some(refusal)),
    };
    for arn in named {
        if !state.principals.exists(&arn).await? && state.principals.knows_account(&arn).await? {
            return Ok(Some(policies::invalid_principal()));
        }
    }
    Ok(None)
}

async fn refuse_session(state: &State, call: &Call) -> Result<Option<Refusal>> {
    let chained = call.access_key.starts_with("ASIA");
    if let Err(refusal) = sessions::assume_role(|name| call.parameter(name), chained) {
        return Ok(Some(refusal));
    }
    let role = call.parameter("RoleArn").unwrap_or_default();
    if !role.contains(":role/") || state.principals.exists(&role).await? {
        return Ok(None);
    }
    // An emulator that requires the caller's secret rejects a role that does not exist itself.
    let caller = state.principals.arn_of(&call.access_key).await;
    Ok(caller.map(|caller| sessions::not_authorized(&caller, &role)))
}

/// Forwards the request. It takes effect even if the client goes away meanwhile, as it does at AWS.
async fn forward(state: &Arc<State>, asked: &Asked) -> Result<Reply> {
    let mut request = Request::new(Full::new(asked.body.clone()));
    *request.method_mut() = asked.head.method.clone();
    *request.uri_mut() = upstream_uri(state.upstream, &asked.head.uri)?;
    *request.headers_mut() = asked.head.headers.clone();
    // These headers describe the connection with the client, not the request.
    for name in [header::CONNECTION, header::EXPECT, header::TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    let client = state.client.clone();
    let sent = tokio::spawn(async move {
        let (mut head, body) = client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::TRANSFER_ENCODING);
        anyhow::Ok(Response::from_parts(head, Full::new(body)))
    });
    sent.await?
}

fn upstream_uri(upstream: SocketAddr, uri: &Uri) -> Result<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(format!("http://{upstream}{path}").parse()?)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
