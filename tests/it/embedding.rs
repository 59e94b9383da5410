//! Raincheck in somebody else's proxy: the example, as a program of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::{Ask, Gate, Reply, Server, Wire, eventually, free_port};

struct Host {
    child: Child,
    address: SocketAddr,
    _store: tempfile::TempDir,
}

impl Host {
    fn start(peer: &Server) -> Self {
        let store = tempfile::tempdir().expect("folder");
        let address = free_port();
        let child = Command::new(example())
            .args([address.to_string(), peer.address().to_string()])
            .arg(store.path().join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the example is built with the tests");
        eventually("the host listens", || {
            std::net::TcpStream::connect(address).ok()
        });
        Self {
            child,
            address,
            _store: store,
        }
    }

    fn ask(&self, ask: &Ask) -> Reply {
        let mut wire = Wire::to(self.address);
        wire.send(ask.bytes(&self.address.to_string()));
        wire.reply()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `target/debug/examples/embed`, beside the tests' own folder.
fn example() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    let folder = own.parent().and_then(|deps| deps.parent());
    folder.expect("a target folder").join("examples/embed")
}

fn keyed(ask: Ask) -> Ask {
    ask.header("X-Key", "open")
}

#[test]
fn a_run_goes_through_the_hosts_filters_once_and_its_peer_answers() {
    let peer = Server::fixed(200, "from the peer");
    let host = Host::start(&peer);
    assert_eq!(host.ask(&Ask::get("/work?async=true")).status, 401);
    let accepted = host.ask(&keyed(Ask::get("/work?async=true&n=1")));
    assert_eq!(accepted.status, 202);
    // The run's own pass has no key that the filter would ask for again: it is the caller's request, later.
    let location = accepted.header("location").expect("location").to_owned();
    let response = location.replace('?', "/response?");
    let response = eventually("the run ends", || {
        let reply = host.ask(&keyed(Ask::get(&response)));
        (reply.status != 202).then_some(reply)
    });
    assert_eq!(
        (response.status, response.text()),
        (200, "from the peer".into())
    );
    let seen = peer.only();
    assert_eq!(seen.target, "/work?n=1");
    assert!(seen.header("raincheck-run-id").is_some());
}

#[test]
fn other_requests_pass_without_our_headers() {
    let peer = Server::fixed(200, "at once");
    let host = Host::start(&peer);
    let ask = keyed(Ask::get("/now")).header("Raincheck-Run-Id", "forged");
    assert_eq!(host.ask(&ask).text(), "at once");
    assert_eq!(peer.only().header("raincheck-run-id"), None);
}

#[test]
fn a_caller_who_waits_goes_through_the_hosts_filters_once_too() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let peer = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            wait.wait();
        }
        answer.ok("from the peer")
    });
    let host = Host::start(&peer);
    let ask = |path: &str, seconds: u32| {
        let wait = format!("respond-async, wait={seconds}");
        keyed(Ask::get(path)).header("Prefer", wait)
    };
    let fast = host.ask(&ask("/fast", 30));
    assert_eq!((fast.status, fast.text()), (200, "from the peer".into()));
    let slow = host.ask(&ask("/slow", 1));
    assert_eq!(slow.status, 202);
    gate.open();
    let location = slow.header("location").expect("location");
    let response = format!("{}&wait=60", location.replace('?', "/response?"));
    assert_eq!(host.ask(&keyed(Ask::get(response))).text(), "from the peer");
    assert_eq!(peer.seen().len(), 2);
}
