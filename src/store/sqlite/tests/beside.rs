//! What living processes on one store see of each other, and what one does when another dies.

use super::{pair::Pair, *};
use crate::{
    model::run::{End, Reason, RunState},
    store::{Accepted, NewRun, SettleError, Store},
};

/// Two stores on one folder, each as a subject of its own.
struct Two {
    one: Subject,
    other: Subject,
    stores: [Arc<SqliteStore>; 2],
    folder: TempDir,
}

impl Two {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = conformance::clock();
        let Pair { both, .. } = Pair::open(folder.path(), &clock);
        let subject = |store: &Arc<SqliteStore>| Subject {
            store: store.clone(),
            clock: clock.clone(),
        };
        Self {
            one: subject(&both[0]),
            other: subject(&both[1]),
            stores: both,
            folder,
        }
    }
}

fn repeatable(s: &Subject) -> NewRun {
    let mut new = s.new_run("app");
    new.facts = conformance::facts("GET");
    new
}

#[tokio::test]
async fn a_plain_start_is_refused_while_either_lives_and_names_it() {
    let two = Two::new();
    let clock = &two.one.clock;
    for living in &two.stores {
        let refused = open(two.folder.path(), clock).unwrap_err();
        let OpenError::InUse { pid, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(*pid, Some(std::process::id()));
        living.close().await;
    }
    open(two.folder.path(), clock).unwrap();
}

#[tokio::test]
async fn no_more_than_eight_live_on_one_store() {
    let two = Two::new();
    let more: Vec<_> = (2..8)
        .map(|_| beside(two.folder.path(), &two.one.clock).unwrap())
        .collect();
    let slots: Vec<u8> = more.iter().map(|store| store.shared.fence.slot).collect();
    assert_eq!(slots, [2, 3, 4, 5, 6, 7]);
    let refused = beside(two.folder.path(), &two.one.clock).unwrap_err();
    assert!(matches!(refused, OpenError::Crowded { .. }), "{refused}");
}

#[tokio::test]
async fn what_the_living_hold_is_left_alone_and_what_the_dead_held_is_taken_over() {
    let two = Two::new();
    let s = &two.one;
    let again = s.accept_started(repeatable(s)).await;
    let once = s.accept_started(s.with_webhook("app")).await;
    let told = s.accept_started(s.with_webhook("app")).await;
    let delivery = *s.end(told, End::Succeeded, true).await.delivery.unwrap();
    // A third process comes and takes nothing of the two.
    let third = beside(two.folder.path(), &s.clock).unwrap();
    assert_eq!(s.run(again.run.id).await.state, RunState::Running);
    assert_eq!(s.run(once.run.id).await.state, RunState::Running);
    assert!(two.other.pending().await.is_empty());
    third.close().await;
    // The first one goes as by a crash: what it holds stays in its name.
    two.stores[0].close().await;
    let s = &two.other;
    let run = loop {
        let told = two.stores[1].notices().runs.notified();
        let run = s.run(again.run.id).await;
        if run.state == RunState::Queued {
            break run;
        }
        assert_eq!(run.state, RunState::Running);
        told.await;
    };
    assert_eq!(run.progress.interruptions, 1);
    let run = s.run(once.run.id).await;
    assert_eq!(
        (run.state, run.reason),
        (RunState::Failed, Some(Reason::Interrupted))
    );
    let mut pending: Vec<_> = s.pending().await.iter().map(|pending| pending.id).collect();
    pending.sort();
    assert_eq!(pending, [once.run.id, delivery.run.id]);
    assert_eq!(s.claim("app", 9).await[0].run.id, again.run.id);
    // A claim of the dead one is void.
    let late = two.stores[1].release_delivery(delivery).await;
    assert_eq!(late.unwrap_err(), SettleError::Fenced);
    assert_eq!(s.books().await.accepted, 3);
    assert_eq!(two.stores[1].unfinished("app"), 3);
}

#[tokio::test]
async fn a_slot_taken_anew_leaves_nothing_of_its_last_process() {
    let two = Two::new();
    let s = &two.other;
    let held = s.accept_started(repeatable(s)).await.run.id;
    two.stores[1].close().await;
    let third = beside(two.folder.path(), &s.clock).unwrap();
    assert_eq!((third.shared.fence.slot, third.shared.fence.epoch), (1, 2));
    assert_eq!(two.one.run(held).await.state, RunState::Queued);
}

#[tokio::test]
async fn changes_of_another_process_are_told() {
    let two = Two::new();
    let notices = two.stores[1].notices();
    let told = notices.others.notified();
    let s = &two.one;
    let claim = s.accept_started(s.with_webhook("app")).await;
    told.await;
    let told = notices.others.notified();
    s.end(claim, End::Succeeded, false).await;
    told.await;
    assert_eq!(
        notices.deliveries.take(),
        None,
        "the schedule is to ask the store"
    );
    assert_eq!(two.other.deliveries(9).await.len(), 1);
    assert_eq!(two.stores[1].unfinished("app"), 1);
}

#[tokio::test]
async fn a_cancel_by_another_process_beats_the_end() {
    let two = Two::new();
    let claim = two.one.accept_started(two.one.new_run("app")).await;
    two.stores[1].cancel(claim.run.id).await.unwrap();
    let settlement = crate::store::Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Internal,
        progress: claim.run.progress,
        next: crate::model::retry::Next::End(End::Succeeded),
        response: None,
        claim_delivery: false,
    };
    let late = two.stores[0].settle_run(claim, settlement).await;
    assert_eq!(late.unwrap_err(), SettleError::WrongState);
}

/// Both at full speed, as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn two_committers_take_turns() {
    let two = Two::new();
    let lives = (0..256).map(|number| {
        let (one, other) = (two.one.clone(), two.other.clone());
        async move {
            let s = if number % 2 == 0 { one } else { other };
            for _ in 0..8 {
                let mut new = s.with_webhook("app");
                new.start = true;
                let Accepted::New(Some(claim)) = s.store.accept(new).await.unwrap() else {
                    panic!("not started");
                };
                let settled = s.end(*claim, End::Succeeded, true).await;
                s.deliver(*settled.delivery.unwrap(), 200).await;
            }
        }
    });
    futures::future::join_all(lives).await;
    assert_eq!(two.one.books().await.accepted, 2048);
    assert_eq!(two.other.books().await.runs(RunState::Succeeded), 2048);
    assert_eq!(two.stores[0].ready(), Ok(()));
    assert_eq!(two.stores[1].ready(), Ok(()));
}
