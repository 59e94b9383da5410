//! HTTP/1.1 by hand over one connection, so that malformed requests are exact and answers are seen as sent.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// No read waits longer: a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connect"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("time-out");
        stream.set_nodelay(true).expect("no delay");
        Self(BufReader::new(stream))
    }

    /// Sends bytes; an error means that the other side has closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("send");
    }

    /// The next final answer to a request that was no HEAD.
    pub(crate) fn reply(&mut self) -> Reply {
        self.read_reply(false).expect("an answer")
    }

    pub(crate) fn read_reply(&mut self, to_head: bool) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let (line, headers) = read_head(&mut self.0)?;
            let status = line
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .ok_or_else(|| io::Error::other(format!("status line: {line:?}")))?;
            let mut reply = Reply {
                status,
                headers,
                body: Vec::new(),
                interim: Vec::new(),
            };
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            reply.interim = interim;
            if !to_head && !matches!(status, 101 | 204 | 304) {
                reply.body = read_body(&mut self.0, &reply.headers, true)?;
            }
            return Ok(reply);
        }
    }

    /// Reads one interim or final head, and nothing of a body.
    pub(crate) fn head(&mut self) -> (String, Headers) {
        read_head(&mut self.0).expect("a head")
    }

    /// Waits until the other side has closed the connection.
    pub(crate) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "more bytes: {rest:?}"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is still open: {error}"),
        }
    }

    /// Exactly `n` bytes as they come.
    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).expect("bytes");
        bytes
    }

    /// Whether something has come that was not read yet.
    pub(crate) fn has_answer(&mut self) -> bool {
        if !self.0.buffer().is_empty() {
            return true;
        }
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).expect("non-blocking");
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).expect("blocking");
        peeked.is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

/// Header lines in their order, names as they were sent.
pub(crate) type Headers = Vec<(String, String)>;

pub(crate) fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Statuses of the 1xx answers before it.
    pub(crate) interim: Vec<u16>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {self:?}"))
    }

    /// Asserts that this is our problem document with this status and code; returns its detail.
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.header("raincheck-error"), Some(code));
        let document = self.json();
        assert_eq!(document["code"], code);
        assert_eq!(document["status"], status);
        assert_eq!(document["type"], format!("/_raincheck/problems/{code}"));
        let detail = document["detail"].as_str().expect("detail");
        assert!(!detail.is_empty());
        detail.to_owned()
    }
}

/// Reads a request or status line with its header lines.
pub(crate) fn read_head(from: &mut impl BufRead) -> io::Result<(String, Headers)> {
    let first = read_line(from)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads a body by its framing; of an answer without one until the connection's end.
pub(crate) fn read_body(
    from: &mut impl BufRead,
    headers: &Headers,
    is_answer: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(headers, "transfer-encoding").is_some() {
        loop {
            let line = read_line(from)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + size, 0);
            from.read_exact(&mut body[start..])?;
            let end = read_line(from)?;
            if size == 0 {
                if !end.is_empty() {
                    while !read_line(from)?.is_empty() {}
                }
                return Ok(body);
            }
        }
    }
    match header(headers, "content-length") {
        Some(length) => {
            body.resize(length.parse().map_err(io::Error::other)?, 0);
            from.read_exact(&mut body)?;
        }
        None if is_answer => {
            from.read_to_end(&mut body)?;
        }
        None => {}
    }
    Ok(body)
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// One request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: String,
    target: String,
    headers: Headers,
    body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: impl Into<String>, body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", target).body(body)
    }

    pub(crate) fn put(target: impl Into<String>, body: impl AsRef<[u8]>) -> Self {
        Self::new("PUT", target).body(body)
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The request as bytes, with `Host` (unless it has one) and `Content-Length` (if there is a body).
    pub(crate) fn bytes(&self, host: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if header(&self.headers, "host").is_none() {
            bytes.extend(format!("Host: {host}\r\n").bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        if !self.body.is_empty() || self.method == "POST" || self.method == "PUT" {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

/// Percent-encodes all but unreserved bytes, as a caller does with a `webhookEndpoint`.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
