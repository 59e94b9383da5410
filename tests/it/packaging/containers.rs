//! `Dockerfile` and `conf/kubernetes.yaml`.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use super::{assert_right, file, longest_stop};
use crate::harness::{Server, Setup};

/// The instructions of the Dockerfile, their continuation lines joined.
fn instructions() -> Vec<(String, String)> {
    file("Dockerfile")
        .replace("\\\n", " ")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (word, rest) = line.split_once(' ').expect("an instruction");
            (word.to_owned(), rest.to_owned())
        })
        .collect()
}

fn last(word: &str) -> String {
    let all = instructions();
    let found = all.iter().rfind(|(name, _)| name == word);
    found.unwrap_or_else(|| panic!("no {word}")).1.clone()
}

#[test]
fn the_image_is_built_on_pinned_bases() {
    let bases: Vec<_> = instructions()
        .into_iter()
        .filter(|(word, _)| word == "FROM")
        .collect();
    assert_eq!(bases.len(), 2, "a stage to build and one to run");
    for (_, base) in bases {
        let image = base.split(' ').next().expect("an image");
        let (_, tag) = image.split_once(':').expect("a tag");
        assert!(
            tag.starts_with(|c: char| c.is_ascii_digit()) && tag.contains('.'),
            "{image} is no certain version"
        );
    }
}

#[test]
fn the_image_does_not_run_as_root_and_keeps_its_store_in_a_volume() {
    let user = last("USER");
    let id = user.split(':').next().expect("an id");
    assert!(id.parse::<u32>().expect("a number") > 0);
    assert_eq!(last("VOLUME"), last("WORKDIR"));
    for (word, rest) in instructions() {
        assert!(word != "ADD", "ADD {rest}");
        assert!(
            !rest.contains("apt-get install") || rest.contains("rm -rf /var/lib/apt/lists"),
            "{rest}"
        );
    }
}

#[test]
fn the_images_health_check_tells_a_program_that_lives_from_none() {
    let check = last("HEALTHCHECK");
    let (_, command) = check.split_once("CMD ").expect("a command");
    let words: Vec<String> = serde_json::from_str(command).expect("the form without a shell");
    let healthy = |address: std::net::SocketAddr| {
        let words = words
            .iter()
            .map(|word| word.replace("127.0.0.1/9180", &format!("127.0.0.1/{}", address.port())));
        let words: Vec<_> = words.collect();
        let output = Command::new(&words[0]).args(&words[1..]).output();
        output.expect("bash").status.success()
    };
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    assert!(healthy(proxy.admin()));
    let address = proxy.admin();
    proxy.terminate();
    proxy.wait();
    assert!(!healthy(address));
}

/// The one document of this kind.
fn document(kind: &str) -> Value {
    let all: Vec<Value> = serde_saphyr::from_multiple(&file("conf/kubernetes.yaml")).expect("YAML");
    let mut found = all.into_iter().filter(|one| one["kind"] == kind);
    let document = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    document
}

#[test]
fn the_manifests_configuration_is_right_and_fits_the_pod() {
    let map = document("ConfigMap");
    let text = map["data"]["raincheck.toml"].as_str().expect("a text");
    assert_right("kubernetes.yaml", text);
    let config: Table = text.parse().expect("toml");
    let set = document("StatefulSet");
    assert_eq!(set["spec"]["replicas"], 1);
    let pod = &set["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64();
    assert!(grace.expect("a number") > longest_stop(&config));

    let container = &pod["containers"][0];
    let port = |name: &str| {
        let ports = container["ports"].as_array().expect("ports");
        let found = ports.iter().find(|port| port["name"] == name);
        found.expect(name)["containerPort"].to_string()
    };
    let address = |value: &toml::Value| value["address"].as_str().expect("address").to_owned();
    assert_eq!(
        address(&config["listener"][0]),
        format!("0.0.0.0:{}", port("http"))
    );
    assert_eq!(
        address(&config["admin"]),
        format!("0.0.0.0:{}", port("admin"))
    );
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path, "{probe}");
        assert_eq!(container[probe]["httpGet"]["port"], "admin", "{probe}");
    }
    let store = config["store"]["path"].as_str().expect("a path");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == "store");
    let mount = mount.expect("store")["mountPath"].as_str().expect("a path");
    assert!(
        store.starts_with(&format!("{mount}/")),
        "{store} is not below {mount}"
    );
}

#[test]
fn the_manifests_pod_may_do_nothing_that_it_need_not() {
    let set = document("StatefulSet");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let user = pod["securityContext"]["runAsUser"].to_string();
    assert!(
        last("USER").starts_with(&user),
        "another user than the image's"
    );
    let allowed = &pod["containers"][0]["securityContext"];
    assert_eq!(allowed["readOnlyRootFilesystem"], true);
    assert_eq!(allowed["allowPrivilegeEscalation"], false);
    assert_eq!(allowed["capabilities"]["drop"][0], "ALL");
}
