//! The real program with a configuration of its own, in a folder of its own. Dropped, it proves that nothing was lost.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
};

use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use super::{
    books,
    gate::eventually,
    server::Server,
    wire::{Ask, Reply, Wire},
};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_raincheck");

/// A configuration in the making.
pub(crate) struct Setup {
    table: Table,
    environment: Vec<(String, String)>,
    folder: TempDir,
}

impl Setup {
    /// One route `app` at `/` with runs, to `upstream`; webhooks may go to loopback and are tried again at once.
    pub(crate) fn new(upstream: &Server) -> Self {
        Self::to(&upstream.address().to_string())
    }

    pub(crate) fn to(peer: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let text = format!(
            r#"
            [store]
            path = {store:?}
            [webhook]
            allow_networks = ["127.0.0.0/8"]
            schedule = ["0s", "0s", "0s"]
            [upstream.app]
            peers = [{peer:?}]
            [[route]]
            path = "/"
            upstream = "app"
            [route.async]
            "#,
            store = folder.path().join("store")
        );
        let table = text.parse().expect("toml");
        Self {
            table,
            environment: Vec::new(),
            folder,
        }
    }

    /// Sets a key by its path; `route` is the first route.
    pub(crate) fn set(mut self, path: &str, value: impl Into<toml::Value>) -> Self {
        set(&mut self.table, path, value.into());
        self
    }

    /// Sets an environment variable of the program.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds TOML text: tables, upstreams, routes.
    pub(crate) fn add(mut self, text: &str) -> Self {
        let more: Table = text.parse().expect("toml");
        for (key, value) in more {
            match (self.table.get_mut(&key), value) {
                (Some(toml::Value::Array(old)), toml::Value::Array(new)) => old.extend(new),
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) => old.extend(new),
                (_, value) => {
                    self.table.insert(key, value);
                }
            }
        }
        self
    }

    /// The folder that the program runs in and keeps its store in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts where the books cannot be read over plain HTTP without a token.
    pub(crate) fn start_unkept(self) -> Raincheck {
        let mut raincheck = self.start();
        raincheck.keeps_books = false;
        raincheck
    }

    pub(crate) fn start(self) -> Raincheck {
        let mut raincheck = Raincheck {
            table: self.table,
            environment: self.environment,
            public: "127.0.0.1:0".parse().expect("address"),
            admin: "127.0.0.1:0".parse().expect("address"),
            child: None,
            accepted: Mutex::new(Vec::new()),
            keeps_books: true,
            folder: self.folder,
        };
        raincheck.start();
        raincheck
    }
}

fn set(mut table: &mut Table, path: &str, value: toml::Value) {
    let mut steps: Vec<&str> = path.split('.').collect();
    let key = steps.pop().expect("a key");
    for step in steps {
        let next = table.entry(step).or_insert_with(|| Table::new().into());
        table = match next {
            toml::Value::Array(all) => all[0].as_table_mut(),
            one => one.as_table_mut(),
        }
        .expect("a table");
    }
    table.insert(key.to_owned(), value);
}

/// The running program.
pub(crate) struct Raincheck {
    table: Table,
    environment: Vec<(String, String)>,
    public: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
    accepted: Mutex<Vec<String>>,
    keeps_books: bool,
    folder: TempDir,
}

impl Raincheck {
    /// Starts (again) on new free ports, and returns when it is ready.
    pub(crate) fn start(&mut self) {
        // A free port may be taken by somebody else before it is bound: then the program says 69, and others are tried.
        for _ in 0..5 {
            match self.try_start() {
                Ok(()) => return,
                Err(Some(69)) => {}
                Err(code) => panic!("exit {code:?} at start:\n{}", self.log()),
            }
        }
        panic!("no free ports");
    }

