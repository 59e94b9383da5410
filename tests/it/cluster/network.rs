//! A network between replica and database that is cut, falls silent, or is slow.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{Cluster, DATABASE, on, posted};
use crate::harness::{Ask, Server, Setup, encoded, eventually};

/// Passes bytes on to the database, until it is told not to.
struct Relay {
    address: std::net::SocketAddr,
    way: Arc<Mutex<Way>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Connections are closed.
    Cut,
    /// All that passes is late.
    Slow,
}

impl Relay {
    fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let way = Arc::new(Mutex::new(Way::Open));
        let its = Arc::clone(&way);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(database) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                for (from, to) in [(&caller, &database), (&database, &caller)] {
                    let (from, to) = (
                        from.try_clone().expect("clone"),
                        to.try_clone().expect("clone"),
                    );
                    let way = Arc::clone(&its);
                    thread::spawn(move || pass(from, to, &way));
                }
            }
        });
        Self { address, way }
    }

    fn is(&self, way: Way) {
        *self.way.lock().expect("lock") = way;
    }
}

fn pass(mut from: std::net::TcpStream, mut to: std::net::TcpStream, way: &Mutex<Way>) {
    use std::io::{Read, Write};
    let mut bytes = [0; 16384];
    from.set_read_timeout(Some(Duration::from_millis(50)))
        .expect("time-out");
    loop {
        let now = *way.lock().expect("lock");
        if now == Way::Slow {
            thread::sleep(Duration::from_millis(100));
        }
        match now {
            Way::Cut => break,
            Way::Silent => thread::sleep(Duration::from_millis(20)),
            Way::Open | Way::Slow => match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) if to.write_all(&bytes[..count]).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            },
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_network_that_is_cut_falls_silent_or_is_slow_loses_nothing() {
    let application = Server::echo();
    let receiver = Server::fixed(200, "");
    let Some(database) = Cluster::start() else {
        return;
    };
    let relay = Relay::to(database.port());
    let direct = database.database(DATABASE);
    let through = direct.replace(
        &format!(":{}", database.port()),
        &format!(":{}", relay.address.port()),
    );
    let replica = |url: &str| on(url, Setup::new(&application)).start();
    let (cut_off, other) = (replica(&through), replica(&direct));
    let target = format!(
        "/?async=true&webhookEndpoint={}",
        encoded(&receiver.url("/"))
    );
    let mut accepted = Vec::new();
    for (round, way) in [Way::Cut, Way::Silent].into_iter().enumerate() {
        for n in 0..10 {
            let body = format!("{round}-{n}");
            let ask = Ask::post(&*target, &body);
            if n == 5 {
                relay.is(way);
            }
            let reply = cut_off.ask(&ask);
            match reply.status {
                202 => accepted.push(body),
                503 => break,
                status => panic!("{status}"),
            }
        }
        let refused = eventually("a refusal", || {
            let reply = cut_off.ask(&Ask::post("/?async=true", format!("{round}-away")));
            (reply.status == 503).then_some(reply)
        });
        refused.problem(503, "store-unavailable");
        assert_eq!(
            other
                .ask(&Ask::post("/?async=true", format!("{round}-other")))
                .status,
            202
        );
        relay.is(Way::Open);
        eventually("new runs", || {
            let reply = cut_off.ask(&Ask::post("/?async=true", format!("{round}-back")));
            (reply.status == 202).then_some(())
        });
    }
    relay.is(Way::Slow);
    for n in 0..10 {
        let body = format!("slow-{n}");
        assert_eq!(cut_off.ask(&Ask::post(&*target, &body)).status, 202);
        accepted.push(body);
    }
    eventually("every webhook", || {
        (receiver.distinct_runs().len() >= accepted.len()).then_some(())
    });
    let times = posted(&application.seen());
    for body in &accepted {
        assert_eq!(times.get(body), Some(&1), "{body}");
    }
}
