//! The HTTP side of `listen`: takes any request whole, verifies it, hands it on, answers.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
};
use http_body_util::{BodyExt, Limited};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::arrived::Arrived;
use crate::{
    model::signature::{Checks, Verdict},
    plugin::clock,
};

/// The longest body that is taken, in bytes: an envelope of the longest response by default, and then some.
const LONGEST: usize = 512 << 20;

/// Takes deliveries.
pub(super) struct Receiver {
    checks: Checks,
    status: StatusCode,
    /// How many more are wanted.
    wanted: AtomicU64,
    arrivals: mpsc::Sender<Arrived>,
}

impl Receiver {
    /// Answers `status` to `count` deliveries, and hands each to `arrivals`.
    pub(super) fn new(
        checks: Checks,
        status: StatusCode,
        count: Option<u64>,
        arrivals: mpsc::Sender<Arrived>,
    ) -> Arc<Self> {
        Arc::new(Self {
            checks,
            status,
            wanted: AtomicU64::new(count.unwrap_or(u64::MAX)),
            arrivals,
        })
    }

    /// Serves until it is `enough`, and whoever is being answered then has the answer.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        enough: CancellationToken,
    ) -> io::Result<()> {
        let router = Router::new().fallback(receive).with_state(self);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(enough.cancelled_owned())
            .await
    }

    /// Takes one of those that are wanted.
    fn take(&self) -> bool {
        let one_less = |wanted: u64| wanted.checked_sub(1);
        self.wanted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, LONGEST).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let (body, at) = (body.to_bytes(), clock::system().now());
    let verdict = receiver.checks.verify(&head.headers, &body, at);
    let trusted = receiver.checks.is_empty() || matches!(verdict, Verdict::Verified(_));
    let arrived = Arrived {
        at,
        from,
        method: head.method,
        target: head.uri,
        headers: head.headers,
        body,
        verdict,
        trusted,
    };
    if !receiver.take() || receiver.arrivals.send(arrived).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if trusted {
        receiver.status
    } else {
        StatusCode::UNAUTHORIZED
    }
}
