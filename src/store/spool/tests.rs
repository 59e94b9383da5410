use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::*;
use crate::model::time::ManualClock;

fn spool(folder: &Path, epoch: u64) -> (Spool, ManualClock) {
    let clock = ManualClock::at(Timestamp::from_millis(1_795_478_400_000));
    let writer = Fence { slot: 0, epoch };
    let spool = Spool::new(folder.to_owned(), writer, Arc::new(clock.clone()));
    (spool, clock)
}

async fn written(spool: &Spool, in_memory: usize, pieces: &[&[u8]]) -> Body {
    let mut writer = spool.writer(in_memory);
    for piece in pieces {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(mut reader: BodyReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(piece.len() <= 64 * 1024);
        all.extend_from_slice(&piece);
    }
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let hours = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = hours
        .flat_map(|hour| std::fs::read_dir(hour.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_short_body_stays_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = spool(folder.path(), 1);
    let body = written(&spool, 10, &[b"hello", b"", b"world"]).await;
    assert_eq!(body, Body::Inline("helloworld".into()));
    assert_eq!(read(spool.reader(&body)).await, b"helloworld");
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_long_body_goes_to_a_file_and_comes_back_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = spool(folder.path(), 1);
    let all: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<&[u8]> = all.chunks(90_001).collect();
    let body = written(&spool, 100_000, &pieces).await;
    let Body::Spooled { name, len } = &body else {
        panic!("not spooled");
    };
    assert_eq!(*len, 700_000);
    assert_eq!(spool.bytes(), 700_000);
    assert_eq!(read(spool.reader(&body)).await, all);
    let range = spool.reader_range(&body, 65_000, 300_000);
    assert_eq!(read(range).await, &all[65_000..365_000]);
    let beyond = spool.reader_range(&body, 699_999, 300_000);
    assert_eq!(read(beyond).await, &all[699_999..]);
    spool.remove(name).unwrap();
    spool.remove(name).unwrap();
    assert_eq!(spool.bytes(), 0);
    assert!(spool.reader(&body).next().await.is_err());
}

#[tokio::test]
async fn a_file_that_ends_early_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = spool(folder.path(), 1);
    let body = written(&spool, 0, &[&[7; 100_000]]).await;
    let path = files(folder.path()).remove(0);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(50_000)
        .unwrap();
    assert!(spool.reader(&body).next().await.is_err());
}

#[tokio::test]
async fn an_unfinished_body_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = spool(folder.path(), 1);
    let mut writer = spool.writer(0);
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(writer.in_memory(), 4);
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = spool(folder.path(), 1);
    for name in [
        "../secret",
        "2026112412/../x",
        "/etc/passwd",
        "2026112412/1-2",
    ] {
        assert!(spool.remove(name).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_sweep_suspects_files_of_dead_writers_and_old_ones_only() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, _) = spool(folder.path(), 1);
    let orphan = written(&dead, 0, &[b"orphan"]).await;
    let mut half = dead.writer(0);
    half.write(Bytes::from_static(b"half")).await.unwrap();
    std::mem::forget(half);

    let (living, clock) = spool(folder.path(), 2);
    let fresh = written(&living, 0, &[b"fresh"]).await;
    let name = |body: &Body| match body {
        Body::Spooled { name, .. } => name.clone(),
        Body::Inline(_) => panic!("not spooled"),
    };
    assert_eq!(living.suspects().unwrap(), [name(&orphan)]);
    assert_eq!(files(folder.path()).len(), 2, "the unfinished file is gone");
    clock.advance(Duration::from_secs(26 * 3600));
    let mut suspects = living.suspects().unwrap();
    suspects.sort();
    assert_eq!(suspects, [name(&orphan), name(&fresh)]);
}

#[tokio::test]
async fn a_failed_write_loses_nothing_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let (spool, _) = spool(&path, 1);
    let mut writer = spool.writer(4);
    writer.write("abc".into()).await.unwrap();
    // The folder is not there yet.
    assert!(writer.write("def".into()).await.is_err());
    assert!(writer.flush().await.is_err());
    assert!(writer.write("ghi".into()).await.is_err());
    std::fs::create_dir(&path).unwrap();
    writer.flush().await.unwrap();
    writer.write("jkl".into()).await.unwrap();
    let body = writer.finish().await.unwrap();
    assert_eq!(body.len(), 12);
    assert_eq!(read(spool.reader(&body)).await, b"abcdefghijkl");
}
