//! A PostgreSQL of the test's own: a temporary cluster, not as root, on a free port. Include it with
//! `#[path = "…/tests/common/postgres.rs"] mod postgres;`.
#![allow(dead_code, reason = "not each of those who include it needs all")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// The running server. Dropped, it ends at once, with all that it holds.
pub(crate) struct Cluster {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
}

/// Where Debian puts the programs of a version; the newest.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// The server refuses to be root's.
fn command(program: &Path) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

impl Cluster {
    /// Makes and starts one; none, and a word about it, if PostgreSQL is not installed here.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("skipped: PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().expect("folder");
        let _ = Command::new("chown")
            .arg("postgres:")
            .arg(folder.path())
            .status();
        let data = folder.path().join("data");
        let made = command(&programs.join("initdb"))
            .args([
                "--auth=trust",
                "--username=raincheck",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .expect("initdb");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut cluster = Self {
            folder,
            port: free_port(),
            server: None,
        };
        cluster.go_on();
        Some(cluster)
    }

    /// A standby of it, which takes part in each commit.
    pub(crate) fn standby(&mut self) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        self.own(folder.path());
        let programs = programs().expect("they were there");
        let copied = command(&programs.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "raincheck", "-R", "-X", "stream"])
            .args(["-c", "fast", "-p", &self.port.to_string(), "-D"])
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .output()
            .expect("pg_basebackup");
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "{said}");
        let mut standby = Self {
            folder,
            port: free_port(),
            server: None,
        };
        standby.go_on();
        self.configure("synchronous_standby_names = '*'");
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.ask("postgres", "SELECT pg_promote()");
    }

    /// Adds a setting, and restarts.
    pub(crate) fn configure(&mut self, setting: &str) {
        let file = self.folder.path().join("data/postgresql.conf");
        let text = fs::read_to_string(&file).expect("settings");
        fs::write(&file, format!("{text}\n{setting}\n")).expect("settings");
        self.kill();
        self.go_on();
    }

    /// Puts a file into the server's folder, which it alone may read.
    pub(crate) fn keep(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.folder.path().join("data").join(name);
        fs::write(&file, text).expect("file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
        self.own(&file);
    }

    /// Gives a folder or file to the user that the server runs as.
    pub(crate) fn own(&self, path: &Path) {
        let _ = Command::new("chown").arg("postgres:").arg(path).status();
    }

    /// Starts the server, or starts it again after [`Cluster::kill`].
    pub(crate) fn go_on(&mut self) {
        let programs = programs().expect("they were there");
        let server = command(&programs.join("postgres"))
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres");
        let server = self.server.insert(server);
        wait_for("PostgreSQL", || {
            let ended = server.try_wait().expect("wait");
            assert!(ended.is_none(), "PostgreSQL ended: {ended:?}");
            let ready = Command::new(programs.join("pg_isready"))
                .args(["-q", "-t", "1", "-h", "127.0.0.1", "-p"])
                .arg(self.port.to_string())
                .status();
            ready.is_ok_and(|ready| ready.success())
        });
    }

    /// kill -9 of the server and all that it has started.
    pub(crate) fn kill(&mut self) {
        let processes = self.processes();
        let Some(mut server) = self.server.take() else {
            return;
        };
        let _ = server.kill();
        let _ = server.wait();
        for process in processes {
            let _ = Command::new("kill")
                .args(["-9", &process.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }

    /// The processes of the server.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let Some(server) = self.server.as_ref().map(Child::id) else {
            return Vec::new();
        };
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let children = children.unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        children.chain([server]).collect()
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A new database, by its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        let programs = programs().expect("they were there");
        let made = Command::new(programs.join("createdb"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "raincheck",
                name,
            ])
            .output()
            .expect("createdb");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        self.url(name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://raincheck@127.0.0.1:{}/{name}", self.port())
    }

    /// What a query answers, one line a row.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        let programs = programs().expect("they were there");
        let asked = Command::new(programs.join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "raincheck",
            ])
            .args(["-d", database, "-Atc", sql])
            .output()
            .expect("psql");
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    }
}

/// A PgBouncer in transaction mode, with fewer connections than a replica takes.
pub(crate) struct Bouncer {
    _folder: TempDir,
    port: u16,
    process: Child,
}

impl Bouncer {
    /// Between callers and the databases of `cluster`; none, and a word about it, if it is not installed here.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn start(cluster: &Cluster) -> Option<Self> {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !program.exists() {
            eprintln!("skipped: PgBouncer is not installed (Debian: pgbouncer)");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        cluster.own(folder.path());
        let (port, behind) = (free_port(), cluster.port);
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={behind} user=raincheck\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("settings");
        cluster.own(&file);
        let bouncer = Self {
            process: command(program)
                .arg("-q")
                .arg(&file)
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("pgbouncer"),
            _folder: folder,
            port,
        };
        wait_for("PgBouncer", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(bouncer)
    }

    /// The URL of a database through it.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://raincheck@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Until a server that was started takes connections.
fn wait_for(server: &str, mut is_ready: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{server} did not start");
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("port");
    free.local_addr().expect("address").port()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}
