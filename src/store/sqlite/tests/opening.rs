//! Opening, and what a start finds.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::{
    model::{
        delivery::DeliveryState,
        id::RunId,
        run::{End, Reason, RunState},
        time::Clock as _,
    },
    store::{NewRun, Store},
};

/// Opens what a power cut would have left of a store that is still open, as its second process.
fn after_power_cut(opened: &Opened) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    for file in fs::read_dir(opened.folder.path().join("data")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file()
            && !file.file_name().to_string_lossy().ends_with("-shm")
        {
            fs::copy(file.path(), data.join(file.file_name())).unwrap();
        }
    }
    let clock = opened.subject.clock.clone();
    let sqlite = open(folder.path(), &clock).unwrap();
    Opened {
        subject: Subject {
            store: sqlite.clone(),
            clock,
        },
        sqlite,
        folder,
    }
}

fn of_method(s: &Subject, method: &str) -> NewRun {
    let mut new = s.with_webhook("app");
    new.facts = crate::model::run::Facts {
        webhook_endpoint: new.facts.webhook_endpoint,
        ..conformance::facts(method)
    };
    new
}

#[tokio::test]
async fn after_a_power_cut_all_that_was_accepted_is_there() {
    let first = Opened::new();
    let s = &first.subject;
    let queued = s.accept(s.new_run("app")).await;
    let repeatable = s.accept_started(of_method(s, "GET")).await.run.id;
    let once = s.accept_started(of_method(s, "POST")).await.run.id;
    let told = s.accept_started(of_method(s, "GET")).await;
    let told = s.end(told, End::Succeeded, true).await.run.id;
    let highest = first.sqlite.next_id();

    let second = after_power_cut(&first);
    let s = &second.subject;
    assert!(second.sqlite.next_id() > told && second.sqlite.next_id().key() > once.key());
    assert!(highest.key() > told.key());
    assert_eq!(s.run(queued).await.state, RunState::Queued);
    let run = s.run(repeatable).await;
    assert_eq!(
        (run.state, run.progress.interruptions),
        (RunState::Queued, 1)
    );
    let run = s.run(once).await;
    assert_eq!(
        (run.state, run.reason),
        (RunState::Failed, Some(Reason::Interrupted))
    );
    let claims: Vec<RunId> = s.claim("app", 9).await.iter().map(|c| c.run.id).collect();
    assert_eq!(claims, [queued, repeatable], "first come, first served");
    let mut deliveries: Vec<RunId> = s.deliveries(9).await.iter().map(|c| c.run.id).collect();
    deliveries.sort();
    assert_eq!(deliveries, [once, told]);
    let books = s.books().await;
    assert_eq!(books.accepted, 4);
    assert_eq!(books.deliveries(DeliveryState::Pending), 2);
    assert_eq!(second.sqlite.unfinished("app"), 4);
    assert_eq!(first.sqlite.identity().key, second.sqlite.identity().key);
}

#[tokio::test]
async fn the_third_interruption_ends_a_run() {
    let mut opened = Opened::new();
    let id = opened
        .subject
        .accept_started(of_method(&opened.subject, "GET"))
        .await
        .run
        .id;
    for _ in 0..2 {
        opened = after_power_cut(&opened);
        let claimed = opened.subject.claim("app", 1).await;
        assert_eq!(claimed[0].run.id, id);
    }
    let last = after_power_cut(&opened);
    let run = last.subject.run(id).await;
    assert_eq!(
        (run.state, run.reason),
        (RunState::Failed, Some(Reason::Interrupted))
    );
    assert!(last.subject.claim("app", 1).await.is_empty());
}

#[tokio::test]
async fn a_closed_store_opens_again_and_ids_go_on() {
    let opened = Opened::new();
    let s = &opened.subject;
    let id = s.accept(s.new_run("app")).await;
    opened.sqlite.close().await;
    s.clock.set(s.now().before(Duration::from_secs(3600)));
    let again = open(opened.folder.path(), &s.clock).unwrap();
    assert!(again.next_id().key() > id.key());
    let s = Subject {
        store: again,
        clock: s.clock.clone(),
    };
    assert_eq!(s.run(id).await.state, RunState::Queued);
}

