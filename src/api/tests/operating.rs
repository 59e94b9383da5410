//! The admin listener: who is answered, and what.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::house::House;
use crate::{
    api::AdminApp,
    config::Admin,
    model::{
        run::{Access, End},
        secret::Secret,
    },
    worker::readiness::{Phase, Readiness},
};

struct Office {
    house: House,
    readiness: Arc<Readiness>,
    app: AdminApp,
}

fn office(token: Option<&str>) -> Office {
    let house = House::open();
    let readiness = Arc::new(Readiness::default());
    let config = Admin {
        address: "127.0.0.1:0".into(),
        hosts: vec!["Ops.Example.com".into()],
        token: token.map(|token| Secret::new(token.as_bytes())),
    };
    let (store, metrics) = (house.store.clone(), house.metrics.clone());
    let app = AdminApp::new(&config, store, metrics, readiness.clone());
    Office {
        house,
        readiness,
        app,
    }
}

impl Office {
    async fn ask(&self, path: &str, lines: &[(&str, &str)]) -> (StatusCode, String) {
        let mut request = Request::builder().uri(path);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.0.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

const HERE: (&str, &str) = ("host", "127.0.0.1:9180");

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
            office.ask("/livez", &[("host", host)]).await.0,
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
            assert_eq!(office.ask(path, lines).await.0, 421, "{lines:?}");
        }
    }
    let absolute = office.ask("http://evil.example/livez", &[HERE]).await;
    assert_eq!(absolute.0, 421);
}

#[tokio::test]
async fn metrics_need_the_token_and_health_does_not() {
    let office = office(Some("s3cret"));
    let with = async |value| {
        office
            .ask("/metrics", &[HERE, ("authorization", value)])
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
    assert_eq!(office.ask("/metrics", &[HERE]).await.0, 401);
    assert_eq!(office.ask("/livez", &[HERE]).await.0, 200);
    assert_eq!(office.ask("/readyz", &[HERE]).await.0, 503);
    assert_eq!(office.ask("/nothing", &[HERE]).await.0, 404);
}

#[tokio::test]
async fn readiness_is_told_with_the_stores() {
    let office = office(None);
    let told = async || office.ask("/readyz", &[HERE]).await;
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
    let (status, text) = office.ask("/metrics", &[HERE]).await;
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
