//! `raincheck store`: what is to be done to a store before, or between, its users.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Subcommand;
use tokio::runtime::Runtime;

use super::{Exit, Failure, Screen, check, http::block_on};
use crate::{
    config::{self, Durability, StoreKind, postgres_url},
    metrics::Metrics,
    model::secret::Secret,
    plugin::clock,
    store::{
        Store, moving,
        opening::{self, Opening},
        postgres::{self, Versions},
        sqlite::Entry,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring the tables in the database to this program's version, which serve does as well.
    Migrate(Migrate),
    /// Copy all runs from one store to another, empty one; both without users.
    Copy(Copy),
}

#[derive(Debug, clap::Args)]
struct Copy {
    /// A folder (SQLite), or postgres://user:password@host/database.
    #[arg(long, value_name = "STORE")]
    from: String,
    /// The same.
    #[arg(long, value_name = "STORE")]
    to: String,
}

#[derive(Debug, clap::Args)]
struct Migrate {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = check::DEFAULT_FILE)]
    config: PathBuf,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    match &arguments.action {
        Action::Migrate(arguments) => migrate(arguments, screen),
        Action::Copy(arguments) => copy(arguments, screen),
    }
}

fn migrate(arguments: &Migrate, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let config = check::load(&arguments.config)?;
    let StoreKind::Postgres { url } = &config.store.kind else {
        let says = "the embedded store is brought to this program's version when it is opened: start serve, or serve --upgrade";
        writeln!(screen.out, "{says}")?;
        return Ok(());
    };
    block_on(async {
        let done = postgres::migrate(url, arguments.dry_run).await;
        let Versions { found, known } =
            done.map_err(|error| Exit::Store.because(error.to_string()))?;
        let says = match (found == known, arguments.dry_run) {
            (true, _) => format!("the tables have version {known}; there is nothing to do"),
            (false, true) => {
                format!("the tables have version {found} and would be brought to version {known}")
            }
            (false, false) => {
                format!("the tables had version {found} and have version {known} now")
            }
        };
        writeln!(screen.out, "{says}")?;
        Ok(())
    })
}

fn copy(arguments: &Copy, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let scratch = std::env::temp_dir().join(format!("raincheck-copy-{}", std::process::id()));
    let open = |place: &str, name: &str| {
        let (kind, path) = match url(place) {
            Some(url) => (StoreKind::Postgres { url }, scratch.join(name)),
            None => (StoreKind::Sqlite, PathBuf::from(place)),
        };
        opened(kind, path, &runtime)
    };
    for (option, place) in [("--from", &arguments.from), ("--to", &arguments.to)] {
        if url(place).is_none() && place.contains("://") {
            let says = "names no store; write a folder, or postgres://user:password@host/database";
            return Err(Exit::Usage.because(format!("{option} {says}")));
        }
    }
    is_there(&arguments.from, &runtime)?;
    let from = open(&arguments.from, "from")?;
    let to = open(&arguments.to, "to")?;
    let copied = runtime.block_on(async {
        let copied = moving::copy(&*from, &*to).await;
        from.close().await;
        to.close().await;
        copied
    });
    let _ = std::fs::remove_dir_all(&scratch);
    let copied = copied.map_err(|error| Exit::Store.because(error.to_string()))?;
    writeln!(screen.out, "{copied} runs were copied")?;
    Ok(())
}

/// The URL of a database, if it is one.
fn url(place: &str) -> Option<Secret> {
    postgres_url::is_one(place).then(|| Secret::new(place.as_bytes()))
}

/// Refuses to copy from what is no store: opening it would make one.
fn is_there(place: &str, runtime: &Runtime) -> Result<(), Failure> {
    let (what, is_there) = match url(place) {
        Some(url) => {
            let looked = runtime.block_on(postgres::migrate(&url, true));
            let versions = looked.map_err(|error| Exit::Store.because(error.to_string()))?;
            ("the database", versions.found > 0)
        }
        None => (place, PathBuf::from(place).join("runs.db").exists()),
    };
    if is_there {
        return Ok(());
    }
    Err(Exit::Store.because(format!("{what} of --from is no store")))
}

/// A store without other users; it keeps what it has for as long as this takes.
fn opened(kind: StoreKind, path: PathBuf, runtime: &Runtime) -> Result<Arc<dyn Store>, Failure> {
    let config = config::Store {
        kind,
        path,
        durability: Durability::Fsync,
        retention: Duration::from_secs(u64::from(u32::MAX)),
        max_bytes: 0,
    };
    let metrics = Metrics::new();
    let metrics = metrics.map_err(|error| Exit::Failed.because(error.to_string()))?;
    let opening = Opening {
        config: &config,
        public_prefix: "/_raincheck",
        clock: clock::system(),
        metrics: Arc::new(metrics),
        entry: Entry::Alone,
        runtime: runtime.handle().clone(),
    };
    opening::open(opening).map_err(|error| Exit::Store.because(error.to_string()))
}
