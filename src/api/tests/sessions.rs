//! Who gets in to the admin listener: tokens, browsers' sessions, and foreign pages that do not.

use std::time::Duration;

use super::office::{HERE, Office, office};
use crate::model::run::Access;

const TOKEN: &str = "open sesame, open sesame";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Logs in, and returns the cookie that a browser would send.
async fn log_in(office: &Office) -> String {
    let body = "token=open+sesame%2C+open+sesame";
    let answer = office.send("POST", "/login", &[HERE, FORM], body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, "/")
    );
    let line = answer.header("set-cookie");
    assert!(
        line.contains("HttpOnly") && line.contains("SameSite=Strict"),
        "{line}"
    );
    assert!(
        !line.contains("Secure") && !line.contains("sesame"),
        "{line}"
    );
    line.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn everything_but_health_and_the_way_in_needs_the_token() {
    let office = office(Some(TOKEN));
    for target in [
        "/api/v1/runs",
        "/api/v1/stats",
        "/openapi.json",
        "/metrics",
        "/",
    ] {
        let refused = office.get(target).await;
        refused.problem(401, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        let bearer = format!("Bearer {TOKEN}");
        let lines = [HERE, ("authorization", bearer.as_str())];
        assert_eq!(
            office.send("GET", target, &lines, "").await.status,
            200,
            "{target}"
        );
        let wrong = [HERE, ("authorization", "Bearer open sesame")];
        assert_eq!(office.send("GET", target, &wrong, "").await.status, 401);
    }
    for target in [
        "/api/v1/runs/cancel?all=true",
        "/api/v1/deliveries/redeliver?all=true",
    ] {
        office.post(target).await.problem(401, "unauthorized");
    }
    for target in ["/livez", "/login", "/_raincheck/problems/unauthorized"] {
        assert_eq!(office.get(target).await.status, 200, "{target}");
    }
    assert_eq!(office.get("/readyz").await.status, 503);
    let page = [HERE, ("accept", "text/html,*/*;q=0.8")];
    let shown = office.send("GET", "/", &page, "").await;
    assert_eq!(
        (shown.status.as_u16(), shown.header("location")),
        (303, "/login")
    );
    let shown = office.send("GET", "/runs?state=failed", &page, "").await;
    let way_in = "/login?next=%2Fruns%3Fstate%3Dfailed";
    assert_eq!(shown.header("location"), way_in);
    let of_a_page = [HERE, ("hx-request", "true")];
    let part = office.send("GET", "/", &of_a_page, "").await;
    assert_eq!(
        (part.status.as_u16(), part.header("hx-redirect")),
        (401, "/login")
    );
}

#[tokio::test]
async fn who_is_let_in_comes_back_to_where_he_was_and_nowhere_else() {
    let office = office(Some(TOKEN));
    let body = "token=open+sesame%2C+open+sesame";
    for (next, to) in [
        ("%2Fruns%3Fstate%3Dfailed", "/runs?state=failed"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2Fa%0D%0Ab", "/"),
        ("", "/"),
    ] {
        let target = format!("/login?next={next}");
        let answer = office.send("POST", &target, &[HERE, FORM], body).await;
        assert_eq!(answer.header("location"), to, "{next}");
    }
}

#[tokio::test]
async fn a_browser_logs_in_and_its_session_ends() {
    let office = office(Some(TOKEN));
    let cookie = log_in(&office).await;
    let lines = [HERE, ("cookie", cookie.as_str())];
    assert_eq!(
        office.send("GET", "/api/v1/runs", &lines, "").await.status,
        200
    );
    assert_eq!(office.send("GET", "/", &lines, "").await.status, 200);
    let both = [
        HERE,
        ("cookie", cookie.as_str()),
        ("authorization", "Bearer wrong"),
    ];
    assert_eq!(
        office.send("GET", "/api/v1/runs", &both, "").await.status,
        401
    );
    office.house.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(
        office.send("GET", "/api/v1/runs", &lines, "").await.status,
        401
    );
    let out = office.post("/logout").await;
    assert_eq!(
        (out.status.as_u16(), out.header("location")),
        (303, "/login")
    );
    assert!(out.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls_alone() {
    let office = office(Some(TOKEN));
    let lines = [HERE, FORM, ("x-forwarded-proto", "https")];
    let body = "token=open+sesame%2C+open+sesame";
    let answer = office.send("POST", "/login", &lines, body).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_take_their_time_and_few_are_looked_at_at_once() {
    let office = office(Some(TOKEN));
    let wrong = async |body: &str| office.send("POST", "/login", &[HERE, FORM], body).await;
    for body in [
        "",
        "token=",
        "token=open",
        "other=1",
        "token=%ff",
        "token=open+sesame",
    ] {
        let before = tokio::time::Instant::now();
        let answer = wrong(body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("set-cookie")),
            (401, "")
        );
        assert!(before.elapsed() >= Duration::from_millis(500), "{body}");
    }
    let answers = futures::future::join_all((0..10).map(|_| wrong("token=no"))).await;
    let busy = answers.iter().filter(|answer| answer.status == 429);
    assert_eq!(busy.count(), 6);
}

#[tokio::test]
async fn no_foreign_page_acts() {
    let foreign: [&[(&str, &str)]; 6] = [
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:8080"),
        ],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1:8080")],
        &[("origin", "null")],
    ];
    for token in [None, Some(TOKEN)] {
        let office = office(token);
        let run = office
            .house
            .start("POST", "app", Access::Anybody)
            .await
            .run
            .id;
        let cookie = match token {
            Some(_) => log_in(&office).await,
            None => String::new(),
        };
        let target = format!("/api/v1/runs/{run}/cancel");
        for lines in foreign {
            let lines = [&[HERE, ("cookie", cookie.as_str())], lines].concat();
            let targets = [target.as_str(), "/api/v1/runs/cancel?all=true", "/logout"];
            for target in targets {
                let refused = office.send("POST", target, &lines, "").await;
                refused.problem(403, "cross-site-request");
            }
            if token.is_some() {
                let refused = office.send("POST", "/login", &lines, "token=x").await;
                refused.problem(403, "cross-site-request");
            }
        }
        for own in [
            [
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://ops.example.com"),
            ],
            [("origin", "http://127.0.0.1:9180"), ("accept", "*/*")],
        ] {
            let lines = [&[HERE, ("cookie", cookie.as_str())], &own[..]].concat();
            assert_eq!(office.send("POST", &target, &lines, "").await.status, 202);
        }
    }
}

#[tokio::test]
async fn the_token_acts_from_wherever_it_comes() {
    let office = office(Some(TOKEN));
    let bearer = format!("Bearer {TOKEN}");
    let lines = [
        HERE,
        ("authorization", bearer.as_str()),
        ("origin", "https://tools.example"),
    ];
    let answer = office
        .send("POST", "/api/v1/runs/cancel?all=true", &lines, "")
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn nothing_that_is_answered_loads_anything_or_is_embedded() {
    let office = office(Some(TOKEN));
    for target in [
        "/api/v1/runs",
        "/login",
        "/livez",
        "/nothing",
        "/_raincheck/problems/timeout",
    ] {
        let answer = office.get(target).await;
        let rules = answer.header("content-security-policy");
        assert!(
            rules.starts_with("default-src 'none';"),
            "{target}: {rules}"
        );
        assert!(
            rules.contains("frame-ancestors 'none'"),
            "{target}: {rules}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    }
}
