//! Looks at activations: the list, one of them, its result, its logs.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;

use super::{
    Inner, answer,
    pieces::{Piece, Pieces},
};
use crate::{
    api::answer as problems,
    config::Namespace,
    model::{
        attempt::RunAttempt,
        dialect::openwhisk::{
            activation::{self, Activation, Ending},
            query::{List, Upto},
            refusal::Refusal,
            resource::Part,
        },
        filter::Filter,
        problem::{Code, Problem},
        run::{Run, RunState},
        time::Timestamp,
    },
    store::{COUNT_MAX, Found, Page, Store, StoreError},
};

/// How much longer than planned a run may have been queued: while nobody was there to start it.
const SLACK: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

impl Inner {
    /// `GET /activations`
    pub(super) async fn list(
        &self,
        namespace: &Namespace,
        asked: List,
    ) -> Result<Response, Refusal> {
        let filter = filter(namespace, &asked);
        if asked.count {
            let count = match filter {
                Some(filter) => self.shared.store.count(filter).await.map_err(unreadable)?,
                None => 0,
            };
            let count = count.saturating_sub(asked.skip as u64);
            let text = format!("{{\"activations\":{count}}}");
            return Ok(answer::json(StatusCode::OK, text));
        }
        let mut runs = match filter {
            Some(filter) if asked.skip <= COUNT_MAX => {
                self.page(filter, asked.skip, asked.limit).await
            }
            Some(_) | None => Ok(Vec::new()),
        }
        .map_err(unreadable)?;
        // Runs are in the order of their acceptance, in which they nearly always start.
        runs.sort_by_key(|run| std::cmp::Reverse(start(run)));
        if asked.docs {
            let records = runs.into_iter().map(|run| Piece::Record(Arc::new(run)));
            let pieces = Pieces::list(&self.shared.store, &namespace.name, records);
            let body = pieces.streamed().await.map_err(unreplayable)?;
            return Ok(answer::json(StatusCode::OK, body));
        }
        let entries = runs.iter().map(|run| of(namespace, run).summary());
        let entries: Vec<_> = entries.collect();
        let text = [&b"["[..], &entries.join(&b","[..]), b"]"].concat();
        Ok(answer::json(StatusCode::OK, text))
    }

    /// Up to `limit` runs, however many others lie between them.
    async fn page(
        &self,
        filter: Filter,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError> {
        let mut page = Page {
            before: None,
            skip: 0,
            limit,
        };
        if skip > 0 {
            // The newest may be a long row of unfinished ones, which a page that skips would take for all there is.
            page.limit = 1;
            let Some(first) = self.gather(&filter, page).await?.pop() else {
                return Ok(Vec::new());
            };
            page = Page {
                before: Some(first.id),
                skip: skip - 1,
                limit,
            };
        }
        self.gather(&filter, page).await
    }

    async fn gather(&self, filter: &Filter, mut page: Page) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        loop {
            let mut listed = self.shared.store.list(filter.clone(), page).await?;
            page.limit -= listed.runs.len();
            page.before = listed.next;
            runs.append(&mut listed.runs);
            if page.limit == 0 || page.before.is_none() || (page.skip > 0 && runs.is_empty()) {
                return Ok(runs);
            }
            page.skip = 0;
        }
    }

    /// `GET /activations/{id}`, `…/result` and `…/logs`
    pub(super) async fn look(
        &self,
        namespace: &Namespace,
        id: &str,
        part: Part,
    ) -> Result<Response, Refusal> {
        let run = self.find(namespace, id).await?;
        match part {
            Part::Record => self.record(namespace, run, StatusCode::OK).await,
            Part::Result => self.result(namespace, run).await,
            Part::Logs => {
                let lines = logs(self.shared.store.as_ref(), &run).await;
                let lines = serde_json::json!({ "logs": lines.map_err(unreadable)? });
                let response = answer::json(StatusCode::OK, lines.to_string());
                Ok(answer::about(&run, response))
            }
        }
    }

