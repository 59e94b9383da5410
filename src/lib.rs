//! Raincheck is a reverse proxy and a Pingora plugin for asynchronous runs and webhooks. It stands in front of an HTTP
//! application that knows nothing of it. A request that asks to be handled asynchronously is stored, answered `202`
//! with a run id, sent to the application in the background within a response grace period, and its response is kept
//! and relayed to a webhook. Every other request is proxied as usual.
//!
//! **The promise: a run's response is exactly what the caller would have had synchronously, only later; and what was
//! answered 202 is never lost.**
//!
//! # In a proxy of one's own
//!
//! One field and one line in your `ProxyHttp`, two lines in your `main` (`examples/embed.rs` is the whole program):
//!
//! ```no_run
//! use async_trait::async_trait;
//! use pingora::{proxy::{ProxyHttp, Session}, server::Server, upstreams::peer::HttpPeer};
//! use raincheck::{Raincheck, config::Config};
//!
//! struct MyProxy {
//!     raincheck: Raincheck, // the field
//! }
//!
//! #[async_trait]
//! impl ProxyHttp for MyProxy {
//!     type CTX = ();
//!     fn new_ctx(&self) {}
//!
//!     async fn request_filter(&self, session: &mut Session, _: &mut ()) -> pingora::Result<bool> {
//!         if !Raincheck::is_run(session) {
//!             // Authenticate and count here: once for each caller's request.
//!         }
//!         self.raincheck.request_filter(session, "api").await // the line
//!     }
//!
//!     async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
//!         Ok(Box::new(HttpPeer::new("127.0.0.1:8000", false, String::new())))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::embedded("[[route]]\nname = \"api\"\n[route.async]\n").map_err(|c| format!("{c:?}"))?;
//! let mut server = Server::new(None)?;
//! server.bootstrap();
//! let raincheck = Raincheck::open(&config)?; // the first line in `main`
//! let proxy = MyProxy { raincheck: raincheck.clone() };
//! let mut service = raincheck.attach(&mut server, proxy); // the second, in place of `http_proxy_service`
//! service.add_tcp("0.0.0.0:8080");
//! server.add_service(service);
//! server.run_forever();
//! # }
//! ```
//!
//! A run goes through the same `ProxyHttp` as its caller's request did: your peers, header rules, caching and logging
//! hold for it as well, and your filters tell it by [`Raincheck::is_run`].
//!
//! # The house
//!
//! `ls src` tells the life of a run. Each folder is a room with one door (`gate.rs` beside `gate/`). A room imports
//! only from lower floors, and rooms on one floor do not know each other: `tests/floors.rs` keeps it so.
//!
//! | Floor | Room | |
//! |---|---|---|
//! | 11 | [`cli`] | one file a subcommand |
//! | 10 | [`app`] | the wiring of the program: listeners, threads, start and stop |
//! | 9 | [`plugin`] | the parts put together for any proxy, and the public API for hosts |
//! | 8 | [`proxy`] | our own `ProxyHttp`: route, peer, header rules; asks the gate first |
//! | 8 | [`dashboard`] | pages for operators, made of what the admin API says |
//! | 7 | [`api`] | how one looks at runs: public prefix, admin listener, the bridge from Pingora to axum |
//! | 6 | [`gate`] | how a request becomes a run: checks on the head, body, commit, 202 |
//! | 5 | [`executor`] | how a run is carried out; its `upstream` alone knows subrequests |
//! | 5 | [`courier`] | how its webhook is told: signed, through the guarded resolver |
//! | 4 | [`worker`] | what both share: the hand-over, the live view, the janitor, the tale of an end |
//! | 3 | [`store`] | where runs are kept: the trait in domain verbs, SQLite, PostgreSQL, spool files |
//! | 2 | [`config`], [`metrics`] | the configuration as written and as meant; every metric |
//! | 1 | [`model`] | values and decisions: no I/O, no clock, no async, no Pingora |
//!
//! # The life of a run
//!
//! ```text
//! downstream ─ head ─► dialect (pure) ─ trigger ─► intake ─ body ─► request ─► store: accept ─► 202
//!                         │ none                                                   │ wake
//!                         ▼                                                        ▼
//!                     pass-through               executor: claim ─► upstream (subrequest) ─► outcome
//!                                                                                  │ retry::after_attempt (pure)
//!                                              store: settle (run and delivery, one transaction)
//!                                                                                  │ hand-over
//!                                     courier: claim ─► sign ─► receiver (guarded) ─► Delivery::settle (pure) ─► store
//! ```
//!
//! One direction, no way back: a retry is a new claim. A run whose route has a free slot is accepted as started, in
//! one commit; otherwise it is queued in the store and takes no memory.
//!
//! # Invariants
//!
//! - A 202 is sent only after the store's commit returned.
//! - Faces and workers meet only in the store; a wake-up between them may be lost without harm. (Conversion alone starts
//!   an attempt itself, through `executor/upstream.rs`.)
//! - One function ends runs, whoever asks (settle, cancel, expiry, recovery); ending a run and creating its delivery is
//!   one transaction.
//! - An outcome that is unknown is treated as unknown: neither 202 nor 503, until the store has been asked again.
//! - Only a claim can be settled, and a claim whose owner has changed is refused (fencing).
//! - Whether an attempt may be repeated is decided in one function, from RFC 9110 §9.2.2 and the route.
//! - Time and chance are arguments in `model`.
//! - No task without an owner: each is on the tracker of the executor, the courier, the plugin or the app, and each of
//!   them waits for its own when it drains.
//! - A secret has a type that cannot be printed.
//!
//! # Departures from the first design, and why
//!
//! - A host is shared between the proxy of its callers and that of its runs by [`plugin::Hosted`], which delegates
//!   every hook. It also notes how far an attempt has come (connected, reused, answered), so that what may be repeated
//!   is known for every host and not only for those that report it.
//! - Pingora's retries are switched off for a run's pass by the error that the shared host returns, not by
//!   `max_retries`: the host's own setting stays untouched.
//! - A stored request is replayed from a small connection in memory in place of Pingora's virtual stream, whose buffers
//!   take 64 KiB. It says `TLS` if the caller's did, without cipher or certificate.
//! - The executor and the courier spawn their own tasks, each on its own tracker; a loop shared by both would have
//!   been a framework for two users.
//! - The program has listeners of its own in place of Pingora's `Server`, whose stop sleeps its whole grace period and
//!   then drops what still runs; it hands them to a new process itself.
//! - Pending deliveries are scheduled in memory (about 180 bytes each), by receiver: a look into the store by due time
//!   would read past all that waits for one that is dead. The store tells what becomes pending, and is read whole once
//!   a minute.
//! - A receiver is a host and its port, and its breaker opens by what says that it does not work (no answer, 5xx, 408,
//!   425, 429): with 404s, one customer's endpoint that is gone would hold up all others on its host.
//! - Of the control parameters only the one that asked is taken out of a run's query: one that asks for nothing reaches
//!   the application in a synchronous call, so it does in a run.
//! - In PostgreSQL, queued runs and pending deliveries have no owner: whichever replica has room takes them. So a dead
//!   replica leaves nothing but what it had under way, and no replica has to schedule another's.
//! - Commits to PostgreSQL go through one committer, not two: batches are twice as large, and a 202 costs the database half
//!   as much (`benches/cluster.rs`: about 0.5 of the embedded store's rate with one, 0.4 with two). Their statements are
//!   functions in the database, so that they stay planned also behind a pooler, and take their rows as one argument, an
//!   array of a composite type: thirty columns as thirty arrays cost twice as much as four rows.
//! - Pages of the dashboard are made of what the admin API answers, asked within the process: they know no store.
//! - A slow call is watched in a pass of its own through the host's pipeline, not in the caller's: that pass can change
//!   hands without a second upstream call. It costs more than was wished for (see `benches/conversion.rs`).

// The benches' store in memory is tested here too, and names the crate as they do.
#[cfg(test)]
extern crate self as raincheck;

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod courier;
pub mod dashboard;
pub mod executor;
pub mod gate;
pub mod metrics;
pub mod model;
pub mod plugin;
pub mod proxy;
pub mod store;
pub mod worker;

pub use plugin::{OpenError, Raincheck};
