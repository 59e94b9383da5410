//! Which run is meant: by its id, or the newest.

use clap::Args;
use http::Method;
use serde::Deserialize;

use crate::{
    cli::{Exit, Failure, admin::Admin, record::Record},
    model::id::RunId,
};

/// The run that is meant, and how to show it.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Which {
    /// The run's id, with or without hyphens.
    #[arg(required_unless_present = "last", conflicts_with = "last")]
    id: Option<RunId>,
    /// The newest run.
    #[arg(long)]
    pub(super) last: bool,
    /// Print as little as possible: the id, or nothing beside what was asked for.
    #[arg(short, long, conflicts_with = "json")]
    pub(super) quiet: bool,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A page of the list, as far as it concerns us.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) runs: Vec<Record>,
    pub(super) next_cursor: Option<String>,
}

impl Which {
    /// The id; the newest run's is asked for.
    pub(super) async fn id(&self, admin: &Admin) -> Result<RunId, Failure> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let newest = admin.request(Method::GET, "runs", &[("limit", "1".to_owned())]);
        let page = admin.json::<Page>(newest).await?.value;
        let newest = page.runs.first();
        let newest = newest.ok_or_else(|| Exit::Failed.because("there are no runs yet"))?;
        let unreadable = |_| Exit::Network.because("the newest run's id is no run id");
        newest.run_id.parse().map_err(unreadable)
    }
}
