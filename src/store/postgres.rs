//! Many machines: PostgreSQL. Any number of replicas behind one database; whatever one of them accepts, each of them can
//! answer for, and what a dead one held is taken over by the others.
//!
//! Queued runs and pending deliveries belong to nobody: whichever replica has room takes them (`FOR UPDATE SKIP LOCKED`).
//! What is under way is held in the name of a replica's registration; a replica that was taken for dead is fenced, so that
//! no transaction of it holds any more.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{runtime::Handle, time::Instant};
use tokio_postgres::types::Type;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    committer::Queue,
    days::Days,
    files::Lent,
    lease::Lease,
    link::{BEGIN, Link, LinkError},
    schema::Migrated,
    shared::Shared,
    telling::Untold,
};
use super::{Fence, Identity, Notices, ids::Ids, spool::Spool, sqlite::FolderLock};
use crate::{
    metrics::Metrics,
    model::{secret::Secret, time::SharedClock},
};

mod alone;
mod bodies;
mod claims;
mod committer;
mod days;
mod deliveries;
mod files;
mod insert;
mod lease;
mod link;
mod moving;
mod pieces;
mod reader;
mod records;
mod row;
mod runs;
mod schema;
mod shared;
mod sharing;
mod store;
mod telling;
mod tidy;
mod tls;
mod tx;
mod write;

/// How long a file that was brought here for a look is kept: readers open it at once, and have it then.
const LENT: Duration = Duration::from_secs(300);
/// How long the file of a response is handed out at most: old ones are taken for left behind.
const LENT_AT_MOST: Duration = Duration::from_secs(3600);
/// Between looks for pieces of bodies whose run was never stored.
const SWEEP: Duration = Duration::from_secs(6 * 3600);
/// Between tries to write a long body while the database is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a good-bye may take: a database that is away needs none.
const GOOD_BYE: Duration = Duration::from_secs(1);
/// How long the last changes may take at a stop.
const CLOSING: Duration = Duration::from_secs(5);

/// What the store needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `store.url`
    pub url: Secret,
    /// The folder for bodies on their way: of this replica alone.
    pub path: PathBuf,
    /// What keeps it so.
    pub folder: Option<Arc<FolderLock>>,
    /// How long finished runs are kept.
    pub retention: Duration,
    /// Where the pages are that explain problems; empty: nowhere.
    pub public_prefix: String,
}

/// Why the store cannot be opened. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error("store.url {0}")]
    Url(String),
    /// The database cannot be used.
    #[error("the database {place} cannot be used: {why}{advice}")]
    Database {
        /// Database and host.
        place: String,
        /// What it said.
        why: String,
        /// What may be the matter.
        advice: &'static str,
    },
    /// A later program has changed the tables.
    #[error(
        "the tables in {place} have version {found}, this program knows versions up to {known}; run the newer program"
    )]
    Newer {
        /// Database and host.
        place: String,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// Somebody else has tables in our schema, or has changed ours.
    #[error(
        "the schema raincheck in {place} has tables that are not Raincheck's, or not all of them; name another database, or rename that schema"
    )]
    Foreign {
        /// Database and host.
        place: String,
    },
    /// The server lacks what we need.
    #[error("{place} is PostgreSQL {version}; Raincheck needs 14 or later: upgrade the server")]
    Old {
        /// Database and host.
        place: String,
        /// The server's version.
        version: String,
    },
    /// The folder for bodies on their way cannot be used.
    #[error(
        "{path} cannot be used: {source}; see to its owner, mode and free space, or set store.path"
    )]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The store of several replicas.
pub struct PostgresStore {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    identity: Identity,
    /// What was brought here for a look.
    lent: Lent,
    /// When pieces were last swept.
    swept: Mutex<Option<Instant>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _folder: Option<Arc<FolderLock>>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.shared.link.place();
        f.debug_struct("PostgresStore")
            .field("place", &place)
            .finish()
    }
}

