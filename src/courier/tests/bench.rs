//! A courier on a shelf, deliveries for it, and raw TCP receivers that do as they are told.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::mpsc,
    task::JoinSet,
};

use super::shelf::{Event, FENCE, Shelf};
use crate::{
    config::WebhookClient,
    courier::{
        Courier, Links, Parts,
        lookups::{self, Lookup},
    },
    metrics::Metrics,
    model::{
        delivery::Delivery,
        exchange::{Body, StoredResponse},
        id::RunId,
        policy::{Policy, Repeat, StatusSet, WebhookBody, WebhookPolicy},
        run::{Access, Extra, Facts, Progress, ResponseFacts, Run, RunState},
        secret::Secret,
        time::{Clock, Timestamp},
    },
    store::{DeliveryAttempt, DeliveryClaim},
};

pub(super) const SIGNING_SECRET: &[u8] = b"a secret of twenty-four b";

pub(super) struct Bench {
    pub(super) shelf: Arc<Shelf>,
    pub(super) metrics: Metrics,
    pub(super) courier: Courier,
    events: mpsc::UnboundedReceiver<Event>,
    receivers: JoinSet<()>,
    made: i64,
}

/// Loopback is open, an attempt has five seconds.
pub(super) fn settings() -> WebhookClient {
    WebhookClient {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        concurrency: 8,
        per_host: 16,
        ports: Vec::new(),
        allow_networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        allow_hosts: Vec::new(),
        https_only: false,
        ed25519_keys: Vec::new(),
        own_addresses: Vec::new(),
    }
}

impl Bench {
    pub(super) fn new(settings: WebhookClient) -> Self {
        Self::with_lookup(settings, lookups::system())
    }

    /// Names lead where `lookup` says.
    pub(super) fn with_lookup(settings: WebhookClient, lookup: Lookup) -> Self {
        let (shelf, events) = Shelf::new();
        let metrics = Metrics::new().unwrap();
        let parts = Parts {
            store: Arc::clone(&shelf) as Arc<_>,
            clock: Arc::new(shelf.clock.clone()),
            metrics: metrics.clone(),
            settings,
            secrets: Arc::new(|_| Arc::new([Secret::new(SIGNING_SECRET)])),
            links: Links {
                public_url: "https://api.example".to_owned(),
                public_prefix: "/_raincheck".to_owned(),
            },
            runtime: Handle::current(),
        };
        let courier = Courier::start_with(parts, lookup).unwrap();
        Self {
            shelf,
            metrics,
            courier,
            events,
            receivers: JoinSet::new(),
            made: 0,
        }
    }

    /// A receiver that treats each connection as `behave` says.
    pub(super) async fn receiver<F, Behaved>(&mut self, behave: F) -> SocketAddr
    where
        F: Fn(TcpStream) -> Behaved + Send + 'static,
        Behaved: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.receivers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(behave(stream));
            }
        });
        address
    }

    /// A receiver that reads a whole request, answers with `answer`, and closes.
    pub(super) async fn answering(&mut self, answer: &'static str) -> SocketAddr {
        self.receiver(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    /// A delivery that is due.
    pub(super) fn delivery(&mut self, endpoint: &str) -> DeliveryClaim {
        self.made += 1;
        let run = run(self.made, endpoint, self.shelf.clock.now());
        DeliveryClaim {
            run,
            response: StoredResponse {
                head: Bytes::from_static(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n\r\n",
                ),
                body: Body::Inline(Bytes::from_static(b"hello")),
            },
            endpoint: endpoint.to_owned(),
            secret: None,
            fence: FENCE,
        }
    }

    /// Puts a delivery to `endpoint` on the shelf and waits until its attempt is recorded.
    pub(super) async fn deliver(&mut self, endpoint: &str) -> (Run, DeliveryAttempt) {
        let claim = self.delivery(endpoint);
        self.shelf.put(&claim);
        self.settled().await
    }

    /// Waits until an attempt is recorded.
    pub(super) async fn settled(&mut self) -> (Run, DeliveryAttempt) {
        loop {
            match self.event().await {
                Event::Settled(run, attempt) => return (*run, attempt),
                Event::Claimed => {}
                Event::Released(id) => panic!("{id} was given back"),
            }
        }
    }

    pub(super) async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    pub(super) fn attempts(&self, outcome: &str) -> u64 {
        let counter = &self.metrics.delivery_attempts;
        counter.with_label_values(&[outcome]).get()
    }
}

/// Reads a request with its declared body; returns its text.
pub(super) async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap_or(0);
        request.extend_from_slice(&piece[..read]);
        let Some((head, body)) = split(&request) else {
            if read == 0 {
                return request;
            }
            continue;
        };
        let length = field(head, "content-length").map_or(0, |text| text.parse().unwrap());
        if read == 0 || body.len() >= length {
            return request;
        }
    }
}

/// Head and body of a request.
pub(super) fn split(request: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memmem::find(request, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&request[..end]).unwrap();
    Some((head, &request[end + 4..]))
}

/// A header's value.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn run(number: i64, endpoint: &str, now: Timestamp) -> Run {
    let policy = policy();
    let delivery = Delivery::new("127.0.0.1".to_owned(), &policy.webhook, now);
    Run {
        id: RunId::from_parts(number, 7),
        state: RunState::Succeeded,
        reason: None,
        policy: Arc::new(policy),
        facts: Facts {
            dialect: "cerebrium".to_owned(),
            asynchronous: true,
            name: "/work".to_owned(),
            method: "POST".to_owned(),
            path: "/work".to_owned(),
            has_key: false,
            webhook_endpoint: Some(endpoint.to_owned()),
            depth: 1,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            access: Access::Anybody,
            extra: Extra::default(),
        },
        accepted_at: now,
        started_at: Some(now),
        finished_at: Some(now),
        due_at: now,
        progress: Progress::default(),
        response: Some(ResponseFacts {
            status: 200,
            content_type: None,
            bytes: 5,
            from_upstream: true,
        }),
        delivery: Some(delivery),
    }
}

fn policy() -> Policy {
    Policy {
        route: "app".to_owned(),
        response_grace_period: Duration::from_secs(900),
        max_queue_time: Duration::from_secs(3600),
        repeat: Repeat::Idempotent,
        attempts: 1,
        retry_statuses: vec![503],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 1 << 20,
        webhook: WebhookPolicy {
            on: RunState::ALL.to_vec(),
            schedule: [0, 5, 300].map(Duration::from_secs).to_vec(),
            body: WebhookBody::Raw,
        },
    }
}
