//! The configuration as meant: checked, with defaults filled in. `file` reads it as written, `check` makes this of it.

mod check;
mod complaint;
mod defaults;
mod file;
pub mod postgres_url;
mod secret;
mod upstream_url;
mod value;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::HeaderName;
use ipnet::IpNet;

use crate::model::{
    address_guard::{AddressGuard, Rules},
    dialect::{Dialect, openfaas::UpstreamPath, openwhisk::action_path::ActionPath},
    policy::Policy,
    secret::Secret,
    signature::SigningKey,
};

use self::check::Reader;
pub use self::{complaint::Complaint, defaults::TEXT as DEFAULT_TEXT};

/// One checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; empty if there is none.
    pub file: PathBuf,
    /// Tells one text from another: the first 12 hexadecimal digits of its SHA-256.
    pub digest: String,
    /// `[server]`
    pub server: Server,
    /// `[[listener]]`
    pub listeners: Vec<Listener>,
    /// `[admin]`
    pub admin: Admin,
    /// `[store]`
    pub store: Store,
    /// `[limits]`
    pub limits: Limits,
    /// `[webhook]`: what holds for all routes. What a route may override is in its [`Route::webhook`].
    pub webhook: WebhookClient,
    /// `[upstream.*]`
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`, as written.
    pub routes: Vec<Arc<Route>>,
    /// `[openwhisk.namespaces.*]`
    pub namespaces: Vec<Arc<Namespace>>,
}

impl Config {
    /// Reads a configuration that was found in `file`: relative paths begin in its folder.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn read(text: &str, file: &Path) -> Result<Self, Vec<Complaint>> {
        check::read(text, file, Reader::Proxy, &environment).0
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file; or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Vec<Complaint>> {
        let bytes = fs::read(path).map_err(|error| {
            let message = format!(
                "cannot be read ({error}); name another file with --config, or serve one application with --upstream URL"
            );
            vec![Complaint::about(path, message)]
        })?;
        match str::from_utf8(&bytes) {
            Ok(text) => Self::read(text, path),
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes);
                Err(vec![Complaint {
                    message: "this is not UTF-8, so it is no TOML; save the file as UTF-8"
                        .to_owned(),
                    ..Complaint::at(path, &text, error.valid_up_to())
                }])
            }
        }
    }

    /// The defaults, and one route `app` for everything to the application at `url`.
    ///
    /// # Errors
    /// Says what is wrong with the URL.
    pub fn for_upstream(url: &str) -> Result<Self, Vec<Complaint>> {
        let text = upstream_url::text(url)?;
        Self::read(&text, Path::new(""))
    }

    /// Reads the configuration of a plugin, whose host has listeners and peers of its own: `[[listener]]` and
    /// `[upstream]` are refused, `route.upstream` may be left out, `route.name` may not.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn embedded(text: &str) -> Result<Self, Vec<Complaint>> {
        check::read(
            text,
            Path::new("raincheck.toml"),
            Reader::Host,
            &environment,
        )
        .0
    }
}

impl Config {
    /// All routes on which there are runs or requests: those of `[[route]]`, then those of the namespaces.
    pub fn all_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let namespaces = self.namespaces.iter().map(|namespace| &namespace.route);
        self.routes.iter().chain(namespaces)
    }
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; 0 in the file is the number of cores here.
    pub threads: usize,
    /// Where runs are looked at on the public listener; no slash at the end; empty: off.
    pub public_prefix: String,
    /// Scheme and authority for absolute links, no slash at the end; or empty.
    pub public_url: String,
    /// Networks whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// How long what is under way may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long the listeners stay open, not ready, before the drain.
    pub shutdown_delay: Duration,
    /// Whether each request on the listeners gets a line in the log.
    pub access_log: bool,
}

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `host:port`.
    pub address: String,
    /// Certificate and key files.
    pub tls: Option<CertificateFiles>,
    /// Cleartext HTTP/2 by prior knowledge.
    pub h2c: bool,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `host:port`.
    pub address: String,
    /// Host names that the listener answers to, beside IP literals and `localhost`.
    pub hosts: Vec<String>,
    /// The bearer token; there must be one unless the address is loopback.
    pub token: Option<Secret>,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Which one.
    pub kind: StoreKind,
    /// The folder of the SQLite store, or of bodies on their way.
    pub path: PathBuf,
    /// Whether accepts and ends wait for fsync.
    pub durability: Durability,
    /// How long a finished run is kept.
    pub retention: Duration,
    /// The store's largest size in bytes; 0: until the disk's reserve of 5 %.
    pub max_bytes: u64,
}

/// `store.kind`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// The embedded one.
    Sqlite,
    /// Several replicas on one database.
    Postgres {
        /// `store.url`
        url: Secret,
    },
}

/// `store.durability`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Accepts and ends wait for fsync.
    Fsync,
    /// They are written, not fsynced.
    Relaxed,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a run's request body.
    pub request_body: u64,
    /// Bytes of a run's response body.
    pub response_body: u64,
    /// Unfinished runs on one route, pending deliveries included.
    pub unfinished_runs: u64,
    /// Bytes of memory for all bodies that are being taken in.
    pub intake_memory: u64,
    /// The longest pause within a request body.
    pub body_idle_timeout: Duration,
    /// The longest time for a whole request body.
    pub body_timeout: Duration,
    /// How often a request may pass through us.
    pub max_depth: u32,
}

/// `[webhook]`, but for what a route may override.
#[derive(Debug, Clone)]
pub struct WebhookClient {
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Deliveries under way at a time.
    pub concurrency: usize,
    /// Deliveries under way at a time to one host.
    pub per_host: usize,
    /// Ports that may be dialled; empty: any.
    pub ports: Vec<u16>,
    /// Networks that may be dialled though the guard would refuse them.
    pub allow_networks: Vec<IpNet>,
    /// Names whose private addresses may be dialled (lower case, no dot at the end).
    pub allow_hosts: Vec<String>,
    /// Whether `http` is refused.
    pub https_only: bool,
    /// ed25519 keys (`whsk_…`): one signature each, beside those by secrets.
    pub ed25519_keys: Vec<SigningKey>,
    /// The proxy's own listeners, which are dialled only where `allow_networks` opens their addresses.
    pub own_addresses: Vec<(IpAddr, u16)>,
}

impl WebhookClient {
    /// The guard that judges every receiver by these rules.
    pub fn guard(&self) -> AddressGuard {
        AddressGuard::new(Rules {
            allow_networks: self.allow_networks.clone(),
            allow_hosts: self.allow_hosts.clone(),
            ports: self.ports.clone(),
            https_only: self.https_only,
            own_listeners: self.own_addresses.clone(),
        })
    }
}

/// `[webhook]` as a route has it: its own keys over the general ones.
#[derive(Debug, Clone)]
pub struct RouteWebhook {
    /// The endpoint of runs that name none.
    pub endpoint: Option<String>,
    /// Whose endpoints are taken.
    pub caller_endpoints: CallerEndpoints,
    /// Standard Webhooks secrets (`whsec_…`, decoded): one signature each.
    pub signing_secrets: Vec<Secret>,
}

/// `webhook.caller_endpoints`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerEndpoints {
    /// Any that the address guard allows.
    Any,
    /// Those whose host is in `webhook.allow_hosts`.
    Listed,
    /// None.
    Off,
}

/// `[upstream.*]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The table's name.
    pub name: String,
    /// Where it listens.
    pub peers: Vec<PeerAddress>,
    /// How one is chosen.
    pub balance: Balance,
    /// For a connection.
    pub connect_timeout: Duration,
    /// TLS to the peers.
    pub tls: Option<UpstreamTls>,
    /// Active health checks.
    pub health_check: Option<HealthCheck>,
}

