//! Files that are wrong, and what is said of them.

use std::{collections::BTreeSet, path::Path};

use proptest::prelude::*;
use toml::de::{DeTable, DeValue};

use super::{Config, OnSlow, check, check::Reader, defaults};
use crate::model::policy::WebhookBody;

const RIGHT: &str =
    "[upstream.app]\npeers = [\"127.0.0.1:8000\"]\n[[route]]\nupstream = \"app\"\n[route.async]\n";

/// What is said of the right file with `more` after it.
fn complaints(text: &str) -> Vec<String> {
    let set = |name: &str| (name == "SET").then(|| "secret-of-the-environment".into());
    let (read, _) = check::read(text, Path::new("r.toml"), Reader::Proxy, &set);
    let complaints = read.err().unwrap_or_default();
    complaints.iter().map(ToString::to_string).collect()
}

/// Compares with `tests/NAME.txt`, word by word.
fn expect(name: &str, said: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/config/tests/{name}.txt"));
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        said.trim_end(),
        expected.trim_end(),
        "what was said:\n{said}\n"
    );
}

fn one(text: &str) -> String {
    let all = complaints(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

#[test]
fn the_least_file_has_the_defaults_of_the_manual() {
    let least = Config::read(RIGHT, Path::new("r.toml")).unwrap();
    let mut manual = Config::read(defaults::TEXT, Path::new("r.toml")).unwrap();
    assert_ne!(least.digest, manual.digest);
    manual.digest.clone_from(&least.digest);
    assert_eq!(format!("{least:?}"), format!("{manual:?}"));
}

#[test]
fn the_manual_has_every_key_that_is_known_and_no_other() {
    let text = defaults::with_optional(defaults::TEXT);
    let table = DeTable::parse(&text).unwrap();
    let mut written = BTreeSet::new();
    gather(table.get_ref(), "", &mut written);
    // Files that are named there do not exist, and secrets are not set: only the keys count here.
    let (_, known) = check::read(&text, Path::new("r.toml"), Reader::Proxy, &|_| None);
    let mut known: BTreeSet<String> = known.into_iter().collect();
    // Keys that are general or a route's own, and those that a namespace has in common with routes: shown once.
    let shown_elsewhere = |key: &str| {
        let own = key.strip_prefix("openwhisk.namespaces.guest.");
        own.is_some_and(|own| own == "webhook" || known.contains(&format!("route.async.{own}")))
    };
    let again: Vec<_> = known
        .iter()
        .filter(|key| shown_elsewhere(key))
        .cloned()
        .collect();
    known.retain(|key| !again.contains(key) && !key.starts_with("route.webhook."));
    written.retain(|key| !key.starts_with("route.webhook."));
    known.retain(|key| !key.ends_with(".token.env") && !key.ends_with(".url.env"));
    written.retain(|key| !key.ends_with(".token.env") && !key.ends_with(".url.env"));
    written.remove("upstream.app");
    written.remove("openwhisk.namespaces.guest");
    assert_eq!(known, written);
}

fn gather(table: &DeTable<'_>, above: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key = format!("{above}{}", key.get_ref());
        let inner = match value.get_ref() {
            DeValue::Table(inner) => Some(inner),
            DeValue::Array(list) => list.first().and_then(|first| first.get_ref().as_table()),
            _ => None,
        };
        if let Some(inner) = inner {
            gather(inner, &format!("{key}."), keys);
        }
        keys.insert(key);
    }
}

#[test]
fn every_problem_is_said_at_once() {
    let text = "[servr]\n[server]\ndrain_timeout = \"13h\"\npublic_prefix = \"/\"\n[webhook]\nconcurency = 3\non = [\"done\", 7]\n[upstream.app]\npeers = [\"http://x\"]\n[[route]]\nupstream = \"ap\"\n[route.async]\nattempts = 0\n";
    expect("all_at_once", &complaints(text).join("\n"));
}

#[test]
fn each_mistake_is_told_with_what_to_write() {
    let tls = |pair: &str| {
        format!("[[listener]]\naddress = \"0.0.0.0:8443\"\ntls = {{ {pair} }}\n{RIGHT}")
    };
    let cases = [
        "".to_owned(),
        "a = \n b = 1\n b = 2".to_owned(),
        "[server]\nthreads = 1\n".to_owned(),
        format!("[admin]\naddress = \"0.0.0.0:9180\"\n{RIGHT}"),
        format!("[admin]\ntoken = \"short\"\n{RIGHT}"),
        format!("[admin]\ntoken = {{ env = \"UNSET\" }}\n{RIGHT}"),
        format!("[admin]\ntoken = {{ file = \"/nowhere/token\" }}\n{RIGHT}"),
        format!("[admin]\naddress = \"0.0.0.0:8080\"\ntoken = {{ env = \"SET\" }}\n{RIGHT}"),
        format!("[[listener]]\naddress = \"0.0.0.0\"\n{RIGHT}"),
        format!("[[listener]]\naddress = \"127.0.0.1:8000\"\n{RIGHT}"),
        format!("[[listener]]\n[[listener]]\naddress = \"127.0.0.1:8080\"\n{RIGHT}"),
        tls("cert = \"/nowhere/cert.pem\", key = \"/nowhere/key.pem\""),
        tls("cert = \"/dev/null\""),
        format!("[store]\nkind = \"postgres\"\n{RIGHT}"),
        format!("[store]\nkind = \"postgres\"\nurl = \"mysql://u:p@h/d\"\n{RIGHT}"),
        format!("[store]\nkind = \"mysql\"\nurl = \"mysql://x\"\n{RIGHT}"),
        format!(
            "[store]\nkind = \"postgres\"\nurl = \"postgres://x/y\"\ndurability = \"relaxed\"\n{RIGHT}"
        ),
        format!("[store]\nmax_bytes = \"lots\"\n{RIGHT}"),
        format!("[limits]\nintake_memory = 1\n{RIGHT}"),
        format!("[webhook]\nschedule = []\n{RIGHT}"),
        format!("[webhook]\nschedule = \"often\"\n{RIGHT}"),
        format!("[webhook]\nbody = \"thick\"\n{RIGHT}"),
        format!("[server]\npublic_prefix = \"\"\n[webhook]\nbody = \"auto\"\n{RIGHT}"),
        format!("[server]\npublic_prefix = \"\"\n{RIGHT}[route.webhook]\nbody = \"thin\"\n"),
        format!("[webhook]\ned25519_keys = [\"whsk_c2hvcnQ=\"]\n{RIGHT}"),
        format!(
            "[webhook]\ned25519_keys = [\"whsk_{}==\"]\n{RIGHT}",
            "A".repeat(86)
        ),
        format!("{RIGHT}[route.webhook]\ned25519_keys = []\n"),
        format!("[webhook]\nsigning_secrets = [\"whsec_c2hvcnQ=\"]\n{RIGHT}"),
        format!("[webhook]\ncaller_endpoints = \"listed\"\n{RIGHT}"),
        format!(
            "[webhook]\nallow_hosts = [\"https://a.example\"]\nallow_networks = [\"10.0.0.0/33\"]\nports = [0]\n{RIGHT}"
        ),
        format!("{RIGHT}dialects = [\"openwhisk\", \"rest\", \"openfaas\"]\n"),
        format!("{RIGHT}dialects = []\nalways = 1\n"),
        format!("{RIGHT}openfaas_path = \"/fn/{{path}}\"\n"),
        format!("{RIGHT}openfaas_path = \"{{name}}\"\n"),
        format!("{RIGHT}openfaas_path = \"/{{name}}{{path}}\"\n"),
        format!("{RIGHT}openfaas_path = \"/{{name}}/{{function}}\"\n"),
        format!(
            "{RIGHT}[[route]]\nname = \"b\"\npath = \"/fn\"\nupstream = \"app\"\n[route.async]\ndialects = [\"openfaas\"]\n"
        ),
        format!("{RIGHT}parameters = {{ async = \"webhookEndpoint\" }}\n"),
        format!("{RIGHT}dialects = [\"ubidots\"]\nparameters = {{ async = \"_blocking\" }}\n"),
        format!("{RIGHT}convert_after = \"soon\"\non_slow = \"502\"\nmax_wait = \"13h\"\n"),
        format!("{RIGHT}convert_after = \"15m\"\n"),
        format!("{RIGHT}response_grace_period = \"12h 1s\"\nconcurrency = 0\n"),
        format!("{RIGHT}success_statuses = [\"399-200\"]\nretry_statuses = [42]\n"),
        format!("{RIGHT}cors = {{ origins = [\"https://A.example/\", \"x\"] }}\n"),
        format!("{RIGHT}cors = {{ origins = [\"*\"], credentials = true }}\n"),
        format!("{RIGHT}[route.webhook]\nendpoint = \"/hook\"\n"),
        format!("{RIGHT}[route.webhook]\nendpoint = \"http://127.0.0.1/hook\"\n"),
        format!("{RIGHT}[route.webhook]\ntimeout = \"1s\"\n"),
        format!("{RIGHT}[[route]]\nupstream = \"app\"\n"),
        format!("{RIGHT}[[route]]\nname = \"b\"\npath = \"api\"\nupstream = \"app\"\n"),
        format!("{RIGHT}[[route]]\nname = \"b\"\npath = \"/_raincheck/x\"\nupstream = \"app\"\n"),
        format!("{RIGHT}[openwhisk.namespaces._]\nupstream = \"ap\"\npath = \"/fn\"\n"),
        format!(
            "[server]\npublic_prefix = \"/api/v1/runs\"\n{RIGHT}[openwhisk.namespaces.a]\nupstream = \"app\"\n\
             credentials = [\"hush\"]\nblocking_wait = \"2m\"\nconcurency = 3\n"
        ),
        format!("route = 3\n{}", &RIGHT[..RIGHT.find("[[").unwrap()]),
        "[[route]]\nupstream = \"app\"\n".to_owned(),
        "[upstream.app]\n[[route]]\nupstream = \"app\"\nhost = \"a:80\"\n".to_owned(),
    ];
    let said: Vec<_> = cases
        .iter()
        .map(|text| complaints(text).join("\n"))
        .collect();
    assert!(said.iter().all(|said| !said.is_empty()), "{said:#?}");
    expect("each", &said.join("\n\n"));
}

#[test]
fn a_secret_is_never_shown() {
    let said = one(&format!(
        "[webhook]\nsigning_secrets = [\"hush-hush\"]\n{RIGHT}"
    ));
    assert!(!said.contains("hush"), "{said}");
    let said = one(&format!(
        "[webhook]\ned25519_keys = [\"hush-hush\"]\n{RIGHT}"
    ));
    assert!(!said.contains("hush"), "{said}");
    let said = one(&format!(
        "{RIGHT}[route.webhook]\nendpoint = \"ftp://x/hush\"\n"
    ));
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let said = Config::load(Path::new("/nowhere/raincheck.toml")).unwrap_err();
    assert_eq!(said.len(), 1);
    assert!(
        said[0]
            .to_string()
            .starts_with("/nowhere/raincheck.toml: cannot be read (No such file")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.toml");
    std::fs::write(&path, b"[server]\nthreads = \"\xe4\"").unwrap();
    let said = Config::load(&path).unwrap_err();
    assert_eq!(said[0].position, Some((2, 12)));
}

#[test]
fn relative_paths_begin_in_the_folder_of_the_file() {
    let config = Config::read(RIGHT, Path::new("/etc/raincheck/r.toml")).unwrap();
    assert_eq!(
        config.store.path,
        Path::new("/etc/raincheck/raincheck-data")
    );
}

#[test]
fn the_name_of_a_parameter_that_is_not_read_is_free() {
    assert_eq!(
        complaints(&format!(
            "{RIGHT}parameters = {{ async = \"_blocking\" }}\n"
        )),
        [""; 0]
    );
    let text = format!(
        "{RIGHT}[[route]]\nname = \"f\"\npath = \"/async-function/f\"\nupstream = \"app\"\n[route.async]\ndialects = [\"openfaas\"]\n"
    );
    assert_eq!(complaints(&text), [""; 0]);
}

#[test]
fn a_route_overrides_the_webhook_settings_key_by_key() {
    let text =
        format!("[webhook]\non = [\"failed\"]\n{RIGHT}[route.webhook]\nschedule = \"cerebrium\"\n");
    let config = Config::read(&text, Path::new("")).unwrap();
    let policy = &config.routes[0].run.as_ref().unwrap().policy.webhook;
    assert_eq!(
        policy
            .schedule
            .iter()
            .map(|delay| delay.as_secs())
            .collect::<Vec<_>>(),
        [0, 5, 5]
    );
    assert_eq!(policy.on, [crate::model::run::RunState::Failed]);
}

#[test]
fn a_route_may_override_the_body_and_its_size_each_alone() {
    let body = |general: &str, route: &str| {
        let text = format!("[webhook]\n{general}\n{RIGHT}[route.webhook]\n{route}\n");
        let config = Config::read(&text, Path::new("")).unwrap();
        config.routes[0].run.as_ref().unwrap().policy.webhook.body
    };
    let auto = |thin_above| WebhookBody::Auto { thin_above };
    assert_eq!(body("", ""), WebhookBody::Raw);
    assert_eq!(body("body = \"thin\"", ""), WebhookBody::Thin);
    assert_eq!(body("", "body = \"envelope\""), WebhookBody::Envelope);
    assert_eq!(body("body = \"auto\"", ""), auto(1 << 20));
    assert_eq!(body("body = \"auto\"", "thin_above = 7"), auto(7));
    assert_eq!(body("thin_above = 7", "body = \"auto\""), auto(7));
    assert_eq!(body("body = \"auto\"", "body = \"raw\""), WebhookBody::Raw);
}

#[test]
fn slow_calls_are_converted_only_where_the_file_says_when() {
    let read = |more: &str| {
        let config = Config::read(&format!("{RIGHT}{more}"), Path::new("")).unwrap();
        let run = config.routes[0].run.clone().unwrap();
        let after = run.convert_after.map(|after| after.as_millis());
        (after, run.on_slow, run.max_wait.as_secs())
    };
    assert_eq!(read(""), (None, OnSlow::Convert, 60));
    assert_eq!(
        read("convert_after = \"1500ms\"\non_slow = \"504\"\nmax_wait = 0\n"),
        (Some(1500), OnSlow::GatewayTimeout, 0)
    );
    assert_eq!(read("convert_after = 20\n").0, Some(20_000));
}

#[test]
fn a_namespace_is_a_route_of_its_own_with_the_defaults_of_routes() {
    let text = "[upstream.app]\npeers = [\"a:1\"]\n[openwhisk.namespaces.one]\nupstream = \"app\"\n\
                [openwhisk.namespaces.two]\nupstream = \"app\"\npath = \"/fn/{action}\"\ncredentials = [\"u:p\"]\n\
                concurrency = 3\nwebhook = { schedule = \"cerebrium\" }\ncors = { origins = [\"*\"] }\n";
    let config = Config::read(text, Path::new("")).unwrap();
    assert!(config.routes.is_empty());
    let names: Vec<_> = config
        .all_routes()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["openwhisk/one", "openwhisk/two"]);
    let [one, two] = &config.namespaces[..] else {
        panic!("two namespaces");
    };
    assert_eq!(one.settings.concurrency, 100);
    assert_eq!(one.settings.policy.response_grace_period.as_secs(), 900);
    assert_eq!(one.settings.policy.webhook.schedule.len(), 8);
    assert_eq!(one.path.of("p/a"), "/p/a");
    assert_eq!(
        (one.credentials.len(), one.blocking_wait.as_secs()),
        (0, 30)
    );
    assert_eq!(two.settings.concurrency, 3);
    assert_eq!(two.settings.policy.webhook.schedule.len(), 3);
    assert!(two.settings.cors.is_some());
    assert_eq!(two.path.of("p/a"), "/fn/p/a");
    assert_eq!(two.credentials[0].reveal(), b"u:p");
}

#[test]
fn one_url_is_a_whole_configuration() {
    for (url, peer, tls) in [
        ("http://127.0.0.1:8000", "127.0.0.1", false),
        ("https://App.internal/", "app.internal", true),
        ("http://[::1]:80", "::1", false),
    ] {
        let config = Config::for_upstream(url).unwrap();
        assert!(
            matches!(&config.upstreams[0].peers[0], super::PeerAddress::Tcp { host, .. } if host == peer)
        );
        assert_eq!(config.upstreams[0].tls.is_some(), tls);
        assert_eq!(config.listeners[0].address, "0.0.0.0:8080");
        assert!(config.routes[0].name == "app" && config.routes[0].run.is_some());
    }
    assert!(Config::for_upstream("unix:/run/app.sock").is_ok());
    for url in [
        "",
        "app:8000",
        "ftp://a",
        "http://a/b",
        "http://u:p@a",
        "http://a?b",
        "http://",
    ] {
        assert!(Config::for_upstream(url).is_err(), "{url}");
    }
}

#[test]
fn a_host_needs_neither_listeners_nor_upstreams() {
    let config = Config::embedded("[[route]]\nname = \"api\"\n[route.async]\n").unwrap();
    assert_eq!(config.routes[0].name, "api");
    let said =
        Config::embedded("[[listener]]\n[upstream.a]\npeers = [\"a:1\"]\n[[route]]\n").unwrap_err();
    assert_eq!(said.len(), 3, "{said:#?}");
}

#[test]
fn the_example_of_a_real_deployment_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let text = &include_str!("../../conf/production.toml")
        .replace("/run/credentials/raincheck.service/", "");
    let environment = |name: &str| match name {
        "RAINCHECK_ADMIN_TOKEN" => Some("0123456789abcdef0123".into()),
        "RAINCHECK_SIGNING_SECRET" => Some("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".into()),
        _ => None,
    };
    let file = folder.path().join("production.toml");
    let (config, _) = check::read(text, &file, Reader::Proxy, &environment);
    let config = config.unwrap();
    assert!(
        config
            .listeners
            .iter()
            .any(|listener| listener.tls.is_some())
    );
    assert_eq!(config.upstreams.len(), 2);
}

