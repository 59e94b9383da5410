//! The admin listener: who is answered, and what.

use super::office::{HERE, Office, office};
use crate::{
    model::run::{Access, End},
    worker::readiness::Phase,
};

impl Office {
    async fn look(&self, path: &str, lines: &[(&str, &str)]) -> (u16, String) {
        let answer = self.send("GET", path, lines, "").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.status.as_u16(), text)
    }
}

#[tokio::test]
async fn only_our_own_names_are_answered() {
    let office = office(None);
    for host in [
        "127.0.0.1",
        "10.0.0.7:9180",
        "[::1]:9180",
        "[::1]",
        "localhost",
        "LOCALHOST:9180",
        "ops.example.com",
        "ops.example.com:443",
    ] {
        assert_eq!(
            office.look("/livez", &[("host", host)]).await.0,
            200,
            "{host}"
        );
    }
    for lines in [
        &[("host", "evil.example")][..],
        &[("host", "localhost.evil.example")],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "")],
        &[("host", "a b")],
        &[HERE, HERE],
        &[],
    ] {
        for path in ["/livez", "/readyz", "/metrics", "/nothing"] {
            assert_eq!(office.look(path, lines).await.0, 421, "{lines:?}");
        }
    }
    let absolute = office.look("http://evil.example/livez", &[HERE]).await;
    assert_eq!(absolute.0, 421);
}

#[tokio::test]
async fn metrics_need_the_token_and_health_does_not() {
    let office = office(Some("s3cret"));
    let with = async |value| {
        office
            .look("/metrics", &[HERE, ("authorization", value)])
            .await
            .0
    };
    assert_eq!(with("Bearer s3cret").await, 200);
    assert_eq!(with("bearer  s3cret ").await, 200);
    for wrong in [
        "Bearer s3cre",
        "Bearer s3crets",
        "Bearer ",
        "Basic s3cret",
        "s3cret",
        "é",
    ] {
        assert_eq!(with(wrong).await, 401, "{wrong}");
    }
    assert_eq!(office.look("/metrics", &[HERE]).await.0, 401);
    assert_eq!(office.look("/livez", &[HERE]).await.0, 200);
    assert_eq!(office.look("/readyz", &[HERE]).await.0, 503);
    assert_eq!(office.look("/nothing", &[HERE]).await.0, 404);
}

#[tokio::test]
async fn readiness_is_told_with_the_stores() {
    let office = office(None);
    let told = async || office.look("/readyz", &[HERE]).await;
    assert_eq!(told().await.0, 503);
    office.readiness.advance(Phase::Ready);
    let (status, body) = told().await;
    assert_eq!(status, 200);
    assert_eq!(body, "{\"ready\":true,\"store_writable\":true}\n");
    office.readiness.advance(Phase::Draining);
    assert_eq!(told().await.0, 503);
}

#[tokio::test]
async fn the_books_balance() {
    let office = office(None);
    office.house.start("POST", "app", Access::Anybody).await;
    let ended = office.house.start("POST", "app", Access::Anybody).await;
    office.house.end(*ended, End::Succeeded, None).await;
    let (status, text) = office.look("/metrics", &[HERE]).await;
    assert_eq!(status, 200);
    for line in [
        "raincheck_store_runs_accepted 2",
        "raincheck_store_runs{state=\"running\"} 1",
        "raincheck_store_runs{state=\"succeeded\"} 1",
        "raincheck_store_runs{state=\"failed\"} 0",
        "raincheck_store_writable 1",
    ] {
        assert!(
            text.contains(&format!("{line}\n")),
            "{line} is missing in\n{text}"
        );
    }
    assert!(text.contains("\nprocess_cpu_seconds_total "));
}
