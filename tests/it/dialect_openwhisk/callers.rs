//! Who may use which namespace, and what is no resource.

use serde_json::json;

use super::{GUEST, NAMESPACES, OTHER, application, error, get, invoke_whole, post, setting, with};
use crate::harness::{Ask, Gate, Server, Setup};

#[test]
fn each_namespace_has_its_own_credentials() {
    let (upstream, proxy) = setting();
    let targets = ["guest/activations", "_/activations", "nobody/activations"];
    for target in targets.map(|target| format!("/api/v1/namespaces/{target}")) {
        let reply = proxy.get(&target);
        error(&reply, 401);
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Basic realm=\"raincheck\"")
        );
        for wrong in [
            "Basic d3Jvbmc6d3Jvbmc=",
            "Bearer Z3Vlc3Q6c2VjcmV0",
            "nonsense",
        ] {
            error(&proxy.ask(&with(Ask::get(&target), wrong)), 401);
        }
    }
    error(
        &proxy.ask(&Ask::post("/api/v1/namespaces/guest/actions/a", "{}")),
        401,
    );
    error(&get(&proxy, "other/activations"), 403);
    error(&get(&proxy, "nobody/activations"), 403);
    error(&post(&proxy, "other/actions/a", "{}"), 403);
    assert!(upstream.seen().is_empty());
    let bare = GUEST.strip_prefix("Basic ").expect("scheme");
    let target = "/api/v1/namespaces/guest/activations";
    assert_eq!(proxy.ask(&with(Ask::get(target), bare)).json(), json!([]));
}

#[test]
fn a_namespace_sees_its_own_activations_and_no_others() {
    let (upstream, proxy) = setting();
    let record = invoke_whole(&proxy, "sample/hello");
    let id = record["activationId"].as_str().expect("id");
    let ask = with(
        Ask::post("/api/v1/namespaces/_/actions/x?blocking=true", ""),
        OTHER,
    );
    assert_eq!(proxy.ask(&ask).json()["namespace"], "other");
    assert_eq!(upstream.seen()[1].target, "/fn/x");
    let as_other = |target: &str| {
        let target = format!("/api/v1/namespaces/{target}");
        proxy.ask(&with(Ask::get(target), OTHER))
    };
    error(&as_other(&format!("other/activations/{id}")), 404);
    error(&as_other(&format!("_/activations/{id}/result")), 404);
    error(&as_other(&format!("guest/activations/{id}")), 403);
    assert_eq!(
        as_other("_/activations?count=true").json(),
        json!({"activations": 1})
    );
    assert_eq!(
        get(&proxy, "_/activations?count=true").json(),
        json!({"activations": 1})
    );
}

#[test]
fn the_callers_namespaces_are_listed() {
    let (_upstream, proxy) = setting();
    let list = |credentials| proxy.ask(&with(Ask::get("/api/v1/namespaces"), credentials));
    assert_eq!(list(GUEST).text(), "[\"guest\"]");
    assert_eq!(list(OTHER).text(), "[\"other\"]");
    error(&list("Basic d3Jvbmc6d3Jvbmc="), 401);
    error(&proxy.get("/api/v1/namespaces"), 401);
}

#[test]
fn without_credentials_in_the_configuration_a_namespace_is_open() {
    let upstream = Server::fixed(200, "{}");
    let proxy = Setup::new(&upstream)
        .add("[openwhisk.namespaces.open]\nupstream = 'app'\n")
        .start();
    for target in ["open/activations", "_/activations"] {
        let target = format!("/api/v1/namespaces/{target}");
        assert_eq!(proxy.get(&target).status, 200);
        assert_eq!(proxy.ask(&with(Ask::get(&target), GUEST)).status, 200);
    }
    assert_eq!(proxy.get("/api/v1/namespaces").json(), json!(["open"]));
    let reply = proxy.ask(&with(
        Ask::post("/api/v1/namespaces/_/actions/a", ""),
        GUEST,
    ));
    assert_eq!(reply.status, 202);
    assert_eq!(upstream.only().header("authorization"), None);
}

