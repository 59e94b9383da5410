//! Activations are looked at.

use serde_json::{Value, json};

use super::{GUEST, NAMESPACES, application, error, get, invoke, invoke_whole, setting, with};
use crate::harness::{Ask, Gate, RunHandle, Setup, eventually};

const GONE: &str = "The requested activation record does not exist. This either means that the invocation is still \
    running and the record is not yet created or the activation's retention period has already expired.";

#[test]
fn a_record_its_result_and_its_logs() {
    let (_upstream, proxy) = setting();
    let record = invoke_whole(&proxy, "sample/hello");
    let id = record["activationId"].as_str().expect("id");
    let keys: Vec<_> = record
        .as_object()
        .expect("object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "namespace",
        "name",
        "version",
        "publish",
        "subject",
        "activationId",
        "start",
        "end",
        "duration",
        "statusCode",
        "response",
        "logs",
        "annotations",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(record["namespace"], "guest");
    assert_eq!(record["name"], "sample/hello");
    assert_eq!(
        record["annotations"][0],
        json!({"key": "path", "value": "guest/sample/hello"})
    );
    let (start, end) = (
        record["start"].as_u64().expect("start"),
        record["end"].as_u64().expect("end"),
    );
    assert_eq!(record["duration"], end - start);
    let reply = get(&proxy, &format!("guest/activations/{id}/result"));
    assert_eq!(reply.header("raincheck-run-state"), Some("succeeded"));
    assert_eq!(
        reply.text(),
        "{\"result\":{\"given\":{\"n\":1}},\"success\":true,\"status\":\"success\"}"
    );
    let logs = get(&proxy, &format!("guest/activations/{id}/logs")).json();
    assert_eq!(logs["logs"], record["logs"]);
    let line = logs["logs"][0].as_str().expect("a line");
    assert!(
        line.contains("Z stdout: attempt 1: answered 200 after "),
        "{line}"
    );
    let failed = invoke_whole(&proxy, "fail");
    let id = failed["activationId"].as_str().expect("id");
    let reply = get(&proxy, &format!("_/activations/{id}/result"));
    assert_eq!(
        (reply.status, reply.json()),
        (
            200,
            json!({"result": {"error": "bad prompt"}, "success": false, "status": "application error"})
        )
    );
    let head = with(
        Ask::new("HEAD", format!("/api/v1/namespaces/_/activations/{id}")),
        GUEST,
    );
    let reply = proxy.ask(&head);
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[test]
fn ids_are_the_same_in_every_spelling_and_in_every_look_up() {
    let (_upstream, proxy) = setting();
    let id = invoke_whole(&proxy, "hello")["activationId"]
        .as_str()
        .expect("id")
        .to_owned();
    let hyphens = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    assert_eq!(
        get(&proxy, &format!("guest/activations/{hyphens}")).status,
        200
    );
    for spelling in [&id, &hyphens] {
        let target = format!("/_raincheck/runs/{spelling}");
        assert_eq!(proxy.get(&target).status, 404, "without credentials");
        let record = proxy.ask(&with(Ask::get(target), GUEST)).json();
        assert_eq!(record["run_id"], hyphens.as_str());
    }
    let run = RunHandle::of(&proxy.ask(&Ask::get("/?async=true")));
    proxy.finished(&run);
    assert_eq!(
        error(&get(&proxy, &format!("guest/activations/{}", run.id)), 404),
        GONE
    );
}

#[test]
fn what_has_no_record_is_404_and_a_running_one_tells_more() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add(NAMESPACES)
        .set("store.retention", "1s")
        .start();
    for id in ["x", "0199f00c5e2a7c3b8d4e5f60718293a4"] {
        for part in ["", "/result", "/logs"] {
            let reply = get(&proxy, &format!("guest/activations/{id}{part}"));
            assert_eq!(error(&reply, 404), GONE);
            assert_eq!(reply.header("retry-after"), None);
        }
    }
    let id = invoke(&proxy, "slow");
    upstream.wait_for(1);
    for part in ["", "/result", "/logs"] {
        let reply = get(&proxy, &format!("guest/activations/{id}{part}"));
        assert_eq!(error(&reply, 404), GONE);
        assert_eq!(reply.header("raincheck-run-state"), Some("running"));
        assert!(reply.header("retry-after").is_some());
    }
    assert_eq!(get(&proxy, "guest/activations").json(), json!([]));
    gate.open();
}

/// The names in a list.
fn names(list: &Value) -> Vec<&str> {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| entry["name"].as_str().expect("name"))
        .collect()
}