    /// Starts; the exit code if it ends before it is ready.
    pub(crate) fn try_start(&mut self) -> Result<(), Option<i32>> {
        assert!(self.child.is_none(), "already running");
        let (public, admin) = (reserve(), reserve());
        self.public = public.local_addr().expect("address");
        self.admin = admin.local_addr().expect("address");
        drop((public, admin));
        let mut listener = Table::new();
        listener.insert("address".into(), self.public.to_string().into());
        if let Some(old) = self.table.get("listener").and_then(|l| l.get(0)) {
            for (key, value) in old.as_table().expect("table") {
                listener.entry(key).or_insert_with(|| value.clone());
            }
            listener.insert("address".into(), self.public.to_string().into());
        }
        let table = &mut self.table;
        table.insert("listener".into(), vec![toml::Value::from(listener)].into());
        let admin = table.entry("admin").or_insert_with(|| Table::new().into());
        let admin = admin.as_table_mut().expect("table");
        admin.insert("address".into(), self.admin.to_string().into());
        let file = self.config_file();
        fs::write(&file, self.table.to_string()).expect("write");
        let mut child = self.spawn(&[]);
        let code = eventually("the program to be ready", || {
            if let Some(status) = child.try_wait().expect("wait") {
                return Some(Err(status.code()));
            }
            let ready = try_get(self.admin, "/readyz").is_some_and(|reply| reply.status == 200);
            (ready && std::net::TcpStream::connect(self.public).is_ok()).then_some(Ok(()))
        });
        if code.is_ok() {
            self.child = Some(child);
        }
        code
    }

    /// Sets a key for the next start, as [`Setup::set`] does.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<toml::Value>) {
        set(&mut self.table, path, value.into());
    }

    /// Sets a key in the file of the running program, as [`Setup::set`] does.
    pub(crate) fn rewrite(&mut self, path: &str, value: impl Into<toml::Value>) {
        self.set(path, value);
        fs::write(self.config_file(), self.table.to_string()).expect("write");
    }

    /// Has the file read again, and returns when that is done.
    pub(crate) fn reload(&self) -> Reply {
        let mut wire = Wire::to(self.admin);
        wire.send(Ask::post("/api/v1/reload", "").bytes("127.0.0.1"));
        wire.reply()
    }

    /// Starts `serve` with the configuration as it is in its file.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("log");
        Command::new(PROGRAM)
            .args(["serve", "--config"])
            .arg(self.config_file())
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("start")
    }

    /// Goes on with this process, which was not ready when it was started.
    pub(crate) fn is(&mut self, child: Child) {
        assert!(self.child.is_none(), "already running");
        self.child = Some(child);
    }

    /// Goes on with another process on the same listeners; the one before is returned.
    pub(crate) fn go_on_with(&mut self, child: Child) -> Child {
        self.child.replace(child).expect("running")
    }

    /// Goes on with the admin listener elsewhere.
    pub(crate) fn admin_is_at(&mut self, address: SocketAddr) {
        self.admin = address;
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("raincheck.toml")
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// A new connection to the public listener.
    pub(crate) fn wire(&self) -> Wire {
        Wire::to(self.public)
    }

    /// Sends a request over a connection of its own and returns the answer; a 202 is remembered.
    pub(crate) fn ask(&self, ask: &Ask) -> Reply {
        self.ask_on(&mut self.wire(), ask)
    }

    pub(crate) fn ask_on(&self, wire: &mut Wire, ask: &Ask) -> Reply {
        self.try_ask(wire, ask).expect("an answer")
    }

    /// The same, where the program may be gone midway.
    pub(crate) fn try_ask(&self, wire: &mut Wire, ask: &Ask) -> std::io::Result<Reply> {
        wire.try_send(&ask.bytes(&self.public.to_string()))?;
        let reply = wire.read_reply(ask.is_head())?;
        self.remember(&reply);
        Ok(reply)
    }

    /// Remembers a run that was answered 202.
    pub(crate) fn remember(&self, reply: &Reply) {
        if let (202, Some(location)) = (reply.status, reply.header("location")) {
            self.accepted
                .lock()
                .expect("lock")
                .push(location.to_owned());
        }
    }

    pub(crate) fn get(&self, target: impl Into<String>) -> Reply {
        self.ask(&Ask::get(target))
    }

    /// Asks for a run and returns it.
    pub(crate) fn run(&self, ask: &Ask) -> RunHandle {
        let reply = self.ask(ask);
        assert_eq!(reply.status, 202, "{}", reply.text());
        RunHandle::of(&reply)
    }

    /// The record as the public listener shows it to who has the token.
    pub(crate) fn record(&self, run: &RunHandle) -> Value {
        self.get(&run.location).json()
    }

    /// Waits for a run's end, and returns its record.
    pub(crate) fn finished(&self, run: &RunHandle) -> Value {
        self.record_when(run, "the run's end", |record| !record["success"].is_null())
    }

    pub(crate) fn record_when(
        &self,
        run: &RunHandle,
        what: &str,
        ready: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(what, || {
            let record = self.record(run);
            ready(&record).then_some(record)
        })
    }

    /// Waits for the end of a run's delivery, and returns the run's record.
    pub(crate) fn delivered(&self, run: &RunHandle) -> Value {
        self.record_when(run, "the delivery's end", |record| {
            let state = &record["delivery"]["state"];
            state == "delivered" || state == "dead"
        })
    }

    /// A finished run's response.
    pub(crate) fn response(&self, run: &RunHandle) -> Reply {
        self.get(run.response())
    }

    pub(crate) fn admin_get(&self, target: &str) -> Reply {
        try_get(self.admin, target).expect("an answer of the admin listener")
    }

    /// The sum of a metric over all its lines that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        books::metric(&self.admin_get("/metrics").text(), name, labels)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("pid");
        rustix::process::kill_process(pid, signal).expect("signal");
    }

    /// SIGTERM; the exit status is asked for with [`Raincheck::wait`].
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        eventually("the program's end", || child.try_wait().expect("wait"))
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn assert_nothing_lost(&self) {
        books::assert_balanced(&self.admin_get("/metrics").text());
        let mut wire = self.wire();
        for location in self.accepted.lock().expect("lock").iter() {
            let reply = self.ask_on(&mut wire, &Ask::get(location));
            assert!(
                matches!(reply.status, 200 | 202),
                "{location} was answered 202 and is {} now",
                reply.status
            );
        }
    }
}

