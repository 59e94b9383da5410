//! The upstreams that are live: each is kept resolved and checked until a newer configuration has no use for it.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config},
    proxy::upstream::{CaError, Upstream},
};

/// The upstreams of one configuration, by name.
#[derive(Debug, Default)]
pub(super) struct Upstreams(HashMap<String, Live>);

#[derive(Debug, Clone)]
struct Live {
    upstream: Arc<Upstream>,
    /// Cancelled, nobody keeps it any more. It serves those who have it still.
    stop: CancellationToken,
    /// Whether somebody keeps it.
    is_kept: bool,
}

impl Upstreams {
    /// Those of `config`. One that was there before with the same settings goes on, with what is known of its peers; one
    /// with a file of authorities is made anew, since the file may have changed.
    ///
    /// # Errors
    /// When a file of certificate authorities cannot be used.
    pub(super) fn of(config: &Config, before: &Self) -> Result<Self, CaError> {
        let live = config.upstreams.iter().map(|settings| {
            let live = match before.same(settings) {
                Some(live) => live.clone(),
                None => Live {
                    upstream: Arc::new(Upstream::new(settings.clone())?),
                    stop: CancellationToken::new(),
                    is_kept: false,
                },
            };
            Ok((settings.name.clone(), live))
        });
        live.collect::<Result<_, _>>().map(Self)
    }

    fn same(&self, settings: &config::Upstream) -> Option<&Live> {
        let has_file = settings.tls.as_ref().is_some_and(|tls| tls.ca.is_some());
        let live = self.0.get(&settings.name)?;
        (!has_file && live.upstream.settings() == settings).then_some(live)
    }

    /// The upstream of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name).map(|live| &live.upstream)
    }

    /// Resolves the names of those that nobody keeps yet.
    pub(super) async fn resolve(&self) {
        let new = self.0.values().filter(|live| !live.is_kept);
        futures::future::join_all(new.map(|live| live.upstream.resolve())).await;
    }

    /// Those that nobody keeps yet, each with what ends its keeping: the caller keeps them.
    pub(super) fn not_kept_yet(&mut self) -> Vec<(Arc<Upstream>, CancellationToken)> {
        let new = self.0.values_mut().filter(|live| !live.is_kept);
        new.map(|live| {
            live.is_kept = true;
            (Arc::clone(&live.upstream), live.stop.clone())
        })
        .collect()
    }

    /// Ends the keeping of those that `after` does not have.
    pub(super) fn retire(self, after: &Self) {
        for (name, live) in self.0 {
            let goes_on = after
                .get(&name)
                .is_some_and(|upstream| Arc::ptr_eq(upstream, &live.upstream));
            if !goes_on {
                live.stop.cancel();
            }
        }
    }
}
