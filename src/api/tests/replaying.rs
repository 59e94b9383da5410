//! The stored response, replayed.

use bytes::Bytes;

use super::house::House;
use crate::model::run::{Access, End, Reason};

const PAGE: &str = "201 Created\r\nContent-Type: text/html\r\nLocation: ../next\r\nSet-Cookie: a=1\r\n\
                    Cache-Control: public\r\nLink: </a>\r\nLink: </b>\r\nContent-Length: 5";

#[tokio::test]
async fn a_response_is_replayed_with_its_status_headers_and_body_again_and_again() {
    let house = House::open();
    let id = house.answered("POST", PAGE, Bytes::from("hello")).await;
    let target = format!("/runs/{id}/response");
    for _ in 0..2 {
        let replay = house.get(&target).await;
        assert_eq!(replay.status, 201);
        assert_eq!(replay.body, "hello");
        assert_eq!(replay.header("content-length"), "5");
        assert_eq!(replay.header("content-type"), "text/html");
        assert_eq!(replay.header("location"), "https://api.example.com/next");
        assert_eq!(replay.header("cache-control"), "private, no-store");
        assert_eq!(replay.header("content-security-policy"), "sandbox");
        assert_eq!(replay.header("raincheck-run-state"), "succeeded");
        assert_eq!(replay.header("set-cookie"), "");
        assert_eq!(replay.headers.get_all("link").iter().count(), 2);
    }
    let full = house
        .ask("GET", &target, &[("raincheck-replay", "full")])
        .await;
    assert_eq!(full.header("set-cookie"), "a=1");
}

#[tokio::test]
async fn an_unfinished_run_shows_its_record_in_place_of_a_response() {
    let house = House::open();
    let id = house.start("POST", "app", Access::Anybody).await.run.id;
    let early = house.get(&format!("/runs/{id}/response")).await;
    assert_eq!(
        (early.status.as_u16(), early.header("retry-after")),
        (202, "1")
    );
    assert_eq!(early.json()["run_id"], id.to_string());
}

#[tokio::test]
async fn a_run_without_an_answer_replays_our_problem_document() {
    let house = House::open();
    let claim = house.start("POST", "app", Access::Anybody).await;
    let id = claim.run.id;
    house
        .end(*claim, End::Failed(Reason::Unreachable), None)
        .await;
    let replay = house.get(&format!("/runs/{id}/response")).await;
    assert_eq!(replay.status, 502);
    assert_eq!(replay.header("content-type"), "application/problem+json");
    assert_eq!(replay.json()["code"], "unreachable");
}

#[tokio::test]
async fn ranges_are_cut_from_a_stored_200() {
    let house = House::open();
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let id = house
        .answered("GET", "200 OK\r\nETag: \"v1\"", Bytes::from(body.clone()))
        .await;
    let target = format!("/runs/{id}/response");
    let whole = house.get(&target).await;
    assert_eq!(
        (whole.status.as_u16(), whole.header("accept-ranges")),
        (200, "bytes")
    );
    assert_eq!(whole.body, body);
    let ranged = async |range: &str| house.ask("GET", &target, &[("range", range)]).await;
    for (range, from, to) in [
        ("bytes=0-9", 0, 9),
        ("bytes=131000-200000", 131_000, 200_000),
        ("bytes=-7", 299_993, 299_999),
    ] {
        let part = ranged(range).await;
        assert_eq!(part.status, 206);
        assert_eq!(
            part.header("content-range"),
            format!("bytes {from}-{to}/300000")
        );
        assert_eq!(part.header("content-length"), (to - from + 1).to_string());
        assert!(part.body == body[from..=to]);
    }
    let beyond = ranged("bytes=300000-").await;
    assert_eq!((beyond.status.as_u16(), beyond.body.len()), (416, 0));
    assert_eq!(beyond.header("content-range"), "bytes */300000");
    let head = house.ask("HEAD", &target, &[("range", "bytes=0-9")]).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "300000")
    );
    let other = [("range", "bytes=0-9"), ("if-range", "\"v2\"")];
    assert_eq!(house.ask("GET", &target, &other).await.status, 200);
}

#[tokio::test]
async fn ranges_are_ignored_on_other_statuses() {
    let house = House::open();
    let id = house
        .answered("GET", "404 Not Found", Bytes::from("nothing"))
        .await;
    let part = [("range", "bytes=0-1")];
    let replay = house
        .ask("GET", &format!("/runs/{id}/response"), &part)
        .await;
    assert_eq!((replay.status.as_u16(), replay.body.len()), (404, 7));
    assert_eq!(replay.header("accept-ranges"), "");
}

#[tokio::test]
async fn a_head_runs_length_is_told_to_head_and_framing_is_the_stored_bodys() {
    let house = House::open();
    let told = house
        .answered("HEAD", "200 OK\r\nContent-Length: 1234", Bytes::new())
        .await;
    let target = format!("/runs/{told}/response");
    assert_eq!(
        house
            .ask("HEAD", &target, &[])
            .await
            .header("content-length"),
        "1234"
    );
    assert_eq!(house.get(&target).await.header("content-length"), "0");
    let untold = house.answered("HEAD", "200 OK", Bytes::new()).await;
    let head = house
        .ask("HEAD", &format!("/runs/{untold}/response"), &[])
        .await;
    assert!(!head.headers.contains_key("content-length"));
}

#[tokio::test]
async fn the_routes_cross_origin_rule_replaces_the_stored_one() {
    let house = House::open();
    let stored = "200 OK\r\nAccess-Control-Allow-Origin: https://old.example";
    for (route, told) in [
        ("shop", "https://shop.example"),
        ("app", "https://old.example"),
    ] {
        let claim = house.start("POST", route, Access::Anybody).await;
        let id = house.answer(claim, stored, Bytes::new()).await;
        let lines = [("origin", "https://shop.example")];
        let target = format!("/runs/{id}/response");
        let replay = house.ask("GET", &target, &lines).await;
        let allowed = replay.headers.get_all("access-control-allow-origin");
        assert_eq!(allowed.iter().collect::<Vec<_>>(), [told]);
    }
}
