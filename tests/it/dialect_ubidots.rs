//! `?_blocking=false`

use crate::harness::{Ask, Gate, RunHandle, Server, Setup, encoded};

fn setup(upstream: &Server) -> Setup {
    Setup::new(upstream).set("route.async.dialects", vec!["ubidots"])
}

#[test]
fn the_202_is_exact() {
    let upstream = Server::fixed(200, "done");
    let proxy = setup(&upstream).start();
    let reply = proxy.ask(&Ask::post("/hook?_blocking=false", "{}"));
    assert_eq!(reply.status, 202);
    let id = reply.header("x-request-id").expect("id");
    let simple = id.replace('-', "");
    assert_eq!(reply.text(), format!("{{\"activationId\":\"{simple}\"}}"));
    let names: Vec<_> = reply
        .headers
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    assert_eq!(
        names,
        [
            "content-type",
            "x-request-id",
            "location",
            "cache-control",
            "referrer-policy",
            "content-length",
            "date",
            "connection"
        ]
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("content-length"), Some("51"));
}

#[test]
fn both_spellings_of_the_id_find_the_run() {
    let upstream = Server::fixed(200, "done");
    let proxy = setup(&upstream).start();
    let reply = proxy.ask(&Ask::get("/?_blocking=False"));
    let run = RunHandle::of(&reply);
    proxy.finished(&run);
    let simple = reply.json()["activationId"]
        .as_str()
        .expect("id")
        .to_owned();
    for id in [&run.id, &simple, &simple.to_uppercase()] {
        let record = proxy.get(format!("/_raincheck/runs/{id}")).json();
        assert_eq!(record["run_id"], run.id.as_str());
        assert_eq!(record["dialect"], "ubidots");
        let response = proxy.get(format!(
            "/_raincheck/runs/{id}/response?token={}",
            run.token()
        ));
        assert_eq!((response.status, response.text()), (200, "done".into()));
    }
}

#[test]
fn any_method_and_any_case_of_false() {
    let upstream = Server::fixed(200, "");
    let proxy = setup(&upstream).start();
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let run = proxy.run(&Ask::new(method, "/?_blocking=false"));
        assert_eq!(proxy.finished(&run)["method"], method);
    }
    for query in [
        "_blocking=FALSE",
        "_blocking=fAlSe",
        "_blocking=%66alse",
        "%5Fblocking=False",
        "_blocking=false&_blocking=False",
        "_blocking=false&async=true",
    ] {
        proxy.run(&Ask::get(format!("/?{query}")));
    }
}

#[test]
fn other_values_ask_for_nothing_and_pass_byte_for_byte() {
    let upstream = Server::fixed(200, "sync");
    let proxy = setup(&upstream).start();
    let queries = [
        "_blocking",
        "_blocking=",
        "_blocking=true",
        "_blocking=0",
        "_blocking=falsee",
        "blocking=false",
        "_Blocking=false",
        "a=_blocking=false",
        "async=true&&_blocking=%zz",
    ];
    for (n, query) in queries.into_iter().enumerate() {
        let reply = proxy.get(format!("/?{query}"));
        assert_eq!(
            (reply.status, reply.text()),
            (200, "sync".into()),
            "{query}"
        );
        assert_eq!(upstream.wait_for(n + 1)[n].target, format!("/?{query}"));
    }
}

#[test]
fn contradictions_are_refused() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["cerebrium", "ubidots"])
        .start();
    for query in [
        "_blocking=false&_blocking=true",
        "_blocking&x=1&_blocking=false",
    ] {
        let detail = proxy
            .get(format!("/?{query}"))
            .problem(400, "repeated-parameter");
        assert!(detail.contains("`_blocking`"), "{detail}");
    }
    let detail = proxy
        .get("/?_blocking=false&async=true")
        .problem(400, "conflicting-triggers");
    assert!(detail.contains("`cerebrium`") && detail.contains("`ubidots`"));
    assert!(upstream.seen().is_empty());
}

#[test]
fn only_the_parameter_that_asked_is_taken_out() {
    let upstream = Server::fixed(200, "");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["cerebrium", "ubidots"])
        .add("[[route]]\nname='kept'\npath='/kept'\nupstream='app'\n[route.async]\ndialects=['ubidots']\nforward_control_params=true\nparameters={blocking='wait'}")
        .start();
    let hook = encoded(&receiver.url("/h"));
    let named = format!("/p?a=%20&_blocking=False&webhookEndpoint={hook}&b");
    let cases = [
        ("/p?_blocking=false", "/p".to_owned()),
        ("/p?x&_blocking=false&&async=0&y", "/p?x&&async=0&y".into()),
        ("/p?_blocking=1&async=true&y", "/p?_blocking=1&y".into()),
        (&named, "/p?a=%20&b".into()),
        (
            "/kept?_blocking=1&wait=false&z",
            "/kept?_blocking=1&wait=false&z".into(),
        ),
    ];
    for (n, (target, sent)) in cases.into_iter().enumerate() {
        let run = proxy.run(&Ask::get(target));
        proxy.finished(&run);
        assert_eq!(upstream.wait_for(n + 1)[n].target, sent, "{target}");
    }
    assert_eq!(receiver.only().target, "/h");
    assert_eq!(proxy.get("/kept?_blocking=false").status, 200);
}

#[test]
fn the_202_does_not_wait_for_the_application() {
    let open = Gate::shut();
    let gate = open.clone();
    let upstream = Server::new(move |_, answer| {
        gate.wait();
        answer.reply(500, &[], "late")
    });
    let proxy = setup(&upstream).start();
    let run = proxy.run(&Ask::post("/particle?_blocking=false", "{\"t\":21}"));
    assert_eq!(upstream.only().text(), "{\"t\":21}");
    open.open();
    assert_eq!(proxy.finished(&run)["reason"], "upstream_status");
}
