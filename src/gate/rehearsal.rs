//! What would become of a request, without a store and without anybody who carries it out.

use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;

use super::{
    admission::{Admitted, House, Order, Rules},
    intake::Taken,
    keep,
    patience::Patience,
};
use crate::{
    config::{Config, OnSlow, RunSettings},
    model::{access, exchange::Body, problem::Problem, run::Access, secret::Secret},
};

/// What would become of a request on its route.
#[derive(Debug)]
pub enum Foreseen {
    /// It is passed through.
    Pass,
    /// It is passed through, unless it is slow.
    Watched(Watched),
    /// It becomes a run.
    Run(Run),
}

/// A request that is passed on at once, and watched.
#[derive(Debug)]
pub struct Watched {
    /// How long its response's head may take.
    pub patience: Duration,
    /// What happens then.
    pub then: OnSlow,
    /// The dialect of the 202 that it then gets.
    pub dialect: &'static str,
}

/// A run that would be made.
#[derive(Debug)]
pub struct Run {
    /// The dialect of its 202; none for a synchronous call whose webhook is told.
    pub dialect: Option<&'static str>,
    /// The receiver that the caller names.
    pub endpoint: Option<String>,
    /// Whether it has an idempotency key that counts.
    pub has_key: bool,
    /// Who may look at it.
    pub access: Access,
    /// What the application would get, but for the headers that each attempt adds.
    pub head: Bytes,
}

/// Judges a request by the configuration alone: as on a store that is empty and writable.
///
/// # Errors
/// The problem that its caller would be told.
pub fn foresee(
    config: &Config,
    session: &ServerSession,
    settings: &RunSettings,
) -> Result<Foreseen, Problem> {
    let house = House {
        loop_id: "",
        room: &|_| Ok(()),
    };
    Ok(match Rules::new(config).admit(session, settings, house)? {
        Admitted::Pass => Foreseen::Pass,
        Admitted::Watch(
            _,
            Patience {
                time,
                then,
                dialect,
                ..
            },
        ) => Foreseen::Watched(Watched {
            patience: time,
            then,
            dialect: dialect.name,
        }),
        Admitted::Run(order) => Foreseen::Run(run(session, settings, order)),
    })
}

fn run(session: &ServerSession, settings: &RunSettings, order: Order) -> Run {
    let request = session.req_header();
    let has_webhook = order.endpoint.is_some() || settings.webhook.endpoint.is_some();
    let taken = Taken::kept(Body::EMPTY, None);
    // Which key does not matter: only whether there is an owner.
    let key = Secret::new([0; 32]);
    Run {
        dialect: order.dialect.map(|dialect| dialect.name),
        has_key: order.key.is_some(),
        access: access::access_of(&key, &request.headers, &settings.owner_headers),
        head: keep::stored_head(request, settings, &order, has_webhook, &taken),
        endpoint: order.endpoint,
    }
}