#[test]
fn the_file_in_the_readme_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let readme = include_str!("../../README.md");
    let files: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!files.is_empty());
    for file in files {
        let text = file
            .split("```")
            .next()
            .unwrap()
            .replace("/etc/raincheck/", "");
        let secret = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://u:p@host/database".into()),
            _ => Some("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".into()),
        };
        let at = folder.path().join("raincheck.toml");
        let (read, _) = check::read(&text, &at, Reader::Proxy, &secret);
        assert!(read.is_ok(), "{:#?}", read.unwrap_err());
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange_and_every_complaint_has_a_line(text in any::<String>()) {
        check_lines(&text);
    }

    #[test]
    fn nor_is_a_manual_with_something_else_in_it(at in 0..defaults::TEXT.len(), text in "[\\[\\]{}=\"'.,a-z0-9\n ]{0,12}") {
        let at = defaults::TEXT.floor_char_boundary(at);
        check_lines(&format!("{}{text}{}", &defaults::TEXT[..at], &defaults::TEXT[at..]));
    }
}

fn check_lines(text: &str) {
    let (read, _) = check::read(text, Path::new("r.toml"), Reader::Proxy, &|_| None);
    let lines = text.matches('\n').count() + 1;
    for complaint in read.err().into_iter().flatten() {
        assert!(complaint.position.is_none_or(|(line, _)| line <= lines));
    }
}