/// One peer as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// `host:port`; the host is an IP literal (no brackets) or a name.
    Tcp {
        /// Name or IP literal.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path`
    Unix(PathBuf),
}

/// `upstream.*.balance`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// At random.
    Random,
    /// By a hash of the path and query: the same request meets the same peer.
    Hash,
}

/// `upstream.*.tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name to ask for and to verify; default: the peer's host.
    pub sni: Option<String>,
    /// A PEM file of authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether the certificate is verified.
    pub verify: bool,
}

/// `upstream.*.health_check`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// For `kind = "http"`: what to GET. None for `kind = "tcp"`.
    pub http_path: Option<String>,
    /// Between checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Failures in a row that take a peer out.
    pub failures: usize,
    /// Successes in a row that take it in again.
    pub successes: usize,
}

/// `[[route]]`
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique.
    pub name: String,
    /// The host it answers to (lower case, without port); none: any.
    pub host: Option<String>,
    /// Its path prefix, matched by whole segments; begins with a slash.
    pub path: String,
    /// The upstream's name.
    pub upstream: String,
    /// `[route.async]`; none: pass-through only.
    pub run: Option<Arc<RunSettings>>,
}

/// `[openwhisk.namespaces.*]`
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The table's name.
    pub name: String,
    /// The route of its runs, which no request's path leads to.
    pub route: Arc<Route>,
    /// The settings of its runs.
    pub settings: Arc<RunSettings>,
    /// What an action's name becomes at the upstream.
    pub path: ActionPath,
    /// Who may use it, each `user:password`; empty: everybody.
    pub credentials: Vec<Secret>,
    /// The longest that a blocking invocation waits for its run.
    pub blocking_wait: Duration,
}

/// `[route.async]` with `[route.webhook]`
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// What a run is promised at acceptance.
    pub policy: Arc<Policy>,
    /// The dialects spoken, in the order of the file; at least one.
    pub dialects: Vec<&'static Dialect>,
    /// Whether every request is a run.
    pub always: bool,
    /// Attempts at a time.
    pub concurrency: usize,
    /// How long a plain request may wait for its response's head; none: as long as it takes.
    pub convert_after: Option<Duration>,
    /// What becomes of it then.
    pub on_slow: OnSlow,
    /// The longest `Prefer: wait`.
    pub max_wait: Duration,
    /// Request headers that tell an owner.
    pub owner_headers: Vec<HeaderName>,
    /// The request header with the idempotency key.
    pub idempotency_header: HeaderName,
    /// Whether the control parameters are sent upstream too.
    pub forward_control_params: bool,
    /// The query parameter that asks for a run as `cerebrium` (`async`).
    pub async_parameter: String,
    /// The query parameter that asks for a run as `ubidots` (`_blocking`).
    pub blocking_parameter: String,
    /// The query parameter with the receiver's URL (`webhookEndpoint`).
    pub webhook_parameter: String,
    /// Where the functions of `openfaas` are at the upstream.
    pub openfaas_path: UpstreamPath,
    /// Cross-origin rules for our own answers.
    pub cors: Option<Cors>,
    /// `[webhook]` with `[route.webhook]` over it.
    pub webhook: RouteWebhook,
}

/// `route.async.on_slow`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSlow {
    /// The request becomes a run; its caller gets a 202.
    Convert,
    /// The request ends; its caller gets a 504.
    GatewayTimeout,
}

/// `route.async.cors`
#[derive(Debug, Clone)]
pub struct Cors {
    /// Origins as browsers write them, or `*`.
    pub origins: Vec<String>,
    /// Whether credentials are allowed.
    pub credentials: bool,
    /// How long a preflight's answer may be kept.
    pub max_age: Duration,
}