    /// What a blocking invocation is answered: the record, or its result alone.
    pub(super) async fn ended(
        &self,
        namespace: &Namespace,
        run: Box<Run>,
        result_alone: bool,
    ) -> Result<Response, Refusal> {
        let status = StatusCode::from_u16(Ending::of(&run).status()).unwrap_or_default();
        if !result_alone {
            return self.record(namespace, run, status).await;
        }
        let run = Arc::from(run);
        let pieces = Pieces::of(
            &self.shared.store,
            &namespace.name,
            [Piece::Result(Arc::clone(&run))],
        );
        self.tell(&run, pieces, status).await
    }

    /// A finished run of this namespace. Any spelling of an id will do.
    async fn find(&self, namespace: &Namespace, id: &str) -> Result<Box<Run>, Refusal> {
        let id = id.parse().map_err(|_| Refusal::no_activation())?;
        match self.shared.store.find(id).await.map_err(unreadable)? {
            Found::Run(run) if run.policy.route != namespace.route.name => {
                Err(Refusal::no_activation())
            }
            Found::Run(run) if run.state.is_final() => Ok(run),
            Found::Run(run) => Err(Refusal {
                state: Some(run.state),
                ..Refusal::no_activation()
            }),
            Found::Expired | Found::Unknown => Err(Refusal::no_activation()),
        }
    }

    async fn record(
        &self,
        namespace: &Namespace,
        run: Box<Run>,
        status: StatusCode,
    ) -> Result<Response, Refusal> {
        let run = Arc::from(run);
        let pieces = Pieces::of(
            &self.shared.store,
            &namespace.name,
            [Piece::Record(Arc::clone(&run))],
        );
        self.tell(&run, pieces, status).await
    }

    async fn result(&self, namespace: &Namespace, run: Box<Run>) -> Result<Response, Refusal> {
        let after = of(namespace, &run).after_lone_result();
        let run: Arc<Run> = Arc::from(run);
        let pieces = [
            Piece::Text(b"{\"result\":".to_vec()),
            Piece::Result(Arc::clone(&run)),
            Piece::Text(after),
        ];
        let pieces = Pieces::of(&self.shared.store, &namespace.name, pieces);
        self.tell(&run, pieces, StatusCode::OK).await
    }

    async fn tell(
        &self,
        run: &Run,
        pieces: Pieces,
        status: StatusCode,
    ) -> Result<Response, Refusal> {
        let body = pieces.body(run).await.map_err(unreplayable)?;
        Ok(answer::about(run, answer::json(status, body)))
    }
}

/// A run as an activation of this namespace.
fn of<'a>(namespace: &'a Namespace, run: &'a Run) -> Activation<'a> {
    Activation {
        namespace: &namespace.name,
        run,
    }
}

fn start(run: &Run) -> Timestamp {
    Activation { namespace: "", run }.start()
}

/// The lines of a run's logs.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn logs(store: &dyn Store, run: &Run) -> Result<Vec<String>, StoreError> {
    let attempts = match RunAttempt::only(run) {
        Some(only) => vec![only],
        None => store.attempts(run.id).await?.of_run,
    };
    Ok(activation::logs(&attempts))
}

/// The finished runs of this namespace that are asked for; none if there can be none.
fn filter(namespace: &Namespace, asked: &List) -> Option<Filter> {
    let until = match asked.upto {
        None => None,
        Some(Upto::At(time)) => Some(time),
        Some(Upto::Never) => return None,
    };
    let longest = namespace
        .settings
        .policy
        .max_queue_time
        .saturating_add(SLACK);
    Some(Filter {
        states: RunState::ALL
            .into_iter()
            .filter(|state| state.is_final())
            .collect(),
        route: Some(namespace.route.name.clone()),
        name: asked.name.clone(),
        // A run starts after its acceptance, and not too long after it: that bounds what is read.
        since: asked.since.map(|since| since.before(longest)),
        until,
        started_since: asked.since,
        started_until: until,
        ..Filter::default()
    })
}

fn unreadable(error: StoreError) -> Refusal {
    tracing::error!(%error, "activations cannot be looked up");
    problems::unavailable().into()
}

/// The stored response cannot be read, or is gone since the run was looked up.
fn unreplayable(error: std::io::Error) -> Refusal {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Refusal::no_activation();
    }
    tracing::error!(%error, "a stored response cannot be read");
    Problem::new(Code::Internal, "The stored response cannot be read.").into()
}
