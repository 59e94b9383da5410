//! Records and cancelling: what is shown of a run, and to whom.

use std::time::Duration;

use bytes::Bytes;

use super::house::{House, RETENTION};
use crate::model::run::{Access, End, Reason};

#[tokio::test]
async fn an_unfinished_run_is_202_and_a_finished_one_200() {
    let house = House::open();
    let claim = house.start("POST", "app", Access::Anybody).await;
    let id = claim.run.id;
    let running = house.get(&format!("/runs/{id}")).await;
    assert_eq!(running.status, 202);
    assert_eq!(running.header("retry-after"), "1");
    assert_eq!(running.header("raincheck-run-state"), "running");
    assert_eq!(running.json()["state"], "running");
    assert_eq!(running.json()["success"], serde_json::Value::Null);
    assert!(running.body.ends_with(b"}\n"));

    house.end(*claim, End::Failed(Reason::Timeout), None).await;
    let failed = house.get(&format!("/runs/{}", id.simple())).await;
    assert_eq!(failed.status, 200);
    assert_eq!(failed.header("cache-control"), "no-store");
    assert_eq!(failed.header("referrer-policy"), "no-referrer");
    assert_eq!(failed.header("raincheck-run-state"), "failed");
    assert_eq!(failed.header("retry-after"), "");
    assert_eq!(failed.json()["reason"], "timeout");
    assert_eq!(failed.json()["success"], false);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let house = House::open();
    let claim = house.start("POST", "app", Access::Anybody).await;
    let target = format!("/runs/{}", claim.run.id);
    let (get, head) = (
        house.get(&target).await,
        house.ask("HEAD", &target, &[]).await,
    );
    assert_eq!((head.status, head.body.len()), (get.status, 0));
    assert_eq!(head.headers, get.headers);
    assert_eq!(head.header("content-length"), get.body.len().to_string());
}

#[tokio::test]
async fn an_owned_run_is_shown_by_token_and_owner_headers_alone() {
    let house = House::open();
    let claim = house.start("POST", "app", house.owned_by("Bearer a")).await;
    let id = claim.run.id;
    let token = house.token(id);
    let target = format!("/runs/{id}");
    let header = [("raincheck-run-token", token.as_str())];
    let status =
        async |target: &str, lines: &[(&str, &str)]| house.ask("GET", target, lines).await.status;
    assert_eq!(status(&format!("{target}?token={token}"), &[]).await, 202);
    assert_eq!(
        status(&format!("{target}?a=b&token={token}&c"), &[]).await,
        202
    );
    assert_eq!(status(&target, &header).await, 202);
    assert_eq!(status(&target, &[("authorization", "Bearer a")]).await, 202);
    for lines in [
        &[][..],
        &[("authorization", "Bearer b")],
        &[("raincheck-run-token", "nonsense")],
        &[("cookie", "a=b")],
    ] {
        assert_eq!(status(&target, lines).await, 404);
        assert_eq!(house.ask("DELETE", &target, lines).await.status, 404);
        let response = format!("{target}/response");
        assert_eq!(status(&response, lines).await, 404);
    }
    let other = house.token(house.store.next_id());
    assert_eq!(status(&format!("{target}?token={other}"), &[]).await, 404);
}

#[tokio::test]
async fn a_hidden_run_looks_exactly_like_an_unknown_one() {
    let house = House::open();
    let hidden = house.start("POST", "shop", Access::TokenOnly).await.run.id;
    let unknown = house.store.next_id();
    for origin in [
        "https://shop.example",
        "https://open.example",
        "https://foreign.example",
    ] {
        for target in ["", "/response"] {
            let lines = [("origin", origin)];
            let hidden = house
                .ask("GET", &format!("/runs/{hidden}{target}"), &lines)
                .await;
            let unknown = house
                .ask("GET", &format!("/runs/{unknown}{target}"), &lines)
                .await;
            assert_eq!(hidden.status, 404);
            assert_eq!(
                (hidden.headers, hidden.body),
                (unknown.headers, unknown.body)
            );
        }
    }
    let nonsense = house.get("/runs/nonsense").await;
    assert_eq!(nonsense.status, 404);
    assert_eq!(nonsense.header("raincheck-error"), "unknown-run");
    assert_eq!(nonsense.json()["type"], "/_raincheck/problems/unknown-run");
    assert_eq!(house.get("/runs/%ff").await.status, 404);
}

