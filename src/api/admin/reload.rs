//! `POST /api/v1/reload`: asks whoever has the configuration's file to read it again.

use std::sync::Arc;

use axum::extract::State;
use http::{StatusCode, request::Parts};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::{Answer, Shared};
use crate::{
    api::answer,
    model::problem::{Code, Problem},
};

/// What a reload has come to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Reloaded {
    /// Which configuration holds now: the first 12 hexadecimal digits of the file's SHA-256.
    pub hash: String,
    /// Keys that have another value in the file than in this process, and that only a restart or an upgrade takes.
    #[schema(value_type = Vec<String>)]
    pub needs_restart: Vec<&'static str>,
}

/// Asks for a reload.
#[derive(Debug)]
pub struct ReloadOrder {
    answer: oneshot::Sender<Result<Reloaded, String>>,
}

impl ReloadOrder {
    /// Says what it has come to, or why nothing has changed.
    pub fn done(self, reloaded: Result<Reloaded, String>) {
        let _asker_left = self.answer.send(reloaded);
    }
}

/// The way to whoever has the file.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<ReloadOrder>);

/// What is asked for.
pub type ReloadOrders = mpsc::Receiver<ReloadOrder>;

/// The way to one who reloads, and his end of it.
pub fn reloads() -> (Reloads, ReloadOrders) {
    let (sender, orders) = mpsc::channel(1);
    (Reloads(sender), orders)
}

/// Reads the configuration file again, as SIGHUP does: routes, upstreams, limits, webhook settings and certificates
/// change without dropping a connection. Answers when it is done. A file with anything wrong in it changes nothing.
#[utoipa::path(post, path = "/api/v1/reload", operation_id = "reload", tag = "operations",
    responses((status = 200, description = "The file's configuration holds now.", body = Reloaded)))]
pub(super) async fn reload(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let gone = || {
        let says = "This process cannot read its configuration again: it is stopping, or a host with Raincheck as a library has it.";
        Problem::new(Code::NotReloadable, says)
    };
    let Some(Reloads(orders)) = &shared.reloads else {
        return Err(gone());
    };
    let (answer, reloaded) = oneshot::channel();
    orders
        .send(ReloadOrder { answer })
        .await
        .map_err(|_stopping| gone())?;
    match reloaded.await {
        Ok(Ok(reloaded)) => Ok(answer::json(StatusCode::OK, &reloaded)),
        Ok(Err(wrong)) => Err(Problem::new(Code::ConfigurationRefused, wrong)),
        Err(_stopping) => Err(gone()),
    }
}
