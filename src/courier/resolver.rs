//! Name resolution for receivers: only addresses that the guard allows come out of it, so the address that was checked
//! is the address that is dialled.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Arc, OnceLock},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::lookups::Lookup;
use crate::model::address_guard::{AddressGuard, Refused};

tokio::task_local! {
    /// What the attempt on this task is going to dial. A look-up outside of it resolves nothing.
    pub(super) static DIAL: Dial;
}

/// Where one attempt connects to. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) port: u16,
    first: Arc<OnceLock<SocketAddr>>,
}

impl Dial {
    /// A connection to `port`; the address that is tried first is noted in `first`.
    pub(super) const fn new(port: u16, first: Arc<OnceLock<SocketAddr>>) -> Self {
        Self { port, first }
    }

    /// Notes an address that is about to be dialled; the first one counts.
    pub(super) fn note(&self, address: SocketAddr) {
        self.first.get_or_init(|| address);
    }
}

/// Leaves out what the guard refuses.
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<AddressGuard>,
    pub(super) lookup: Lookup,
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = &self.guard;
        f.debug_struct("GuardedResolver")
            .field("guard", guard)
            .finish_non_exhaustive()
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup) = (Arc::clone(&self.guard), Arc::clone(&self.lookup));
        // This has to be read here: this call, unlike the future, is certainly on the attempt's own task.
        let dial = DIAL.try_with(Dial::clone);
        Box::pin(async move {
            let dial = dial?;
            let found = lookup(name.as_str().to_owned(), dial.port).await?;
            let allowed = allowed(&guard, name.as_str(), found)?;
            if let Some(first) = allowed.first() {
                dial.note(*first);
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Judges one address: by its ranges, and as one of our own listeners.
pub(super) fn check(guard: &AddressGuard, host: &str, address: SocketAddr) -> Result<(), Refused> {
    guard.check_address(host, address)?;
    if guard.listens_everywhere(address.port()) && is_of_this_machine(address.ip()) {
        guard.check_local(address)?;
    }
    Ok(())
}

/// The addresses that may be dialled; if there are none, why the last one may not.
fn allowed(
    guard: &AddressGuard,
    host: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let mut refused = None;
    let mut allowed = Vec::with_capacity(found.len());
    for address in found {
        match check(guard, host, address) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(why),
        }
    }
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    Err(refused.map_or_else(
        || io::Error::new(io::ErrorKind::NotFound, "the name has no address").into(),
        Into::into,
    ))
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{courier::lookups, model::address_guard::Rules};

    fn guard(own: &[(IpAddr, u16)], networks: &[&str]) -> AddressGuard {
        AddressGuard::new(Rules {
            own_listeners: own.to_vec(),
            allow_networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            ..Rules::default()
        })
    }

    #[test]
    fn of_a_name_with_good_and_bad_addresses_only_the_good_are_dialled() {
        let found: Vec<SocketAddr> = ["10.0.0.1:80", "8.8.8.8:80", "[::1]:80"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let good = allowed(&guard(&[], &[]), "a.example", found.clone()).unwrap();
        assert_eq!(good, [found[1]]);
        let bad = vec![found[0], found[2]];
        let error = allowed(&guard(&[], &[]), "a.example", bad).unwrap_err();
        assert!(error.is::<Refused>(), "{error}");
    }

    #[test]
    fn an_address_of_this_machine_is_told_from_others() {
        assert!(is_of_this_machine([127, 0, 0, 1].into()));
        assert!(!is_of_this_machine([8, 8, 8, 8].into()));
    }

    #[test]
    fn a_listener_on_every_address_does_not_close_its_port_on_other_machines() {
        let everywhere = guard(&[([0, 0, 0, 0].into(), 8080)], &[]);
        let other = SocketAddr::from(([8, 8, 8, 8], 8080));
        assert_eq!(check(&everywhere, "a.example", other), Ok(()));
    }

    #[tokio::test]
    async fn a_look_up_outside_an_attempt_resolves_nothing() {
        let resolver = GuardedResolver {
            guard: Arc::new(guard(&[], &["127.0.0.0/8", "::1/128"])),
            lookup: lookups::system(),
        };
        let outside = resolver.resolve("localhost".parse().unwrap()).await;
        assert!(outside.is_err());
        let first = Arc::new(OnceLock::new());
        let dial = Dial::new(80, Arc::clone(&first));
        let inside = DIAL.sync_scope(dial, || resolver.resolve("localhost".parse().unwrap()));
        let found: Vec<SocketAddr> = inside.await.unwrap().collect();
        assert!(found.iter().all(|address| address.port() == 80));
        assert_eq!(first.get(), found.first());
    }
}
