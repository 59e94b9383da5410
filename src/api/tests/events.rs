//! The admin API's events: what is told of all runs, to whom, and how much of it.

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use super::office::{HERE, Office, office};
use crate::model::{id::RunId, run::Access};

struct Stream(BodyDataStream);

impl Office {
    async fn events(&self, query: &str) -> Stream {
        let target = format!("/api/v1/events?{query}");
        let response = self.begin("GET", &target, &[HERE], "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Stream(response.into_body().into_data_stream());
        assert_eq!(stream.text().await, ": from now on\n\n");
        stream
    }
}

impl Stream {
    async fn text(&mut self) -> String {
        let piece = self.0.next().await.unwrap().unwrap();
        String::from_utf8(piece.to_vec()).unwrap()
    }

    /// The next events: their names and data.
    async fn next(&mut self) -> Vec<(String, Value)> {
        let text = self.text().await;
        text.split_terminator("\n\n")
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let name = name.strip_prefix("event: ").unwrap().to_owned();
                let data = data.strip_prefix("data: ").unwrap();
                (name, serde_json::from_str(data).unwrap())
            })
            .collect()
    }
}

fn of(event: &(String, Value)) -> (&str, &str, &str) {
    let (name, data) = event;
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    (name, text("run_id"), text("state"))
}

#[tokio::test]
async fn each_change_of_state_is_told_with_the_record() {
    let office = office(None);
    let mut events = office.events("").await;
    let claim = office.house.start("POST", "app", Access::Anybody).await;
    let id = claim.run.id.to_string();
    assert_eq!(of(&events.next().await[0]), ("run", id.as_str(), "running"));
    office.house.answer(claim, "200 OK", Bytes::new()).await;
    let told = events.next().await;
    assert_eq!(of(&told[0]), ("run", id.as_str(), "succeeded"));
    assert_eq!(told[0].1["response"]["status"], 200);
}

#[tokio::test]
async fn a_filter_takes_runs_in_and_lets_them_go() {
    let office = office(None);
    let mut events = office.events("state=running&route=app").await;
    office.house.start("POST", "shop", Access::Anybody).await;
    let claim = office.house.start("POST", "app", Access::Anybody).await;
    let id = claim.run.id.to_string();
    assert_eq!(of(&events.next().await[0]), ("run", id.as_str(), "running"));
    office.house.answer(claim, "200 OK", Bytes::new()).await;
    let gone = events.next().await;
    assert_eq!((gone.len(), of(&gone[0])), (1, ("gone", id.as_str(), "")));
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let office = office(None);
    let mut events = office.events("").await;
    let changes = &office.house.store.notices().changes;
    let unknown: Vec<RunId> = (0..5000).map(|n| RunId::from_parts(n, 1)).collect();
    changes.tell(&unknown);
    let told = events.next().await;
    assert_eq!(
        told,
        [("missed".into(), serde_json::json!({"missed": 904}))]
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_lives() {
    let office = office(None);
    let mut events = office.events("success=true&state=queued").await;
    let before = tokio::time::Instant::now();
    assert_eq!(events.text().await, ":\n\n");
    assert_eq!(before.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn streams_are_counted_and_leave_their_place() {
    let office = office(None);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(office.events("").await);
    }
    let refused = office.get("/api/v1/events").await;
    refused.problem(429, "too-many-streams");
    assert_eq!(refused.header("retry-after"), "60");
    drop(streams.pop());
    assert!(office.events("").await.0.next().now_or_never().is_none());
    office
        .get("/api/v1/events?limit=5")
        .await
        .problem(400, "invalid-parameter");
}
