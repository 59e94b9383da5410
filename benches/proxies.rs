//! The two proxies under test, each a process of its own: bare Pingora, and the real binary with a configuration.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::process::Process;

/// A proxy and where it listens.
pub(crate) struct Proxy {
    /// Its process.
    pub(crate) process: Process,
    /// `host:port` of its listener.
    pub(crate) address: String,
    /// `host:port` of its admin listener; empty for those that have none.
    pub(crate) admin: String,
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address: SocketAddr = listener
        .local_addr()
        .expect("a bound listener has an address");
    address.to_string()
}

/// Bare Pingora in front of `peer`: this executable again, in the role `bare` (see [`crate::bare::serve`]).
pub(crate) async fn bare(peer: &str) -> Proxy {
    let address = free_address();
    let program = std::env::current_exe().expect("a running program has a path");
    let process = Process::start(
        Command::new(program)
            .args(["bare", &address, peer])
            .stderr(Stdio::null()),
    );
    listening(&address).await;
    let admin = String::new();
    Proxy {
        process,
        address,
        admin,
    }
}

/// The real binary in front of `peer`, with its state in `folder` and `more` at the end of its configuration.
pub(crate) async fn raincheck(peer: &str, folder: &Path, more: &str) -> Proxy {
    let (address, admin, file) = configured(peer, folder, more);
    let log = fs::File::create(folder.join("log")).expect("the folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    command
        .args(["serve", "--config"])
        .arg(&file)
        .stderr(log)
        .stdout(Stdio::null());
    let process = Process::start(&mut command);
    listening(&address).await;
    Proxy {
        process,
        address,
        admin,
    }
}

/// The same on a database: `more` as before, the store in place of the embedded one.
pub(crate) async fn on_postgres(peer: &str, folder: &Path, url: &str, more: &str) -> Proxy {
    let (address, admin, file) = configured(peer, folder, more);
    let config = fs::read_to_string(&file).expect("it was written");
    let store = format!("[store]\nkind = \"postgres\"\nurl = \"{url}\"");
    fs::write(&file, config.replace("[store]", &store)).expect("the folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    command
        .args(["serve", "--config"])
        .arg(&file)
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let process = Process::start(&mut command);
    listening(&address).await;
    Proxy {
        process,
        address,
        admin,
    }
}

/// The same on the store in memory: this executable again, in the role `memory` (see [`crate::accept::serve`]).
pub(crate) async fn in_memory(peer: &str, folder: &Path, more: &str) -> Proxy {
    let (address, admin, file) = configured(peer, folder, more);
    let program = std::env::current_exe().expect("a running program has a path");
    let process = Process::start(Command::new(program).arg("memory").arg(file));
    listening(&address).await;
    Proxy {
        process,
        address,
        admin,
    }
}

/// Writes a configuration; its listener's address, the admin listener's, and the file.
fn configured(peer: &str, folder: &Path, more: &str) -> (String, String, PathBuf) {
    let (address, admin) = (free_address(), free_address());
    let file = folder.join("raincheck.toml");
    let config = format!(
        r#"
[[listener]]
address = "{address}"
[admin]
address = "{admin}"
[store]
path = "{}"
[webhook]
allow_networks = ["127.0.0.0/8"]
[upstream.app]
peers = ["{peer}"]
[[route]]
name = "app"
path = "/"
upstream = "app"
[route.async]
{more}
"#,
        folder.join("store").display()
    );
    fs::write(&file, config).expect("the folder can be written");
    (address, admin, file)
}

/// Waits until `address` accepts connections, 30 s at most.
pub(crate) async fn listening(address: &str) {
    for _ in 0..3000 {
        if TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} did not listen within 30 s");
}
