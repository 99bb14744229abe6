//! Answers in the wire formats of AWS's services.

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use roxmltree::Document;

/// An answer with its whole body.
pub(super) type Reply = Response<Full<Bytes>>;

/// An error in the wire format of a service.
pub(super) fn error(service: &str, method: &Method, status: u16, code: &str, message: &str) -> Reply {
    if service == "kms" || service == "sqs" {
        let body = serde_json::json!({"__type": code, "message": message}).to_string();
        return new_reply(status, &[("x-amzn-requestid", &request_id())], body, "application/x-amz-json-1.1");
    }
    if service == "monitoring" {
        return cbor_error(status, code, message);
    }
    let (code, message) = (escape(code), escape(message));
    let id = request_id();
    if service == "iam" || service == "sts" {
        let namespace = match service {
            "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
            _ => "https://sts.amazonaws.com/doc/2011-06-15/",
        };
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        let body = format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
        );
        return new_reply(status, &[("x-amzn-requestid", &id)], body, "text/xml");
    }
    if service == "s3control" {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse><Error><Code>{code}</Code>\
             <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
        );
        return new_reply(status, &[("x-amz-request-id", &id)], body, "application/xml");
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{message}</Message><RequestId>{id}</RequestId></Error>"
    );
    s3(method, status, &[("x-amz-request-id", &id)], body)
}

/// An error in CBOR: a map of two texts (<https://www.rfc-editor.org/rfc/rfc8949#name-major-types>).
fn cbor_error(status: u16, code: &str, message: &str) -> Reply {
    let mut body = vec![0xA2];
    for text in ["__type", code, "message", message] {
        match u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes() {
            [0, short @ 0..24] => body.push(0x60 | short),
            [high, low] => body.extend([0x79, high, low]),
        }
        body.extend(text.as_bytes().iter().take(usize::from(u16::MAX)));
    }
    let id = request_id();
    let headers = [("x-amzn-requestid", id.as_str()), ("smithy-protocol", "rpc-v2-cbor")];
    let mut reply = new_reply(status, &headers, String::new(), "application/cbor");
    *reply.body_mut() = Full::new(Bytes::from(body));
    reply
}

/// S3's redirect to another Region.
pub(super) fn wrong_region(method: &Method, bucket: &str, region: &str) -> Reply {
    let id = request_id();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>PermanentRedirect</Code>\
         <Message>The bucket you are attempting to access must be addressed using the specified \
         endpoint. Please send all future requests to this endpoint.</Message>\
         <Endpoint>{0}.s3.{1}.amazonaws.com</Endpoint><Bucket>{0}</Bucket>\
         <RequestId>{id}</RequestId></Error>",
        escape(bucket),
        escape(region)
    );
    let headers = [("x-amz-request-id", id.as_str()), ("x-amz-bucket-region", region)];
    s3(method, 301, &headers, body)
}

/// Any answer, without the headers that are not valid.
pub(super) fn custom(status: u16, headers: &[(String, String)], body: String) -> Reply {
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    new_reply(status, &headers, body, "application/xml")
}

/// The code in an error's body, in XML or JSON.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        let kind = json.get("__type")?.as_str()?;
        return Some(kind.rsplit('#').next().unwrap_or(kind).to_owned());
    }
    let document = Document::parse(text).ok()?;
    let code = document.descendants().find(|node| node.tag_name().name() == "Code")?;
    code.text().map(str::to_owned)
}

/// The answer to a HEAD has no body, so the SDK learns no code.
fn s3(method: &Method, status: u16, headers: &[(&str, &str)], body: String) -> Reply {
    let body = if method == Method::HEAD { String::new() } else { body };
    new_reply(status, headers, body, "application/xml")
}

fn new_reply(status: u16, headers: &[(&str, &str)], body: String, kind: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let map = reply.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            map.insert(name, value);
        }
    }
    reply
}

fn request_id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(16).collect::<String>().to_uppercase()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_each_wire_form() {
        let s3 = b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>";
        assert_eq!(error_code(s3).as_deref(), Some("SlowDown"));
        let iam = b"<ErrorResponse xmlns=\"x\"><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>";
        assert_eq!(error_code(iam).as_deref(), Some("NoSuchEntity"));
        let json = br#"{"__type":"com.amazonaws.kms#NotFoundException"}"#;
        assert_eq!(error_code(json).as_deref(), Some("NotFoundException"));
        assert_eq!(error_code(b""), None);
    }

    #[tokio::test]
    async fn each_service_gets_its_errors_in_its_own_form() {
        use http_body_util::BodyExt;
        for (service, start) in [("s3", "<?xml"), ("iam", "<ErrorResponse"), ("kms", "{\"__type\"")] {
            let reply = error(service, &Method::POST, 403, "AccessDenied", "no <entry>");
            assert_eq!(reply.status(), 403);
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(start.as_bytes()), "{body:?}");
            assert_eq!(error_code(&body).as_deref(), Some("AccessDenied"));
        }
    }
}
