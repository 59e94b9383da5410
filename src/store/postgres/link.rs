//! Connections to the database: where it is, TLS, and time-outs for everything.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc::UnboundedSender},
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Notification, Row, Socket, tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::{row::Param, tls};
use crate::{config::postgres_url, model::secret::Secret};

/// For a connection, its log-in included.
const CONNECT: Duration = Duration::from_secs(5);
/// After so much silence of the other side a connection is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// For a whole transaction, or one look.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A connection as it is served, encrypted or not.
type Reached = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Looks at a time, each on a connection of its own.
const READERS: usize = 4;

/// What begins each transaction: it waits for the disk (`synchronous_commit` may be off in the database), and if we
/// freeze its locks do not hold others up.
pub(super) const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '8s';
    SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL synchronous_commit = on;";

/// Why nothing could be done on a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The database said so, or the connection broke.
    #[error("{}", of_database(.0))]
    Database(#[from] tokio_postgres::Error),
    /// It did not answer in time.
    #[error("the database does not answer")]
    Silent,
    /// A row cannot be read.
    #[error(transparent)]
    Unreadable(#[from] super::row::Unreadable),
    /// A body cannot be read or written here.
    #[error("a body cannot be read or written: {0}")]
    Spool(#[from] std::io::Error),
    /// Two verbs of one transaction have changed the same run: they are made one by one then.
    #[error("a run was changed twice in one transaction")]
    Crossed,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// The message of the database itself, where there is one.
fn of_database(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => {
            let cause = std::error::Error::source(error);
            cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        }
    }
}

/// The way to the database.
pub(super) struct Link {
    config: Config,
    tls: MakeRustlsConnect,
    runtime: Handle,
    tasks: TaskTracker,
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

impl Link {
    /// Reads the URL; nothing is connected yet.
    pub(super) fn new(url: &Secret, runtime: Handle) -> Result<Self, String> {
        let text = std::str::from_utf8(url.reveal()).map_err(|_| "is not UTF-8".to_owned())?;
        let (mut config, roots) = postgres_url::read(text)?;
        config
            .connect_timeout(CONNECT)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 2)
            .keepalives_retries(2)
            .tcp_user_timeout(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("raincheck");
        }
        let tls = tls::connector(config.get_ssl_mode(), roots.as_deref())?;
        Ok(Self {
            config,
            tls,
            runtime,
            tasks: TaskTracker::new(),
            idle: Mutex::default(),
            permits: Semaphore::new(READERS),
        })
    }

    /// Host and database, for messages: no user, no password.
    pub(super) fn place(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("{database} on {}", hosts.join(", "))
    }

    /// Tries one host after the other, if there are several.
    async fn reach(&self) -> Result<(Client, Reached), LinkError> {
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        let connecting = self.config.connect(self.tls.clone());
        let reached = timeout(CONNECT.saturating_mul(hosts), connecting).await;
        Ok(reached.map_err(|_elapsed| LinkError::Silent)??)
    }

    /// A new connection. It is served until its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, LinkError> {
        let (client, connection) = self.reach().await?;
        let served = async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    error = of_database(&error),
                    "a connection to the database ended"
                );
            }
        };
        self.tasks.spawn_on(served, &self.runtime);
        Ok(client)
    }

    /// A connection that hears what was told to it, once `sql` has said to what it listens, until its client is dropped.
    pub(super) async fn listen(
        &self,
        sql: &str,
        told: UnboundedSender<Notification>,
    ) -> Result<Client, LinkError> {
        let (client, mut connection) = self.reach().await?;
        let served = async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && told.send(notification).is_err()
                {
                    return;
                }
            }
        };
        self.tasks.spawn_on(served, &self.runtime);
        timeout(PATIENCE, client.batch_execute(sql))
            .await
            .map_err(|_elapsed| LinkError::Silent)??;
        Ok(client)
    }

    /// Looks with a connection that nobody else has. One that failed is not used again.
    pub(super) async fn look<T, F>(
        &self,
        work: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, LinkError>>,
    {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| LinkError::Closed)?;
        let idle = self.idle.lock().pop();
        let client = match idle.filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        let client = Arc::new(client);
        let done = timeout(PATIENCE, work(Arc::clone(&client)))
            .await
            .map_err(|_elapsed| LinkError::Silent)?;
        if done.is_ok()
            && let Some(client) = Arc::into_inner(client)
        {
            self.idle.lock().push(client);
        }
        done
    }

    /// Looks with one statement.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, LinkError> {
        self.look(async |db| Ok(db.query_typed(sql, params).await?))
            .await
    }

    /// Makes a change with one statement, by itself; says how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, LinkError> {
        self.look(async |db| Ok(db.execute_typed(sql, params).await?))
            .await
    }

    /// Ends all looks for good.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }
}
