//! `Idempotency-Key`

use crate::harness::{Ask, Server, Setup};

fn ask(key: &str, body: &str) -> Ask {
    Ask::post("/pay?async=true", body).header("Idempotency-Key", key)
}

#[test]
fn the_same_key_and_request_get_the_first_202_again() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let first = proxy.ask(&ask("k1", "body"));
    assert_eq!(first.header("idempotent-replayed"), None);
    let second = proxy.ask(&ask("\"k1\"", "body"));
    assert_eq!(second.status, 202);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("location"), first.header("location"));
    proxy.finished(&crate::harness::RunHandle::of(&first));
    let third = proxy.ask(&ask("k1", "body"));
    assert_eq!(third.body, first.body);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn the_same_key_with_another_request_is_422() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    proxy.run(&ask("k1", "body"));
    proxy
        .ask(&ask("k1", "other"))
        .problem(422, "idempotency-key-reused");
    let target = Ask::post("/other?async=true", "body").header("Idempotency-Key", "k1");
    proxy.ask(&target).problem(422, "idempotency-key-reused");
    let method = Ask::new("PUT", "/pay?async=true").header("Idempotency-Key", "k1");
    proxy.ask(&method).problem(422, "idempotency-key-reused");
}

#[test]
fn keys_belong_to_their_owner() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let of = |name: &str, value: &str| {
        let reply = proxy.ask(&ask("k1", "body").header(name, value));
        assert_eq!(reply.status, 202);
        reply.header("x-request-id").expect("id").to_owned()
    };
    let ann = of("Authorization", "Bearer ann");
    assert_eq!(ann, of("Authorization", "Bearer ann"));
    let others = [
        of("Authorization", "Bearer bob"),
        of("Cookie", "c=1"),
        of("Cookie", "c=2"),
    ];
    assert!(!others.contains(&ann));
    assert_ne!(others[1], others[2]);
}

#[test]
fn keys_survive_a_restart() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    let first = proxy.run(&ask("k1", "body"));
    proxy.kill();
    proxy.start();
    assert_eq!(proxy.run(&ask("k1", "body")).id, first.id);
}

#[test]
fn many_at_once_start_one_run() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let ids: std::collections::HashSet<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| proxy.run(&ask("k1", "body")).id))
            .collect();
        all.into_iter()
            .map(|one| one.join().expect("a run"))
            .collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(upstream.wait_for(1).len(), 1);
}

#[test]
fn another_header_can_hold_the_key() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.idempotency_header", "X-GitHub-Delivery")
        .start();
    let ask = || Ask::post("/?async=true", "x").header("X-GitHub-Delivery", "d1");
    assert_eq!(proxy.run(&ask()).id, proxy.run(&ask()).id);
}
