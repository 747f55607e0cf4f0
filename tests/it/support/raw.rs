//! Requests over a real connection, with whatever bytes a test wants in a field.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::http::Answer;

/// Sends `GET path` to a port of this machine, with these `Authorization` fields, byte for byte.
pub(crate) async fn get(port: u16, path: &str, authorization: &[Vec<u8>]) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: service.example\r\n").into_bytes();
    for field in authorization {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(field);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"Connection: close\r\n\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it is served");
    stream.write_all(&request).await.expect("it is taken");
    let mut response = Vec::new();
    // One that refuses the head may not have read it all, and reset the connection behind its answer.
    let read = stream.read_to_end(&mut response).await;
    parse(&response).unwrap_or_else(|| panic!("no answer: {read:?}"))
}

/// A response that ends with its connection, or with its length.
fn parse(response: &[u8]) -> Option<Answer> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&response[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse::<StatusCode>().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.parse::<HeaderName>().ok()?, value.trim());
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    let body = String::from_utf8(response[end + 4..].to_vec()).ok()?;
    Some(Answer { status, headers, body, rejection: None })
}
