//! Pages for operators, rendered from what the admin API answers. They need no other host, and without scripts they
//! still show and act.

mod act;
mod ask;
mod assets;
mod list;
mod overview;
mod page;
mod preview;
mod replicas;
mod run;
mod timeline;
mod words;

use axum::{
    Router,
    routing::{get, post},
};

use crate::api::{Door, Pages};

/// The pages, made of the API behind `door`.
pub fn pages(door: Door) -> Pages {
    let guarded = Router::new()
        .route("/", get(overview::page))
        .route("/replicas", get(replicas::page))
        .route("/runs", get(list::page))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/row", get(list::row))
        .route("/runs/{id}/response", get(run::download))
        .route("/runs/{id}/{act}", post(act::on_one))
        .route("/act/{act}", get(act::confirm).post(act::on_all))
        .with_state(door);
    Pages {
        guarded,
        open: Router::new().route("/assets/{name}", get(assets::asset)),
    }
}

#[cfg(test)]
mod tests;
