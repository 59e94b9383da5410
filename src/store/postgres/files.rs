//! Files of this replica: long bodies on their way to pieces in the database, or brought here from them. Whatever is in
//! one is in the database too, so that all may go when its time is over.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{PostgresStore, link::LinkError, pieces, shared::Shared};
use crate::{
    model::{
        exchange::{Body, StoredResponse},
        id::RunId,
    },
    store::spool::Spool,
};

/// What was brought here for a look.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// Responses never change: the next look has the same file.
    responses: Mutex<HashMap<RunId, LentResponse>>,
    /// Names of other files, the oldest first.
    others: Mutex<Vec<(Instant, String)>>,
}

#[derive(Debug)]
struct LentResponse {
    brought: Instant,
    asked: Instant,
    response: StoredResponse,
}

impl Lent {
    /// The response, if it is here. One that is asked for again and again is brought anew before its file is old.
    pub(super) fn response(&self, id: RunId) -> Option<StoredResponse> {
        let mut responses = self.responses.lock();
        let lent = responses.get_mut(&id)?;
        if lent.brought.elapsed() < super::LENT_AT_MOST {
            lent.asked = Instant::now();
            return Some(lent.response.clone());
        }
        let old = responses.remove(&id)?;
        drop(responses);
        self.keep(&old.response.body);
        None
    }

    /// Keeps a file for as long as it may take to open it.
    pub(super) fn keep(&self, body: &Body) {
        if let Some(name) = pieces::file(body) {
            self.others.lock().push((Instant::now(), name.to_owned()));
        }
    }

    fn over(&self) -> Vec<String> {
        let is_over = |asked: &Instant| asked.elapsed() >= super::LENT;
        let mut others = self.others.lock();
        let until = others.partition_point(|(asked, _)| is_over(asked));
        let mut over: Vec<_> = others.drain(..until).map(|(_, name)| name).collect();
        let responses = &mut self.responses.lock();
        let old = responses.extract_if(|_, lent| is_over(&lent.asked));
        over.extend(
            old.filter_map(|(_, lent)| pieces::file(&lent.response.body).map(str::to_owned)),
        );
        over
    }
}

/// Removes a file that nobody reads any more.
fn remove(spool: &Spool, name: &str) {
    if let Err(error) = spool.remove(name) {
        tracing::debug!(%error, name, "a spool file stays for now");
    }
}

impl Shared {
    /// This process has the run, or its delivery, and this body of it for as long.
    pub(super) fn hold(&self, id: RunId, body: &Body) {
        if let Some(held) = self.held.lock().get_mut(&id) {
            *held = pieces::file(body).map(str::to_owned);
        }
    }

    /// Nobody here has these any more.
    pub(super) fn let_go<'a>(&self, ids: impl IntoIterator<Item = &'a RunId>) {
        let mut held = self.held.lock();
        let files: Vec<String> = ids.into_iter().filter_map(|id| held.remove(id)?).collect();
        drop(held);
        for name in files {
            remove(&self.spool, &name);
        }
    }
}

impl PostgresStore {
    /// Removes a body's file, if it has one.
    pub(super) fn remove(&self, body: &Body) {
        if let Some(name) = pieces::file(body) {
            remove(&self.shared.spool, name);
        }
    }

    /// Keeps the file of a response that was brought here for a look; another one may have brought it meanwhile.
    pub(super) fn lend(&self, id: RunId, response: StoredResponse) -> StoredResponse {
        if pieces::file(&response.body).is_none() {
            return response;
        }
        let mut responses = self.lent.responses.lock();
        if let Some(there) = responses.get(&id) {
            self.remove(&response.body);
            return there.response.clone();
        }
        let lent = LentResponse {
            brought: Instant::now(),
            asked: Instant::now(),
            response: response.clone(),
        };
        responses.insert(id, lent);
        response
    }

    /// Removes files that were brought here for a look.
    pub(super) fn give_files_back(&self) {
        for name in self.lent.over() {
            remove(&self.shared.spool, &name);
        }
    }

    /// Removes what was left behind: files of processes that are not registered any more, and now and then pieces of
    /// bodies whose run was never stored. Says how many files.
    pub(super) async fn sweep(&self) -> Result<u64, LinkError> {
        let is_due = |swept: Option<Instant>| swept.is_none_or(|it| it.elapsed() >= super::SWEEP);
        if is_due(*self.swept.lock()) {
            *self.swept.lock() = Some(Instant::now());
            let old = self.shared.now().before(pieces::UNNAMED);
            pieces::sweep(&self.shared, old).await?;
        }
        let sql = "SELECT id FROM raincheck.replica WHERE NOT fenced";
        let alive = self.shared.link.query(sql, &[]).await?.into_iter();
        let alive: HashSet<u64> = alive
            .map(|row| row.get::<_, i64>(0).cast_unsigned())
            .collect();
        let spool = self.shared.spool.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let left = spool.left_by(|writer| !alive.contains(&writer.epoch))?;
            for name in &left {
                spool.remove(name)?;
            }
            std::io::Result::Ok(left.len() as u64)
        });
        Ok(swept.await.map_err(std::io::Error::other)??)
    }
}
