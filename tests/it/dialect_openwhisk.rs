//! The REST API of OpenWhisk, before an application that knows nothing of it.

mod callers;
mod clients;
mod invoking;
mod looking;

use serde_json::Value;

use crate::harness::{Ask, Gate, Raincheck, Reply, Server, Setup, eventually};

/// Of the namespace `guest`.
const GUEST: &str = "Basic Z3Vlc3Q6c2VjcmV0";
/// Of the namespace `other`.
const OTHER: &str = "Basic b3RoZXI6c2VjcmV0";

/// Two namespaces with credentials.
const NAMESPACES: &str = "[openwhisk.namespaces.guest]\nupstream = 'app'\ncredentials = ['guest:secret']\n\
     [openwhisk.namespaces.other]\nupstream = 'app'\npath = '/fn/{action}'\ncredentials = ['other:secret']\n";

/// An application with some actions; `slow` answers once the gate is open.
fn application(gate: &Gate) -> Server {
    let gate = gate.clone();
    Server::new(move |seen, answer| {
        let json = [("Content-Type", "application/json")];
        match seen.target.rsplit('/').next().unwrap_or_default() {
            "slow" => {
                gate.wait();
                answer.reply(200, &json, "{\"slow\":true}")
            }
            "fail" => answer.reply(422, &json, "{\"error\":\"bad prompt\"}"),
            "broken" => answer.reply(500, &[("Content-Type", "text/html")], "<h1>no</h1>"),
            "text" => answer.ok("a \"text\"\n"),
            "bytes" => answer.reply(200, &[("Content-Type", "image/png")], b"\x89PNG\xff"),
            _ => answer.reply(200, &json, format!("{{\"given\":{}}}", seen.text())),
        }
    })
}

/// The application with open gate, and the proxy with both namespaces.
fn setting() -> (Server, Raincheck) {
    let gate = Gate::shut();
    gate.open();
    let upstream = application(&gate);
    let proxy = Setup::new(&upstream).add(NAMESPACES).start();
    (upstream, proxy)
}

fn with(ask: Ask, credentials: &str) -> Ask {
    ask.header("Authorization", credentials)
}

fn get(proxy: &Raincheck, target: &str) -> Reply {
    proxy.ask(&with(
        Ask::get(format!("/api/v1/namespaces/{target}")),
        GUEST,
    ))
}

fn post(proxy: &Raincheck, target: &str, body: &str) -> Reply {
    let ask = Ask::post(format!("/api/v1/namespaces/{target}"), body);
    proxy.ask(&with(ask, GUEST))
}

/// Invokes an action of `guest`; returns the activation's id.
fn invoke(proxy: &Raincheck, action: &str) -> String {
    let reply = post(proxy, &format!("guest/actions/{action}"), "{\"n\":1}");
    assert_eq!(reply.status, 202, "{}", reply.text());
    activation_id(&reply)
}

/// Invokes it and waits until its record is there.
fn invoke_whole(proxy: &Raincheck, action: &str) -> Value {
    let id = invoke(proxy, action);
    eventually("the record", || {
        let reply = get(proxy, &format!("guest/activations/{id}"));
        (reply.status == 200).then(|| reply.json())
    })
}

fn activation_id(reply: &Reply) -> String {
    let id = reply.header("x-openwhisk-activation-id").expect("id");
    assert_eq!(id.len(), 32);
    id.to_owned()
}

/// Asserts that this is an error in the dialect's form; returns its text.
fn error(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.json();
    assert_eq!(document["code"].as_str(), reply.header("x-request-id"));
    assert_eq!(document.as_object().expect("object").len(), 2);
    document["error"].as_str().expect("error").to_owned()
}
