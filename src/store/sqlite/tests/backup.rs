//! Copies of a store that is in use.

use std::path::PathBuf;

use bytes::Bytes;

use super::*;
use crate::{
    model::{exchange::Body, id::RunId},
    store::{BackupError, Store},
};

/// More than fits between the packer and a reader that does not read.
const LONG: usize = 4 * 1024 * 1024;

/// A queued run with a long body, and the body's file.
async fn long_run(opened: &Opened) -> (RunId, PathBuf) {
    let s = &opened.subject;
    let mut writer = s.store.spool().writer(0);
    writer.write(Bytes::from(vec![b'x'; LONG])).await.unwrap();
    let body = writer.finish().await.unwrap();
    let Body::Spooled { name, .. } = &body else {
        panic!("a long body is spooled");
    };
    let file = opened.folder.path().join("data/spool").join(name);
    let mut new = s.new_run("app");
    new.request.body = body;
    (s.accept(new).await, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_what_it_names_stays_until_it_has_ended() {
    let opened = Opened::new();
    let (id, file) = long_run(&opened).await;
    // Packed after it: the end of the archive does not wait for a reader.
    let (_, last) = long_run(&opened).await;
    let mut backup = opened.sqlite.backup().await.unwrap();
    let again = opened.sqlite.backup().await;
    assert!(matches!(again, Err(BackupError::UnderWay)));
    opened.sqlite.cancel(id).await.unwrap();
    let mut archive = Vec::new();
    while let Some(piece) = backup.next().await {
        archive.extend_from_slice(&piece.unwrap());
        assert!(archive.len() > LONG || file.exists());
    }
    let mut archive = tar::Archive::new(&*archive);
    let entries = archive.entries().unwrap();
    let packed: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().into_owned(), entry.size())
        })
        .collect();
    assert_eq!(packed[0].0, PathBuf::from("runs.db"));
    assert!(file.ends_with(&packed[1].0));
    assert!(last.ends_with(&packed[2].0));
    assert_eq!((packed.len(), packed[1].1), (3, LONG as u64));
    while file.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_reads_to_its_end_is_given_up() {
    let opened = Opened::new();
    let (id, file) = long_run(&opened).await;
    drop(opened.sqlite.backup().await.unwrap());
    opened.sqlite.cancel(id).await.unwrap();
    while file.exists() {
        tokio::task::yield_now().await;
    }
    while matches!(opened.sqlite.backup().await, Err(BackupError::UnderWay)) {
        tokio::task::yield_now().await;
    }
}
