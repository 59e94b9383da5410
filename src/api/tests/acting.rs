//! What operators do by the admin API: cancel, redeliver, repeat; one run, or all that a filter takes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::office::{Office, office};
use crate::{
    model::{
        exchange::Body,
        run::{Access, RunState},
    },
    store::Found,
};

const RECEIVER: &str = "https://hooks.example.com/";

async fn state(office: &Office, id: crate::model::id::RunId) -> RunState {
    match office.house.store.find(id).await.unwrap() {
        Found::Run(run) => run.state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cancel_is_stored_closes_the_attempt_and_can_be_repeated() {
    let office = office(None);
    let claim = office.house.start("POST", "app", Access::TokenOnly).await;
    let entered = office.house.live.enter(claim.run.id);
    let target = format!("/api/v1/runs/{}/cancel", claim.run.id);
    let cancelled = office.post(&target).await;
    entered.cancelled().await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(cancelled.json()["state"], "cancelled");
    assert_eq!(office.post(&target).await.body, cancelled.body);
    let done = office.house.answered("GET", "200 OK", Bytes::new()).await;
    let refused = office.post(&format!("/api/v1/runs/{done}/cancel")).await;
    let detail = refused.problem(409, "run-finished");
    assert!(detail.contains("succeeded"), "{detail}");
    assert_eq!(refused.json()["run_id"], done.to_string());
}

#[tokio::test]
async fn a_dead_delivery_is_due_again() {
    let office = office(None);
    let id = office.house.dead(RECEIVER).await;
    let target = format!("/api/v1/runs/{id}/redeliver");
    let begun = office.post(&target).await;
    assert_eq!(begun.status, 202);
    let delivery = &begun.json()["delivery"];
    assert_eq!(
        (&delivery["state"], &delivery["attempts"]),
        (&json!("pending"), &json!(1))
    );
    let claims = office.house.store.claim_deliveries(vec![id]).await.unwrap();
    assert_eq!(claims.len(), 1);
    let busy = office.post(&target).await;
    busy.problem(409, "delivery-under-way");
    assert_eq!(busy.header("retry-after"), "5");
}

#[tokio::test]
async fn what_has_no_delivery_says_why() {
    let office = office(None);
    let running = office
        .house
        .start("POST", "app", Access::Anybody)
        .await
        .run
        .id;
    let quiet = office.house.answered("GET", "200 OK", Bytes::new()).await;
    for (id, why) in [(running, "has not ended"), (quiet, "no webhook")] {
        let refused = office.post(&format!("/api/v1/runs/{id}/redeliver")).await;
        let detail = refused.problem(409, "no-delivery");
        assert!(detail.contains(why), "{detail}");
    }
}

#[tokio::test]
async fn an_unfinished_run_is_repeated_by_its_request_and_a_finished_one_is_not() {
    let office = office(None);
    let store = &office.house.store;
    let claim = office.house.start("PUT", "app", Access::Anybody).await;
    let first = claim.run.id;
    let repeated = office.post(&format!("/api/v1/runs/{first}/repeat")).await;
    assert_eq!(repeated.status, 202);
    let record = repeated.json();
    assert_eq!(
        (&record["state"], &record["method"]),
        (&json!("queued"), &json!("PUT"))
    );
    assert_ne!(record["run_id"], first.to_string());
    let second = store
        .claim_runs("app", 1)
        .await
        .unwrap()
        .claimed
        .pop()
        .unwrap();
    assert_eq!(record["run_id"], second.run.id.to_string());
    assert_eq!(second.request.head, claim.request.head);
    assert!(matches!(second.request.body, Body::Inline(_)));
    office.house.answer(claim, "200 OK", Bytes::new()).await;
    let refused = office.post(&format!("/api/v1/runs/{first}/repeat")).await;
    refused.problem(409, "request-gone");
}

#[tokio::test]
async fn unfinished_runs_are_cancelled_by_filter_after_a_dry_run() {
    let office = office(None);
    let shop = office
        .house
        .start("POST", "shop", Access::Anybody)
        .await
        .run
        .id;
    let app = office.house.queue("app").await;
    let done = office.house.answered("GET", "200 OK", Bytes::new()).await;
    let counted = office
        .post("/api/v1/runs/cancel?route=app&dry_run=true")
        .await;
    let expected = json!({"dry_run": true, "matched": 1, "changed": 0, "skipped": 0, "more": false, "next_cursor": null});
    assert_eq!(counted.json(), expected);
    assert_eq!(state(&office, app).await, RunState::Queued);
    let cancelled = office.post("/api/v1/runs/cancel?route=app").await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(cancelled.json()["changed"], 1);
    assert_eq!(state(&office, app).await, RunState::Cancelled);
    assert_eq!(state(&office, shop).await, RunState::Running);
    let rest = office.post("/api/v1/runs/cancel?all=true").await.json();
    assert_eq!((&rest["matched"], &rest["changed"]), (&json!(1), &json!(1)));
    assert_eq!(state(&office, shop).await, RunState::Cancelled);
    assert_eq!(state(&office, done).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_filter_that_takes_many_is_worked_off_in_pieces() {
    let office = office(None);
    let mut runs = Vec::new();
    for _ in 0..450 {
        runs.push(
            office
                .house
                .start("POST", "app", Access::Anybody)
                .await
                .run
                .id,
        );
    }
    let done = office
        .post("/api/v1/runs/cancel?state=running")
        .await
        .json();
    let expected = json!({"dry_run": false, "matched": 450, "changed": 450, "skipped": 0, "more": false, "next_cursor": null});
    assert_eq!(done, expected);
    for id in runs {
        assert_eq!(state(&office, id).await, RunState::Cancelled);
    }
}

#[tokio::test]
async fn dead_deliveries_are_made_again_by_filter() {
    let office = office(None);
    let dead = office.house.dead(RECEIVER).await;
    let other = office.house.dead("https://other.example/").await;
    office.house.owed(RECEIVER).await;
    let counted = office
        .post("/api/v1/deliveries/redeliver?all=true&dry_run=true")
        .await;
    assert_eq!(counted.json()["matched"], 2);
    let one = office
        .post("/api/v1/deliveries/redeliver?host=hooks.example.com")
        .await;
    assert_eq!(one.json()["changed"], 1);
    let delivery = async |id| {
        let record = office.get(&format!("/api/v1/runs/{id}")).await.json();
        record["delivery"]["state"].clone()
    };
    assert_eq!(delivery(dead).await, "pending");
    assert_eq!(delivery(other).await, "dead");
    let rest = office.post("/api/v1/deliveries/redeliver?all=true").await;
    assert_eq!(rest.json()["changed"], 1);
    assert_eq!(delivery(other).await, "pending");
}

#[tokio::test]
async fn nothing_is_changed_by_a_filter_that_says_nothing_or_something_wrong() {
    let office = office(None);
    let running = office
        .house
        .start("POST", "app", Access::Anybody)
        .await
        .run
        .id;
    office.house.dead(RECEIVER).await;
    for target in [
        "/api/v1/runs/cancel",
        "/api/v1/runs/cancel?all=false",
        "/api/v1/runs/cancel?dry_run=true",
        "/api/v1/runs/cancel?route=",
        "/api/v1/runs/cancel?state=failed",
        "/api/v1/runs/cancel?rout=app",
        "/api/v1/runs/cancel?cursor=garbage&all=true",
        "/api/v1/deliveries/redeliver",
        "/api/v1/deliveries/redeliver?delivery=lost",
        "/api/v1/deliveries/redeliver?limit=1&all=true",
    ] {
        office.post(target).await.problem(400, "invalid-parameter");
    }
    assert_eq!(state(&office, running).await, RunState::Running);
    let none = office
        .post("/api/v1/deliveries/redeliver?success=true&state=failed")
        .await;
    assert_eq!(
        (&none.json()["matched"], &none.json()["next_cursor"]),
        (&json!(0), &Value::Null)
    );
}
