//! A scripted HTTP/1.1 server that remembers what it was sent: an application, or a receiver of webhooks.

use std::{
    collections::HashSet,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{
    gate::Watched,
    wire::{Headers, header, read_body, read_head},
};

/// What the server does with each request, on the connection's own thread.
pub(crate) type Script = dyn Fn(&Seen, &mut Answer<'_>) -> io::Result<()> + Send + Sync;

/// A running server; gone when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Watched<Vec<Seen>>,
    script: Box<Script>,
    over: AtomicBool,
    connections: AtomicU64,
}

/// One request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Its place among all requests, from 0.
    pub(crate) nth: usize,
    /// Its connection's place, from 0.
    pub(crate) connection: u64,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn run_id(&self) -> &str {
        self.header("raincheck-run-id").expect("Raincheck-Run-Id")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    pub(crate) fn new(
        script: impl Fn(&Seen, &mut Answer<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::on("127.0.0.1:0".parse().expect("address"), script)
    }

    pub(crate) fn on(
        address: SocketAddr,
        script: impl Fn(&Seen, &mut Answer<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("bind");
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            seen: Watched::new(Vec::new()),
            script: Box::new(script),
            over: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = shared.serve(stream?, connection);
                    io::Result::Ok(())
                });
            }
        });
        Self { address, shared }
    }

    /// Answers each request with a description of it, as JSON.
    pub(crate) fn echo() -> Self {
        Self::new(|seen, answer| {
            let headers: Vec<_> = seen
                .headers
                .iter()
                .map(|(n, v)| format!("{n}: {v}"))
                .collect();
            let body = serde_json::json!({
                "method": seen.method, "target": seen.target, "headers": headers, "body": seen.text(),
            });
            answer.reply(
                200,
                &[("Content-Type", "application/json")],
                body.to_string(),
            )
        })
    }

    /// Answers each request with this status and text.
    pub(crate) fn fixed(status: u16, text: &'static str) -> Self {
        Self::new(move |_, answer| answer.reply(status, &[("Content-Type", "text/plain")], text))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that was received so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.change(|seen| seen.clone())
    }

    /// Waits until `n` requests have been received, and returns all.
    pub(crate) fn wait_for(&self, n: usize) -> Vec<Seen> {
        self.shared.seen.wait(&format!("{n} requests"), |seen| {
            (seen.len() >= n).then(|| seen.clone())
        })
    }

    /// The only request that was received.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.wait_for(1);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// How many requests there were for each run.
    pub(crate) fn distinct_runs(&self) -> HashSet<String> {
        self.seen().iter().map(|s| s.run_id().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, connection: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to = stream;
        loop {
            let (line, headers) = read_head(&mut from)?;
            if header(&headers, "expect").is_some() {
                to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let body = read_body(&mut from, &headers, false)?;
            let mut words = line.split(' ');
            let mut seen = Seen {
                method: words.next().unwrap_or_default().to_owned(),
                target: words.next().unwrap_or_default().to_owned(),
                headers,
                body,
                nth: 0,
                connection,
            };
            self.seen.change(|all| {
                seen.nth = all.len();
                all.push(seen.clone());
            });
            let mut answer = Answer {
                from: &mut from,
                to: &mut to,
                to_head: seen.method == "HEAD",
                close: false,
            };
            (self.script)(&seen, &mut answer)?;
            if answer.close || self.over.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
    }
}

/// Where a script writes.
pub(crate) struct Answer<'a> {
    from: &'a mut BufReader<TcpStream>,
    to: &'a mut TcpStream,
    to_head: bool,
    close: bool,
}

impl Answer<'_> {
    /// A whole answer with a content-length.
    pub(crate) fn reply(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> io::Result<()> {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        if status != 204 && status != 304 {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        if !self.to_head {
            bytes.extend(body);
        }
        self.to.write_all(&bytes)
    }

    pub(crate) fn ok(&mut self, body: impl AsRef<[u8]>) -> io::Result<()> {
        self.reply(200, &[("Content-Type", "text/plain")], body)
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.to.write_all(bytes.as_ref())
    }

    /// Bytes as they come from the other side.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from.read(into)
    }

    /// Closes the connection after this answer.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.close = true;
        Ok(())
    }

    /// Waits until the other side closes the connection.
    pub(crate) fn until_closed(&mut self) -> io::Result<()> {
        self.close = true;
        io::copy(self.from, &mut io::sink()).map(|_| ())
    }
}