#[test]
fn other_paths_and_methods_are_refused_in_the_same_form() {
    let (upstream, proxy) = setting();
    for target in [
        "/api/v1",
        "/api/v1/namespaces/guest/actions",
        "/api/v1/namespaces/guest/triggers/t",
    ] {
        error(&proxy.ask(&with(Ask::get(target), GUEST)), 404);
    }
    for (method, target, allow) in [
        ("DELETE", "guest/activations/x", "GET, HEAD, OPTIONS"),
        ("POST", "guest/activations", "GET, HEAD, OPTIONS"),
        ("GET", "guest/actions/a", "POST, OPTIONS"),
        ("PUT", "guest/actions/a/b", "POST, OPTIONS"),
    ] {
        let ask = Ask::new(method, format!("/api/v1/namespaces/{target}"));
        let reply = proxy.ask(&with(ask, GUEST));
        error(&reply, 405);
        assert_eq!(reply.header("allow"), Some(allow));
    }
    let reply = proxy.ask(&Ask::new("HEAD", "/api/v1/nothing"));
    assert_eq!((reply.status, reply.body.len()), (404, 0));
    let named = with(Ask::get("/api/v1/nothing"), GUEST).header("X-Request-Id", "tid-7");
    assert_eq!(proxy.ask(&named).json()["code"], "tid-7");
    assert!(upstream.seen().is_empty());
    assert_eq!(proxy.get("/api/v10/x").status, 200, "an ordinary path");
}

#[test]
fn logs_are_forwarded_nowhere() {
    let (upstream, proxy) = setting();
    let forwarding = "/runtime/namespaces/guest/logForwarding";
    let reply = proxy.ask(&with(Ask::get(forwarding), GUEST));
    assert_eq!(reply.json(), json!({"adobe_io_runtime": {}}));
    error(&proxy.get(forwarding), 401);
    assert!(upstream.seen().is_empty());
    assert_eq!(
        proxy.get("/runtime/namespaces/nobody/logForwarding").status,
        200,
        "an ordinary path"
    );
}

#[test]
fn without_namespaces_the_paths_are_ordinary_ones() {
    let upstream = Server::echo();
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.get("/api/v1/namespaces");
    assert_eq!(reply.json()["target"], "/api/v1/namespaces");
}

#[test]
fn pages_on_the_origins_of_a_namespace_may_read_it() {
    let gate = Gate::shut();
    gate.open();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add(NAMESPACES)
        .set(
            "openwhisk.namespaces.other.cors.origins",
            vec!["https://app.example"],
        )
        .start();
    let from = |ask: Ask| proxy.ask(&ask.header("Origin", "https://app.example"));
    let origin = "access-control-allow-origin";
    let preflight = |target: &str| {
        let ask = Ask::new("OPTIONS", format!("/api/v1/namespaces/{target}"));
        from(ask.header("Access-Control-Request-Method", "POST"))
    };
    let reply = preflight("other/actions/a");
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header(origin), Some("https://app.example"));
    assert_eq!(
        reply.header("access-control-allow-methods"),
        Some("POST, OPTIONS")
    );
    let allowed: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("access-control-allow-headers"))
        .map(|(_, value)| value.as_str())
        .collect();
    let allowed = allowed.join(", ");
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert_eq!(preflight("guest/actions/a").header(origin), None);
    let list = |namespace: &str| Ask::get(format!("/api/v1/namespaces/{namespace}/activations"));
    assert_eq!(
        from(with(list("other"), OTHER)).header(origin),
        Some("https://app.example")
    );
    assert_eq!(
        from(with(list("_"), OTHER)).header(origin),
        Some("https://app.example")
    );
    assert_eq!(from(with(list("_"), GUEST)).header(origin), None);
    let refused = from(list("other"));
    assert_eq!(
        (refused.status, refused.header(origin)),
        (401, Some("https://app.example"))
    );
}