#[tokio::test]
async fn a_store_in_use_names_the_process() {
    let opened = Opened::new();
    let refused = open(opened.folder.path(), &opened.subject.clock).unwrap_err();
    let OpenError::InUse { pid, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*pid, Some(std::process::id()));
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let opened = Opened::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = opened.folder.path().join("data");
    assert_eq!(mode(&data), 0o700);
    for file in ["runs.db", "runs.db-wal", "slot-0.lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let opened = Opened::new();
    opened.sqlite.close().await;
    let file = opened.folder.path().join("data/runs.db");
    let clock = &opened.subject.clock;
    let whole = fs::read(&file).unwrap();

    let mut cut = whole.clone();
    cut.truncate(5000);
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&9_i32.to_be_bytes());
    let mut foreign = whole.clone();
    foreign[68..72].copy_from_slice(&[1, 2, 3, 4]);
    for bad in [b"hello".to_vec(), vec![0; 8192], cut, foreign] {
        fs::write(&file, &bad).unwrap();
        let refused = open(opened.folder.path(), clock).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        assert!(fs::read(&file).unwrap() == bad, "the file was changed");
    }
    fs::write(&file, &newer).unwrap();
    let refused = open(opened.folder.path(), clock).unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { found: 9, .. }),
        "{refused}"
    );
    fs::write(&file, &whole).unwrap();
    open(opened.folder.path(), clock).unwrap();
}

#[tokio::test]
async fn secrets_and_requests_are_overwritten() {
    let opened = Opened::new();
    let s = &opened.subject;
    let mut new = s.with_webhook("app");
    new.request.head = "POST / HTTP/1.1\r\nauthorization: TOPSECRET-HEADER\r\n\r\n".into();
    new.request.webhook_secret = Some(crate::model::secret::Secret::new(*b"TOPSECRET-HOOK"));
    let claim = s.accept_started(new).await;
    let delivery = *s.end(claim, End::Succeeded, true).await.delivery.unwrap();
    s.deliver(delivery, 200).await;
    opened.sqlite.close().await;
    let file = fs::read(opened.folder.path().join("data/runs.db")).unwrap();
    assert!(memchr::memmem::find(&file, b"TOPSECRET").is_none());
    assert!(memchr::memmem::find(&file, b"answer").is_some());
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let id = RunId::from_parts(RunId::first_key_at(conformance::clock().now()), 7);
    let db = rusqlite::Connection::open(data.join("runs.db")).unwrap();
    db.execute_batch(crate::store::sqlite::schema::STEPS[0])
        .unwrap();
    let policy = serde_json::to_string(&conformance::policy("app")).unwrap();
    db.execute_batch(
        "INSERT INTO identity VALUES('mark', x'00'); INSERT INTO route VALUES(1, 'app')",
    )
    .unwrap();
    db.execute("INSERT INTO policy VALUES(1, 1, ?1)", [policy])
        .unwrap();
    db.execute(
        "INSERT INTO run(rid, id, state, route, policy, accepted, started, finished, attempts, progress, dialect,
           is_async, method, path, has_key, endpoint, depth, r_status, r_bytes, r_upstream, d_state, d_attempts, d_due)
         VALUES(?1, ?2, 2, 1, 1, 5, 6, 7, 1, 0, 'cerebrium', 1, 'GET', '/run', 0, 'http://hooks.example/', 0, 200, 2, 1,
           0, 1, 9)",
        rusqlite::params![id.key(), id.as_bytes()],
    )
    .unwrap();
    db.execute(
        "INSERT INTO body(rid, head, body) VALUES(?1, x'', x'4142')",
        [id.key()],
    )
    .unwrap();
    db.pragma_update(None, "application_id", i32::from_be_bytes(*b"Rain"))
        .unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    drop(db);

    let clock = conformance::clock();
    let sqlite = open(folder.path(), &clock).unwrap();
    let s = Subject {
        store: sqlite,
        clock,
    };
    let run = s.run(id).await;
    let delivery = run.delivery.unwrap();
    assert_eq!((delivery.attempts, delivery.attempts_before), (1, 0));
    assert_eq!(delivery.since, run.finished_at.unwrap());
    let claim = s.deliveries(5).await.remove(0);
    let again = s.deliver(claim, 500).await.delivery.unwrap();
    assert_eq!((again.state, again.attempts), (DeliveryState::Dead, 2));
}

#[tokio::test]
async fn tables_that_a_living_process_could_not_write_to_are_left_as_they_are() {
    let opened = Opened::new();
    opened.sqlite.close().await;
    let data = opened.folder.path().join("data");
    let version = |set: Option<i32>| -> i32 {
        let db = rusqlite::Connection::open(data.join("runs.db")).unwrap();
        if let Some(version) = set {
            db.pragma_update(None, "user_version", version).unwrap();
        }
        db.pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    let older = schema::OLDEST_BESIDE - 1;
    version(Some(older));
    let living = slot::Slot::take(&data, Entry::Alone).unwrap();
    let refused = beside(opened.folder.path(), &opened.subject.clock).unwrap_err();
    assert!(
        matches!(refused, OpenError::Older { found, .. } if found == older),
        "{refused}"
    );
    assert_eq!(version(None), older);
    drop(living);
}
