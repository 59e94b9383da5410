//! `conf/raincheck.service`.

use std::{fs, process::Command};

use toml::Table;

use super::{file, longest_stop, seconds, tool};
use crate::harness::PROGRAM;

const UNIT: &str = "conf/raincheck.service";

fn value(unit: &str, key: &str) -> String {
    unit.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {key}="))
        .to_owned()
}

#[test]
fn its_command_line_is_one_that_the_program_takes() {
    let folder = tempfile::tempdir().expect("folder");
    let command = value(&file(UNIT), "ExecStart");
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("raincheck"));
    let nowhere = folder.path().join("nowhere").display().to_string();
    let arguments: Vec<String> = words
        .map(|word| word.replace("/etc/raincheck", &nowhere))
        .collect();
    let output = Command::new(PROGRAM)
        .args(&arguments)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    // Not 2: it gets as far as the file that is not there.
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains(&nowhere), "{said}");
}

#[test]
fn it_waits_longer_than_a_stop_takes_and_has_the_folder_of_the_store() {
    let unit = file(UNIT);
    let production: Table = file("conf/production.toml").parse().expect("toml");
    assert!(seconds(&value(&unit, "TimeoutStopSec")) > longest_stop(&production));
    let folder = format!("/var/lib/{}", value(&unit, "StateDirectory"));
    for name in ["conf/production.toml", "conf/package.toml"] {
        let config: Table = file(name).parse().expect("toml");
        assert_eq!(config["store"]["path"].as_str(), Some(&*folder), "{name}");
    }
}

#[test]
fn systemd_takes_it_and_finds_little_exposed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("raincheck.service");
    let text = file(UNIT).replace("ExecStart=raincheck", &format!("ExecStart={PROGRAM}"));
    fs::write(&path, text).expect("write");
    let path = path.to_str().expect("UTF-8");
    let Some((right, said)) = tool("systemd-analyze", &["verify", path]) else {
        return;
    };
    assert!(right && !said.contains("raincheck.service"), "{said}");
    // 15 is an exposure of 1.5 of 10.
    let (right, said) = tool(
        "systemd-analyze",
        &[
            "security",
            "--offline=yes",
            "--threshold=15",
            "--no-pager",
            path,
        ],
    )
    .expect("it was there before");
    assert!(right, "{said}");
}
