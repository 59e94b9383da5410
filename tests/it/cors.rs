//! The route's `cors` on what we answer ourselves.

use crate::harness::{Ask, Server, Setup};

#[test]
fn an_allowed_origin_may_read_the_202_our_errors_and_the_run() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set(
            "route.async.cors",
            toml::Value::try_from(serde_json::json!({
                "origins": ["https://app.example"], "credentials": true, "max_age": "10m",
            }))
            .expect("toml"),
        )
        .start();
    let origin = "https://app.example";
    let accepted = proxy.ask(&Ask::post("/?async=true", "").header("Origin", origin));
    let run = crate::harness::RunHandle::of(&accepted);
    let refused = proxy.ask(&Ask::get("/?async=true&async=no").header("Origin", origin));
    assert_eq!(refused.status, 400);
    let record = proxy.ask(&Ask::get(&run.location).header("Origin", origin));
    for reply in [&accepted, &refused, &record] {
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(
            reply.header("access-control-allow-credentials"),
            Some("true")
        );
        assert!(
            reply
                .header("vary")
                .expect("vary")
                .to_lowercase()
                .contains("origin")
        );
        let exposed = reply
            .header("access-control-expose-headers")
            .expect("exposed");
        for name in [
            "Location",
            "Retry-After",
            "X-Request-Id",
            "Preference-Applied",
            "Idempotent-Replayed",
            "Raincheck-",
        ] {
            assert!(
                exposed.to_lowercase().contains(&name.to_lowercase()),
                "{name} in {exposed}"
            );
        }
    }
    let other = proxy.ask(&Ask::post("/?async=true", "").header("Origin", "https://other.example"));
    assert_eq!(other.header("access-control-allow-origin"), None);
    assert!(
        other
            .header("vary")
            .expect("vary")
            .to_lowercase()
            .contains("origin")
    );
    let preflight = Ask::new("OPTIONS", run.bare())
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "DELETE");
    let preflight = proxy.ask(&preflight);
    assert!(matches!(preflight.status, 200 | 204));
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some(origin)
    );
    assert!(
        preflight
            .header("access-control-allow-methods")
            .expect("methods")
            .contains("DELETE")
    );
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
}

#[test]
fn without_cors_there_are_no_such_headers() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&Ask::post("/?async=true", "").header("Origin", "https://a.example"));
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[test]
fn the_applications_own_cors_headers_on_pass_through_are_its_own() {
    let upstream =
        Server::new(|_, answer| answer.reply(200, &[("Access-Control-Allow-Origin", "*")], ""));
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&Ask::get("/").header("Origin", "https://a.example"));
    let all: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("access-control-allow-origin"))
        .collect();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1, "*");
}