#[test]
fn a_list_has_the_newest_first_and_takes_every_parameter() {
    let (_upstream, proxy) = setting();
    let records: Vec<_> = ["a", "p/a", "a", "fail", "p/b"]
        .iter()
        .map(|action| invoke_whole(&proxy, action))
        .collect();
    let list = |query: &str| get(&proxy, &format!("guest/activations{query}")).json();
    let all = list("");
    assert_eq!(names(&all), ["p/b", "fail", "a", "p/a", "a"]);
    assert_eq!(names(&list("?limit=2")), ["p/b", "fail"]);
    assert_eq!(names(&list("?limit=2&skip=2")), ["a", "p/a"]);
    assert_eq!(names(&list("?limit=0")).len(), 5);
    assert_eq!(list("?skip=5"), json!([]));
    assert_eq!(list("?skip=3000000"), json!([]));
    assert_eq!(names(&list("?name=a")), ["a", "a"]);
    assert_eq!(names(&list("?name=p%2Fa")), ["p/a"]);
    assert_eq!(names(&list("?name=p/b&limit=1")), ["p/b"]);
    assert_eq!(list("?name=/a"), json!([]));
    assert_eq!(list("?count=true"), json!({"activations": 5}));
    assert_eq!(list("?count=true&name=a"), json!({"activations": 2}));
    assert_eq!(list("?count=true&skip=3"), json!({"activations": 2}));
    let start = |nth: usize| records[nth]["start"].as_u64().expect("start");
    let between = format!("?since={}&upto={}", start(1), start(3));
    let found = list(&between);
    let found: Vec<_> = found
        .as_array()
        .expect("list")
        .iter()
        .map(|one| &one["activationId"])
        .collect();
    for (nth, record) in records.iter().enumerate() {
        let within = (start(1)..=start(3)).contains(&start(nth));
        assert_eq!(found.contains(&&record["activationId"]), within, "{nth}");
    }
    assert_eq!(list("?upto=-1"), json!([]));
    assert_eq!(list("?upto=5"), json!([]));
    assert_eq!(list("?since=99999999999999"), json!([]));
    assert_eq!(names(&list("?since=-1")).len(), 5);
    let entry = &all[1];
    assert_eq!(entry["statusCode"], 1);
    assert_eq!(
        (&entry["response"], &entry["logs"]),
        (&Value::Null, &Value::Null)
    );
    let docs = list("?docs=true");
    assert_eq!(docs.as_array().expect("list").len(), 5);
    assert_eq!(docs[1], records[3]);
}

#[test]
fn parameters_of_a_list_that_are_wrong_are_refused_in_these_words() {
    let (_upstream, proxy) = setting();
    let said = |query: &str| error(&get(&proxy, &format!("guest/activations?{query}")), 400);
    let range =
        |value| format!("The value '{value}' is not in the range of 0 to 200 for activations.");
    assert_eq!(said("limit=201"), range("201"));
    assert_eq!(said("limit=-1"), range("-1"));
    for query in [
        "limit=x",
        "skip=-1",
        "since=x",
        "upto=",
        "docs=maybe",
        "count=2",
        "limit=1&limit=2",
    ] {
        said(query);
    }
}

#[test]
fn runs_that_are_not_finished_are_no_activations_and_hide_none() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream).add(NAMESPACES).start();
    invoke_whole(&proxy, "first");
    invoke_whole(&proxy, "second");
    for _ in 0..3 {
        invoke(&proxy, "slow");
    }
    upstream.wait_for(5);
    let list = |query: &str| get(&proxy, &format!("guest/activations{query}")).json();
    assert_eq!(names(&list("?limit=1")), ["second"]);
    assert_eq!(names(&list("?limit=1&skip=1")), ["first"]);
    assert_eq!(list("?count=true"), json!({"activations": 2}));
    gate.open();
    eventually("all have ended", || {
        (list("?count=true") == json!({"activations": 5})).then_some(())
    });
}

#[test]
fn a_cancelled_run_and_one_that_waited_too_long_are_activations_too() {
    let gate = Gate::shut();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream)
        .add("[openwhisk.namespaces.guest]\nupstream = 'app'\nconcurrency = 1\nmax_queue_time = '1s'\n")
        .start();
    invoke(&proxy, "slow");
    let late = invoke(&proxy, "late");
    let gone = invoke(&proxy, "gone");
    let cancel = with(
        Ask::new("DELETE", format!("/_raincheck/runs/{gone}")),
        GUEST,
    );
    assert_eq!(proxy.ask(&cancel).status, 202);
    let record = get(&proxy, &format!("_/activations/{gone}")).json();
    assert_eq!(record["response"]["status"], "action developer error");
    assert!(record["start"].is_u64());
    assert_eq!(record["logs"], json!([]));
    let record = eventually("the run expires", || {
        let reply = get(&proxy, &format!("_/activations/{late}"));
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(record["response"]["status"], "whisk internal error");
    assert_eq!(record["statusCode"], 3);
    let since = record["start"].as_u64().expect("start");
    let list = get(&proxy, &format!("_/activations?since={since}")).json();
    assert!(names(&list).contains(&"late"), "{list}");
    gate.open();
}

#[test]
fn activations_outlive_the_process() {
    let gate = Gate::shut();
    gate.open();
    let upstream = application(&gate);
    let mut proxy = Setup::new(&upstream).add(NAMESPACES).start();
    let record = invoke_whole(&proxy, "sample/hello");
    proxy.kill();
    proxy.start();
    let id = record["activationId"].as_str().expect("id");
    assert_eq!(
        get(&proxy, &format!("guest/activations/{id}")).json(),
        record
    );
}
