//! The smallest HTTP client there is, for asking a local health endpoint from
//! a thread that has no runtime.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Whether a GET on a port of 127.0.0.1 is answered with 200.
pub(crate) fn is_ok(port: u16, path: &str) -> bool {
    get_status(port, path).is_some_and(|line| line.contains(" 200 "))
}

/// Whether something listens on a port of 127.0.0.1.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(2)).is_ok()
}

fn get_status(port: u16, path: &str) -> Option<String> {
    let timeout = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // Only the first line is read.
    let _ = stream.take(64).read_to_string(&mut answer);
    answer.lines().next().map(str::to_owned)
}