#[tokio::test]
async fn a_cancel_is_stored_closes_the_attempt_and_can_be_repeated() {
    let house = House::open();
    let claim = house.start("POST", "app", Access::Anybody).await;
    let target = format!("/runs/{}", claim.run.id);
    let entered = house.live.enter(claim.run.id);
    let cancelled = house.ask("DELETE", &target, &[]).await;
    entered.cancelled().await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(cancelled.json()["state"], "cancelled");
    assert_eq!(cancelled.header("raincheck-run-state"), "cancelled");
    let again = house.ask("DELETE", &target, &[]).await;
    assert_eq!(
        (again.status, again.body),
        (cancelled.status, cancelled.body)
    );
    let labels = ["app", "cancelled", ""];
    assert_eq!(
        house.metrics.runs_finished.with_label_values(&labels).get(),
        1
    );
    let response = house.get(&format!("{target}/response")).await;
    assert_eq!(response.status, 409);
    assert_eq!(response.json()["code"], "run-cancelled");
}

#[tokio::test]
async fn a_finished_run_cannot_be_cancelled() {
    let house = House::open();
    let id = house.answered("POST", "200 OK", Bytes::new()).await;
    let refused = house.ask("DELETE", &format!("/runs/{id}"), &[]).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.header("raincheck-error"), "run-finished");
    assert_eq!(refused.header("raincheck-run-state"), "succeeded");
    assert_eq!(refused.json()["run_id"], id.to_string());
}

#[tokio::test]
async fn an_expired_run_is_gone() {
    let house = House::open();
    let id = house.answered("POST", "200 OK", Bytes::new()).await;
    house.clock.advance(RETENTION + Duration::from_secs(1));
    while house.store.tidy().await.unwrap().more {}
    for method in ["GET", "DELETE"] {
        let gone = house.ask(method, &format!("/runs/{id}"), &[]).await;
        assert_eq!(gone.status, 410);
        assert_eq!(gone.header("raincheck-error"), "run-expired");
    }
    assert_eq!(house.get(&format!("/runs/{id}/response")).await.status, 410);
}

#[tokio::test]
async fn other_methods_and_resources_are_refused() {
    let house = House::open();
    let id = house.start("POST", "app", Access::Anybody).await.run.id;
    let post = house.ask("POST", &format!("/runs/{id}"), &[]).await;
    assert_eq!(post.status, 405);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        assert!(
            post.header("allow").contains(method),
            "{}",
            post.header("allow")
        );
    }
    let delete = house
        .ask("DELETE", &format!("/runs/{id}/response"), &[])
        .await;
    assert_eq!(delete.status, 405);
    assert!(!delete.header("allow").contains("DELETE"));
    assert_eq!(house.get("/runs").await.status, 404);
    assert_eq!(house.get("/").await.json()["code"], "no-route");
    assert_eq!(house.get("/problems/timeout").await.status, 200);
    assert_eq!(house.get("/problems/nonsense").await.status, 404);
}

#[tokio::test]
async fn a_preflight_goes_by_the_rule_of_the_runs_own_route() {
    let house = House::open();
    let shop = house.start("POST", "shop", Access::Anybody).await.run.id;
    let unknown = house.store.next_id();
    let preflight = async |id: crate::model::id::RunId, origin: &str| {
        let lines = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
        ];
        let answer = house.ask("OPTIONS", &format!("/runs/{id}"), &lines).await;
        assert_eq!(answer.status, 204);
        answer.header("access-control-allow-origin").to_owned()
    };
    assert_eq!(
        preflight(shop, "https://shop.example").await,
        "https://shop.example"
    );
    assert_eq!(preflight(shop, "https://open.example").await, "");
    assert_eq!(
        preflight(unknown, "https://open.example").await,
        "https://open.example"
    );
    assert_eq!(preflight(unknown, "https://foreign.example").await, "");
    let plain = house.ask("OPTIONS", &format!("/runs/{shop}"), &[]).await;
    assert_eq!(plain.status, 204);
    assert!(plain.header("allow").contains("DELETE"));
}
