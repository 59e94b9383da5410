//! Names of receivers: those that lead nowhere, to nothing, elsewhere, or too late.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::bench::{Bench, settings};
use crate::{
    config::WebhookClient,
    courier::lookups::{Found, Lookup},
    model::delivery::{DeliveryError, DeliveryOutcome},
    store::DeliveryAttempt,
};

/// Every name leads where `find` says.
fn leading(find: impl Fn() -> Found + Send + Sync + 'static) -> Lookup {
    Arc::new(move |_, _| find())
}

fn addresses(found: &[SocketAddr]) -> Found {
    std::future::ready(Ok(found.to_vec())).boxed()
}

fn failed(attempt: &DeliveryAttempt) -> DeliveryError {
    match attempt.outcome {
        DeliveryOutcome::Failed(error) => error,
        DeliveryOutcome::Answered { status, .. } => panic!("answered {status}"),
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_or_resolves_to_nothing_is_unreachable() {
    let none = leading(|| std::future::ready(Err(io::Error::other("NXDOMAIN"))).boxed());
    let nothing = leading(|| addresses(&[]));
    for (lookup, said) in [(none, "NXDOMAIN"), (nothing, "the name has no address")] {
        let mut bench = Bench::with_lookup(settings(), lookup);
        let (_, attempt) = bench.deliver("http://hooks.example/").await;
        assert_eq!(failed(&attempt), DeliveryError::Unreachable);
        assert!(attempt.detail.contains(said), "{}", attempt.detail);
        assert_eq!(attempt.address, None);
    }
}

#[tokio::test]
async fn a_name_that_resolves_too_late_times_out_and_is_never_dialled() {
    let (dialled, mut connections) = mpsc::unbounded_channel();
    let resolved = Arc::new(Notify::new());
    let address = Arc::new(Mutex::new(None));
    let lookup = {
        let (resolved, address) = (Arc::clone(&resolved), Arc::clone(&address));
        leading(move || {
            let (resolved, address) = (Arc::clone(&resolved), Arc::clone(&address));
            async move {
                resolved.notified().await;
                Ok(address.lock().unwrap().into_iter().collect())
            }
            .boxed()
        })
    };
    let settings = WebhookClient {
        connect_timeout: Duration::from_millis(100),
        ..settings()
    };
    let mut bench = Bench::with_lookup(settings, lookup);
    let receiver = bench
        .receiver(move |_| {
            dialled.send(()).unwrap();
            std::future::ready(())
        })
        .await;
    *address.lock().unwrap() = Some(receiver);
    let (_, attempt) = bench.deliver("http://hooks.example/").await;
    assert_eq!(failed(&attempt), DeliveryError::Timeout);
    assert_eq!(attempt.address, None);
    resolved.notify_waiters();
    bench.courier.drain(Duration::from_secs(5)).await;
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_at_every_attempt() {
    let found = Arc::new(Mutex::new(Vec::new()));
    let now = Arc::clone(&found);
    let lookup = leading(move || addresses(&now.lock().unwrap()));
    let only_loopback = WebhookClient {
        allow_networks: vec!["127.0.0.1/32".parse().unwrap()],
        ..settings()
    };
    let mut bench = Bench::with_lookup(only_loopback, lookup);
    let receiver = bench
        .answering("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n")
        .await;
    let metadata: SocketAddr = ([169, 254, 169, 254], 80).into();
    *found.lock().unwrap() = vec![metadata, receiver];
    let (_, attempt) = bench.deliver("http://hooks.example/").await;
    assert_eq!(attempt.address, Some(receiver));
    *found.lock().unwrap() = vec![metadata];
    let (_, attempt) = bench.deliver("http://hooks.example/").await;
    assert_eq!(failed(&attempt), DeliveryError::Unreachable);
    assert!(attempt.detail.starts_with("refused:"), "{}", attempt.detail);
    assert_eq!(attempt.address, None);
}
