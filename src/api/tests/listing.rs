//! The admin API's list, records and responses.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    house::Answer,
    office::{HERE, Office, office},
};
use crate::{
    model::{
        delivery::{DeliveryError, DeliveryOutcome},
        id::RunId,
        run::{Access, End, Reason},
        time::Clock,
    },
    worker::handoff::Admission,
};

const RECEIVER: &str = "https://hooks.example.com/told?secret=1";

impl Answer {
    fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{:?}", self.body);
        let list = self.json();
        let runs = list["runs"].as_array().unwrap();
        runs.iter()
            .map(|run| run["run_id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts that this is a problem document; returns its detail.
    pub(super) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("raincheck-error"), code);
        let document = self.json();
        assert_eq!(document["type"], format!("/_raincheck/problems/{code}"));
        document["detail"].as_str().unwrap().to_owned()
    }
}

async fn list(office: &Office, query: &str) -> Vec<String> {
    office.get(&format!("/api/v1/runs?{query}")).await.ids()
}

fn texts(ids: &[RunId]) -> Vec<String> {
    ids.iter().map(RunId::to_string).collect()
}

#[tokio::test]
async fn filters_take_what_they_say() {
    let office = office(None);
    let house = &office.house;
    let good = house.answered("GET", "200 OK", Bytes::new()).await;
    let bad = house.answered("GET", "500 No", Bytes::new()).await;
    house.clock.advance(Duration::from_secs(3600));
    let shop = house.start("POST", "shop", Access::Anybody).await.run.id;
    let late = house.start("POST", "app", Access::Anybody).await;
    let timed_out = late.run.id;
    house.end(*late, End::Failed(Reason::Timeout), None).await;
    let dead = house.dead(RECEIVER).await;
    for (query, wanted) in [
        ("", &[dead, timed_out, shop, bad, good][..]),
        ("success=true", &[dead, good]),
        ("success=false", &[timed_out, bad]),
        ("success=true&state=failed", &[]),
        ("state=running&state=failed", &[timed_out, shop, bad]),
        ("state=running,failed&route=app", &[timed_out, bad]),
        ("reason=timeout", &[timed_out]),
        ("reason=timeout,upstream_status", &[timed_out, bad]),
        ("route=shop", &[shop]),
        ("route=nothing", &[]),
        ("name=/jobs/run&until=-30m", &[bad, good]),
        ("name=/other", &[]),
        ("dialect=prefer", &[]),
        ("dialect=cerebrium&limit=1", &[dead]),
        ("since=-15m", &[dead, timed_out, shop]),
        ("delivery=dead", &[dead]),
        ("delivery=pending", &[]),
        ("host=HOOKS.example.com", &[dead]),
        ("host=example.com", &[]),
    ] {
        assert_eq!(list(&office, query).await, texts(wanted), "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let office = office(None);
    let mut started = Vec::new();
    for _ in 0..5 {
        started.push(
            office
                .house
                .start("POST", "app", Access::Anybody)
                .await
                .run
                .id,
        );
    }
    started.reverse();
    let (mut seen, mut target) = (Vec::new(), "/api/v1/runs?limit=2".to_owned());
    let pages = loop {
        let page = office.get(&target).await;
        seen.push(page.ids());
        match page.json()["next_cursor"].as_str() {
            Some(next) => target = format!("/api/v1/runs?limit=2&cursor={next}"),
            None => break seen.len(),
        }
    };
    assert_eq!((pages, seen.concat()), (3, texts(&started)));
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_the_right_ones() {
    let office = office(None);
    for (query, named) in [
        (
            "state=done",
            "queued, running, succeeded, failed, cancelled",
        ),
        ("reason=bad", "upstream_status, timeout"),
        ("dialect=esperanto", "cerebrium, ubidots, prefer"),
        ("delivery=lost", "pending, delivered, dead"),
        ("limit=201", "from 1 to 200"),
        ("cursor=%00", "next_cursor"),
        ("since=tomorrow", "-15m"),
        ("colour=red", "state, success, reason, route"),
    ] {
        let answer = office.get(&format!("/api/v1/runs?{query}")).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.contains(named), "{detail}");
    }
    let record = format!("/api/v1/runs/{}?state=failed", office.house.store.next_id());
    office.get(&record).await.problem(400, "invalid-parameter");
}

#[tokio::test]
async fn a_record_has_the_logs_of_all_attempts() {
    let office = office(None);
    let id = office.house.dead(RECEIVER).await;
    let answer = office.get(&format!("/api/v1/runs/{id}")).await;
    assert_eq!(answer.status, 200);
    let record = answer.json();
    assert_eq!(record["attempts_log"][0]["outcome"], "answered");
    assert_eq!(record["attempts_log"][0]["status"], 200);
    let tried = &record["delivery"]["attempts_log"][0];
    assert_eq!(tried["attempt"], 1);
    assert_eq!(tried["status"], 503);
    assert_eq!(tried["address"], "192.0.2.1:443");
    assert_eq!(tried["answer"], "<b>no</b>");
    assert_eq!(tried["next_attempt_at"], Value::Null);
    assert!(!answer.body.windows(6).any(|part| part == b"secret"));
    let simple = office.get(&format!("/api/v1/runs/{}", id.simple())).await;
    assert_eq!(simple.body, answer.body);
    let listed = office.get("/api/v1/runs").await.json();
    assert_eq!(listed["runs"][0].get("attempts_log"), None);
    assert_eq!(listed["runs"][0]["delivery"].get("attempts_log"), None);
}

#[tokio::test]
async fn what_is_no_run_is_unknown() {
    let office = office(None);
    let unknown = office.house.store.next_id().to_string();
    for id in [unknown.as_str(), "nonsense", "%ff", "0199f00c"] {
        for target in ["", "/response"] {
            let answer = office.get(&format!("/api/v1/runs/{id}{target}")).await;
            answer.problem(404, "unknown-run");
        }
        for target in ["cancel", "redeliver", "repeat"] {
            let answer = office.post(&format!("/api/v1/runs/{id}/{target}")).await;
            answer.problem(404, "unknown-run");
        }
    }
}

#[tokio::test]
async fn a_response_is_replayed_in_a_sandbox() {
    let office = office(None);
    let head = "404 Not Found\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\nLocation: /next";
    let page = Bytes::from("<script>alert(1)</script>");
    let id = office.house.answered("GET", head, page.clone()).await;
    let replay = office.get(&format!("/api/v1/runs/{id}/response")).await;
    assert_eq!((replay.status.as_u16(), &replay.body), (404, &page));
    assert_eq!(replay.header("set-cookie"), "");
    assert_eq!(replay.header("location"), "/next");
    assert_eq!(replay.header("x-content-type-options"), "nosniff");
    let rules: Vec<_> = replay
        .headers
        .get_all("content-security-policy")
        .iter()
        .collect();
    assert_eq!(
        rules,
        ["sandbox", "default-src 'none'; frame-ancestors 'none'"]
    );

    let long = house_body();
    let id = office.house.answered("GET", "200 OK", long.clone()).await;
    let lines = [HERE, ("range", "bytes=199990-")];
    let target = format!("/api/v1/runs/{id}/response");
    let part = office.send("GET", &target, &lines, "").await;
    assert_eq!(
        (part.status.as_u16(), &part.body[..]),
        (206, &long[199_990..])
    );

    let running = office
        .house
        .start("POST", "app", Access::Anybody)
        .await
        .run
        .id;
    let early = office
        .get(&format!("/api/v1/runs/{running}/response"))
        .await;
    assert_eq!(
        (early.status.as_u16(), early.header("retry-after")),
        (202, "1")
    );
    assert_eq!(early.json()["state"], "running");
}

fn house_body() -> Bytes {
    (0..200_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Ten failures in a row at `receiver`.
fn open_breaker(office: &Office, receiver: &str) {
    let failed = DeliveryOutcome::Failed(DeliveryError::Unreachable);
    for _ in 0..10 {
        assert!(office.house.lines.enter(receiver, false));
        office.house.lines.leave(receiver, Some(failed));
    }
}

#[tokio::test]
async fn an_open_breaker_moves_the_next_attempt_in_every_record() {
    let office = office(None);
    let id = office.house.owed(RECEIVER).await;
    let other = office.house.owed("https://other.example/").await;
    let now = office.house.clock.now().to_string();
    let next = async |target: String| {
        let answer = office.get(&target).await.json();
        answer["delivery"]["next_attempt_at"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(next(format!("/api/v1/runs/{id}")).await, now);
    open_breaker(&office, "hooks.example.com:443");
    let breakers = office.get("/api/v1/breakers").await.json();
    let breaker = &breakers["breakers"][0];
    assert_eq!(breaker["receiver"], "hooks.example.com:443");
    assert_eq!(breaker["state"], "open");
    assert_eq!(
        (&breaker["failures"], &breaker["out"]),
        (&json!(10), &json!(0))
    );
    let probe = breaker["probe_at"].as_str().unwrap();
    assert!(probe > now.as_str());
    assert_eq!(next(format!("/api/v1/runs/{id}")).await, probe);
    assert_eq!(next(format!("/api/v1/runs/{other}")).await, now);
    let listed = office
        .get("/api/v1/runs?host=hooks.example.com")
        .await
        .json();
    assert_eq!(listed["runs"][0]["delivery"]["next_attempt_at"], probe);
    let public = office.house.get(&format!("/runs/{id}")).await.json();
    assert_eq!(public["delivery"]["next_attempt_at"], probe);
}

#[tokio::test]
async fn the_statistics_tell_the_state_of_the_whole() {
    let office = office(None);
    office.house.start("POST", "app", Access::Anybody).await;
    office.house.dead(RECEIVER).await;
    open_breaker(&office, "hooks.example.com:443");
    let queued = office.house.queue("app").await;
    office.post(&format!("/api/v1/runs/{queued}/cancel")).await;
    office.house.clock.advance(Duration::from_secs(90));
    let stats = office.get("/api/v1/stats").await.json();
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&stats["uptime_s"], &stats["ready"]),
        (&json!(90), &json!(false))
    );
    let states = json!({"queued": 0, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 1});
    assert_eq!(stats["runs"]["states"], states);
    assert_eq!(stats["runs"]["accepted"], 3);
    let states = json!({"pending": 0, "delivered": 0, "dead": 1});
    assert_eq!(stats["deliveries"]["states"], states);
    let breakers = json!({"open": 1, "half_open": 0, "recovering": 0});
    assert_eq!(stats["deliveries"]["breakers"], breakers);
    assert_eq!(stats["store"]["writable"], true);
    assert!(stats["store"]["bytes"]["database"].as_u64().unwrap() > 0);
    let minutes = stats["minutes"].as_array().unwrap();
    assert_eq!(minutes.len(), 60);
    let cancelled: u64 = minutes
        .iter()
        .map(|one| one["cancelled"].as_u64().unwrap())
        .sum();
    assert_eq!(cancelled, 1);
}
