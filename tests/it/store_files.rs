//! The store's files: who may read them, and what is said of one that cannot be used.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::harness::{Ask, PROGRAM, Server, Setup};

fn database(folder: &Path) -> PathBuf {
    fs::read_dir(folder)
        .expect("folder")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .expect("a database")
}

fn serve(folder: &Path) -> Output {
    Command::new(PROGRAM)
        .args(["serve", "--config", "raincheck.toml"])
        .current_dir(folder)
        .output()
        .expect("run")
}

fn refused(folder: &Path, words: &[&str]) {
    let output = serve(folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

#[test]
fn files_are_0600_in_a_0700_folder() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    proxy.run(&Ask::post("/?async=true", "x".repeat(300_000)));
    fn check(folder: &Path) {
        assert_eq!(
            fs::metadata(folder).expect("metadata").permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
        for entry in fs::read_dir(folder).expect("folder").flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                check(&entry.path());
            } else {
                assert_eq!(
                    metadata.permissions().mode() & 0o777,
                    0o600,
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
    check(&proxy.store_folder());
}

#[test]
fn a_store_in_use_is_74_and_names_the_process() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let text = fs::read_to_string(proxy.folder().join("raincheck.toml")).expect("read");
    let text = text
        .replace(
            &proxy.public().to_string(),
            &crate::harness::free_port().to_string(),
        )
        .replace(
            &proxy.admin().to_string(),
            &crate::harness::free_port().to_string(),
        );
    fs::write(proxy.folder().join("raincheck.toml"), text).expect("write");
    refused(proxy.folder(), &[&proxy.pid().to_string()]);
    proxy.run(&Ask::get("/?async=true"));
}

#[test]
fn a_damaged_store_is_74() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.run(&Ask::get("/?async=true"));
    proxy.terminate();
    proxy.wait();
    let file = database(&proxy.store_folder());
    fs::write(&file, vec![b'x'; 8192]).expect("write");
    refused(proxy.folder(), &[&file.display().to_string()]);
}

#[test]
fn a_newer_store_is_74_and_left_alone() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.run(&Ask::get("/?async=true"));
    proxy.terminate();
    proxy.wait();
    let file = database(&proxy.store_folder());
    let connection = rusqlite::Connection::open(&file).expect("open");
    connection
        .pragma_update(None, "user_version", 9999)
        .expect("pragma");
    drop(connection);
    refused(proxy.folder(), &["newer"]);
    let connection = rusqlite::Connection::open(&file).expect("open");
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("pragma");
    assert_eq!(version, 9999);
}

#[test]
fn a_store_folder_that_cannot_be_made_is_74() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.terminate();
    proxy.wait();
    fs::remove_dir_all(proxy.store_folder()).expect("remove");
    fs::write(proxy.store_folder(), "a file").expect("write");
    refused(proxy.folder(), &[]);
}
