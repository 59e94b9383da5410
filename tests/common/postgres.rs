//! A PostgreSQL of the test's own: a temporary cluster, not as root, on a free port. Include it with
//! `#[path = "…/tests/common/postgres.rs"] mod postgres;`.

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
        let free = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = free.local_addr().expect("address").port();
        drop(free);
        let mut cluster = Self {
            folder,
            port,
            server: None,
        };
        cluster.go_on();
        Some(cluster)
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
        for _ in 0..600 {
            let ended = server.try_wait().expect("wait");
            assert!(ended.is_none(), "PostgreSQL ended: {ended:?}");
            let ready = Command::new(programs.join("pg_isready"))
                .args([
                    "-q",
                    "-t",
                    "1",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &self.port.to_string(),
                ])
                .status();
            if ready.is_ok_and(|ready| ready.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start");
    }

    /// kill -9 of the server and all that it has started.
    pub(crate) fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let _ = server.kill();
        let _ = server.wait();
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-9", child]).status();
        }
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

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}