impl PostgresStore {
    /// Brings the tables to this program's version, registers this replica and begins to work on `runtime`.
    ///
    /// # Errors
    /// [`OpenError`] says why, and what to do.
    pub async fn open(
        settings: Settings,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Result<Arc<Self>, OpenError> {
        let link = Link::new(&settings.url, runtime.clone()).map_err(OpenError::Url)?;
        let place = link.place();
        let failed = |error: LinkError| refused(place.clone(), &error);
        let client = link.connect().await.map_err(failed)?;
        refuse_old(&client, &place).await?;
        let migrated = schema::migrate(&client).await;
        match migrated.map_err(|error| failed(error.into()))? {
            Migrated::Ready => {}
            Migrated::Foreign => return Err(OpenError::Foreign { place }),
            Migrated::Newer(found) => {
                return Err(OpenError::Newer {
                    place,
                    found,
                    known: schema::VERSION,
                });
            }
        }
        let (identity, high) = first(&client).await.map_err(failed)?;
        drop(client);
        let folder = settings.path.join("spool");
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private
            .create(&folder)
            .map_err(|source| OpenError::Folder {
                path: folder.clone(),
                source,
            })?;
        let (queue, jobs) = Queue::new();
        metrics.store_writable.set(1);
        let lease = Lease::since_now();
        let number = registered(&link).await.map_err(failed)?;
        // Another process, in a hand-over, may have files in the same folder: its slot differs.
        let slot = (number % 8) as u8;
        let writer = Fence {
            slot,
            epoch: number.cast_unsigned(),
        };
        let shared = Arc::new(Shared {
            link,
            metrics,
            retention: settings.retention,
            public_prefix: settings.public_prefix,
            ids: Ids::after(high, slot),
            spool: Spool::new(folder, writer, clock.clone()),
            clock,
            notices: Notices::default(),
            unfinished: Default::default(),
            days: Days::default(),
            untold: Untold::default(),
            lease,
            replica: AtomicI64::new(number),
            alive: AtomicUsize::new(1),
            held: Mutex::default(),
            writable: AtomicBool::new(true),
            closing: AtomicBool::new(false),
        });
        lease::agree(&shared).await.map_err(failed)?;
        days::ahead(&shared).await.map_err(failed)?;
        let store = Arc::new(Self {
            queue: Arc::new(queue),
            identity,
            lent: Lent::default(),
            swept: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            _folder: settings.folder,
            shared,
        });
        let committer = committer::run(Arc::clone(&store.shared), jobs);
        store.tasks.spawn_on(committer, &runtime);
        let (shared, queue) = (Arc::clone(&store.shared), Arc::clone(&store.queue));
        let kept = lease::keep(shared, queue, store.stop.clone());
        store.tasks.spawn_on(kept, &runtime);
        let told = telling::keep(Arc::clone(&store.shared), store.stop.clone());
        store.tasks.spawn_on(told, &runtime);
        Ok(store)
    }

    /// Commits what is queued, says good-bye, and closes.
    async fn end(&self) {
        self.stop.cancel();
        self.queue.close();
        self.tasks.close();
        // With nothing under way, nothing is lost by not waiting for a database that is silent.
        let is_idle = self.shared.held.lock().is_empty();
        let patience = if is_idle { GOOD_BYE } else { CLOSING };
        if tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("the last changes could not be written; other replicas take over");
        }
        self.shared.closing.store(true, Ordering::Relaxed);
        let owner = self.shared.owner();
        // Others need not wait until they take it for dead.
        let sql = "UPDATE raincheck.replica SET fenced = true WHERE id = $1";
        let params: [row::Param<'_>; 1] = [(&owner, Type::INT8)];
        let gone = self.shared.link.execute(sql, &params);
        if !matches!(tokio::time::timeout(GOOD_BYE, gone).await, Ok(Ok(_))) {
            tracing::debug!("this replica's row stays; others take it for dead");
        }
        self.shared.link.close();
    }
}

/// Versions of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// That of the tables; 0 if there are none.
    pub found: i32,
    /// That of this program.
    pub known: i32,
}