impl Drop for Raincheck {
    #[expect(clippy::print_stderr, reason = "a failed test shows the program's log")]
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            for line in lines.iter().rev() {
                eprintln!("| {line}");
            }
        } else if self.child.is_some() && self.keeps_books {
            self.assert_nothing_lost();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the 202 said of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunHandle {
    pub(crate) id: String,
    pub(crate) location: String,
}

impl RunHandle {
    pub(crate) fn of(reply: &Reply) -> Self {
        Self {
            id: reply
                .header("x-request-id")
                .expect("X-Request-Id")
                .to_owned(),
            location: reply.header("location").expect("Location").to_owned(),
        }
    }

    pub(crate) fn token(&self) -> &str {
        self.location.split_once("?token=").expect("token").1
    }

    /// The response's target, with the token.
    pub(crate) fn response(&self) -> String {
        self.location.replacen('?', "/response?", 1)
    }

    /// The record's target, without the token.
    pub(crate) fn bare(&self) -> String {
        format!("/_raincheck/runs/{}", self.id)
    }
}

/// An address on 127.0.0.1 that nobody listens on at the moment.
pub(crate) fn free_port() -> SocketAddr {
    reserve().local_addr().expect("address")
}

fn reserve() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("bind")
}

pub(crate) fn try_get(address: SocketAddr, target: &str) -> Option<Reply> {
    let stream = std::net::TcpStream::connect(address).ok()?;
    let mut wire = Wire::over(stream);
    let bytes = Ask::get(target).bytes(&address.to_string());
    wire.try_send(&bytes).ok()?;
    wire.read_reply(false).ok()
}
