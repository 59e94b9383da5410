//! What a replica changes is told to the others, for those who wait there: by NOTIFY, some ids at a time and seldom, on a
//! connection of its own, since each NOTIFY takes a lock of the whole server. A hint only, which PgBouncer loses; whoever
//! waits for one run looks each second besides.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_postgres::{Notification, types::Type};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::model::id::RunId;

/// Between two times that something is told.
const EVERY: Duration = Duration::from_millis(500);
/// Ids in one notification (a payload has 8,000 bytes at most), and notifications at a time. What is more is not told.
const PIECE: usize = 200;
const PIECES: usize = 5;
/// Between tries to listen.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs that changed here and that the others have not been told of.
#[derive(Debug, Default)]
pub(super) struct Untold(Mutex<Vec<RunId>>);

impl Untold {
    pub(super) fn add(&self, runs: &[RunId]) {
        let mut untold = self.0.lock();
        let room = (PIECE * PIECES).saturating_sub(untold.len());
        untold.extend(runs.iter().take(room));
    }

    fn take(&self) -> Vec<RunId> {
        let mut runs = std::mem::take(&mut *self.0.lock());
        runs.sort_unstable();
        runs.dedup();
        runs
    }
}

/// Tells, and listens, until `stop`.
pub(super) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = tell(&shared) => {}
        () = listen(&shared) => {}
        () = stop.cancelled() => {}
    }
}

async fn tell(shared: &Shared) {
    let mut due = interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let runs = shared.untold.take();
        if runs.is_empty() {
            continue;
        }
        let sender = shared.owner();
        let texts: Vec<String> = runs
            .chunks(PIECE)
            .map(|some| written(sender, some))
            .collect();
        let sql = "SELECT pg_notify('raincheck', told) FROM unnest($1) AS told";
        let told = shared.link.query(sql, &[(&texts, Type::TEXT_ARRAY)]).await;
        if let Err(error) = told {
            tracing::debug!(%error, "other replicas are not told of changes");
        }
    }
}

async fn listen(shared: &Shared) {
    loop {
        let (sender, mut told) = mpsc::unbounded_channel::<Notification>();
        match shared.link.listen("LISTEN raincheck", sender).await {
            Ok(_client) => {
                while let Some(notification) = told.recv().await {
                    let (sender, runs) = read(notification.payload());
                    if sender != Some(shared.owner()) {
                        shared.notices.changes.tell(&runs);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "changes of other replicas are not heard"),
        }
        sleep(PAUSE).await;
    }
}

/// Who tells, and which runs.
fn written(sender: i64, runs: &[RunId]) -> String {
    let ids: Vec<String> = runs.iter().map(|run| run.simple()).collect();
    format!("{sender}:{}", ids.join(","))
}

/// What cannot be read is left out: it is a hint.
fn read(text: &str) -> (Option<i64>, Vec<RunId>) {
    let (sender, ids) = text.split_once(':').unwrap_or_default();
    let runs = ids.split(',').filter_map(|id| id.parse().ok()).collect();
    (sender.parse().ok(), runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64) -> RunId {
        RunId::from_parts(number * 8, 1)
    }

    #[test]
    fn what_is_told_is_read_again_and_fits_a_payload() {
        let runs: Vec<RunId> = (0..PIECE as i64).map(run).collect();
        let text = written(i64::MAX, &runs);
        assert!(text.len() < 8000, "{}", text.len());
        assert_eq!(read(&text), (Some(i64::MAX), runs));
        for other in ["", "x", ":", "7:", "7:x,,y"] {
            assert!(read(other).1.is_empty(), "{other}");
        }
    }

    #[test]
    fn each_run_is_told_once_and_no_more_than_have_room() {
        let untold = Untold::default();
        untold.add(&[run(2), run(1), run(2)]);
        assert_eq!(untold.take(), [run(1), run(2)]);
        let many: Vec<RunId> = (0..5000).map(run).collect();
        untold.add(&many);
        untold.add(&many);
        assert_eq!(untold.take().len(), PIECE * PIECES);
        assert!(untold.take().is_empty());
    }
}