/// Brings the tables to this program's version, or only looks; says which version they had.
///
/// # Errors
/// [`OpenError`] says why, and what to do.
pub async fn migrate(url: &Secret, only_look: bool) -> Result<Versions, OpenError> {
    let link = Link::new(url, Handle::current()).map_err(OpenError::Url)?;
    let place = link.place();
    let failed = |error: LinkError| refused(place.clone(), &error);
    let db = link.connect().await.map_err(failed)?;
    refuse_old(&db, &place).await?;
    let found = schema::version(&db).await;
    let found = found.map_err(|error| failed(error.into()))?;
    let Some(found) = found else {
        return Err(OpenError::Foreign { place });
    };
    let known = schema::VERSION;
    if found > known {
        return Err(OpenError::Newer {
            place,
            found,
            known,
        });
    }
    if !only_look {
        let migrated = schema::migrate(&db).await;
        migrated.map_err(|error| failed(error.into()))?;
    }
    Ok(Versions { found, known })
}

/// Days are detached concurrently, which came with PostgreSQL 14.
async fn refuse_old(db: &tokio_postgres::Client, place: &str) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::int < 140000";
    let rows = db.query_typed(sql, &[]).await;
    let rows = rows.map_err(|error| refused(place.to_owned(), &error.into()))?;
    match rows.first() {
        Some(row) if row.get(1) => Err(OpenError::Old {
            place: place.to_owned(),
            version: row.get(0),
        }),
        _ => Ok(()),
    }
}

/// A new row for this process: where it runs, for people who look.
async fn registered(link: &Link) -> Result<i64, LinkError> {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let name = format!("{host}:{}", std::process::id());
    let sql = "INSERT INTO raincheck.replica(name, version) VALUES($1, $2) RETURNING id";
    let version = env!("CARGO_PKG_VERSION");
    let params: [row::Param<'_>; 2] = [(&name, Type::TEXT), (&version, Type::TEXT)];
    let rows = link.query(sql, &params).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// What was made once for the store, and the highest key that was ever issued.
async fn first(db: &tokio_postgres::Client) -> Result<(Identity, i64), LinkError> {
    let mut random = [0; 48];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| LinkError::Closed)?;
    let loop_id: String = random[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let key = &random[16..];
    // Of two that start at once the later one has to see what the first one made.
    db.batch_execute(BEGIN).await?;
    schema::lock(db).await?;
    let sql = "INSERT INTO raincheck.identity(loop_id, key)
         SELECT $1, $2 WHERE NOT EXISTS (SELECT 1 FROM raincheck.identity)";
    db.execute_typed(sql, &[(&loop_id, Type::TEXT), (&key, Type::BYTEA)])
        .await?;
    let sql = "SELECT loop_id, key FROM raincheck.identity ORDER BY loop_id LIMIT 1";
    let rows = db.query_typed(sql, &[]).await?;
    db.batch_execute("COMMIT").await?;
    let found = rows.first().ok_or(LinkError::Closed)?;
    let identity = Identity {
        loop_id: found.get(0),
        key: Secret::new(found.get::<_, Vec<u8>>(1)),
    };
    let sql = "SELECT id FROM raincheck.every ORDER BY id DESC LIMIT 1";
    let rows = db.query_typed(sql, &[]).await?;
    let high = rows
        .first()
        .map_or(0, |newest| row::id(newest.get(0)).key());
    Ok((identity, high))
}

fn refused(place: String, error: &LinkError) -> OpenError {
    let code = match error {
        LinkError::Database(error) => error.code().map(|code| code.code().to_owned()),
        _ => None,
    };
    let why = error.to_string();
    let advice = match code.as_deref() {
        Some("28P01" | "28000") => "; see to user and password in store.url, and to pg_hba.conf",
        Some("3D000") => "; create it: createdb NAME",
        Some("42501") => {
            "; grant the user CREATE on the database; tables that are another user's, give it (REASSIGN OWNED)"
        }
        Some("25006") => {
            "; this server is a read-only standby, or default_transaction_read_only is set: name the primary, or a user that may write"
        }
        Some("53100") => "; the server's disk is full",
        Some("53300") => "; raise max_connections",
        // It has another shape, or there is less or more of it than our version of it has.
        Some(code) if code.starts_with("42") => {
            "; the schema raincheck was made or changed by another program: name another database, or rename that schema"
        }
        None if why.contains("TLS") => {
            "; turn it on in the server (ssl = on), or take sslmode out of store.url"
        }
        _ => "; see to the host and port in store.url, and that the server runs",
    };
    OpenError::Database { place, why, advice }
}

#[cfg(test)]
mod tests;
