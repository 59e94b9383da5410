//! Opening a store: the folder, the lock, the file's marks, and the first transactions.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, ErrorCode};

use super::{
    connection, schema,
    slot::{Entry, SLOTS, Slot, SlotError},
};
use crate::{
    config::Durability,
    model::secret::Secret,
    store::{Fence, Identity},
};

/// The first SQLite without the WAL-reset fault, which can corrupt a file with two connections that write or make
/// checkpoints.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Why a store could not be opened. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store {path} is in use by {}; stop that process first, take over from it with --upgrade, or give this one another store.path", process(.pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, if its lock says so.
        pid: Option<u32>,
    },
    /// As many processes as can be are alive on it.
    #[error("{max} processes are alive on the store {path}, as many as may be; wait until those of earlier upgrades have finished their runs", max = SLOTS)]
    Crowded {
        /// The folder.
        path: PathBuf,
    },
    /// A process of an earlier version is alive on it, and could not write to the tables of this one.
    #[error(
        "{file} has version {found}, and the process that uses it cannot go on with version {known}; stop that process first, then start this one without --upgrade"
    )]
    Older {
        /// The database file.
        file: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The file is no store, or is damaged.
    #[error(
        "{file} is not a usable store: {why}; restore it from a backup, or move it away to start with an empty one"
    )]
    Damaged {
        /// The database file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file was written by a later version of this program.
    #[error(
        "{file} has version {found}, this program knows versions up to {known}; run the newer program"
    )]
    Newer {
        /// The database file.
        file: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// The SQLite that this program was linked with is too old.
    #[error("SQLite {found} can corrupt a store; build with the bundled one (3.51.3 or later)")]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// A folder or file could not be created, opened or locked.
    #[error(
        "{path} cannot be used: {source}; see to its owner, mode and free space, or set store.path"
    )]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite failed otherwise.
    #[error("{file} cannot be opened: {why}")]
    Failed {
        /// The database file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

fn process(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

/// A store that is opened, before anything is done with it.
pub(super) struct Opened {
    pub(super) slot: Slot,
    pub(super) file: PathBuf,
    pub(super) spool: PathBuf,
    pub(super) db: Connection,
    pub(super) fence: Fence,
    pub(super) identity: Identity,
    /// The highest key that was ever issued.
    pub(super) high: i64,
}

/// Opens the store in `folder`, or makes a new one.
pub(super) fn open(
    folder: &Path,
    durability: Durability,
    entry: Entry,
) -> Result<Opened, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let found = rusqlite::version().to_owned();
        return Err(OpenError::OldSqlite { found });
    }
    make_folder(folder)?;
    let (slot, beside_others) =
        Slot::take(folder, entry).map_err(|error| refused(folder, error))?;
    let spool = folder.join("spool");
    make_folder(&spool)?;
    let file = folder.join("runs.db");
    look_at(&file)?;
    let failed = |error| explain(&file, &error);
    let db = connection::writer(&file, durability).map_err(failed)?;
    check_or_create(&db, &file, beside_others)?;
    let (fence, identity, high) = first_transaction(&db, slot.number).map_err(failed)?;
    Ok(Opened {
        slot,
        file,
        spool,
        db,
        fence,
        identity,
        high,
    })
}

/// Whether no process is alive on the store in `folder`: what [`Entry::Alone`] asks for.
pub(super) fn must_be_free(folder: &Path) -> Result<(), OpenError> {
    Slot::all_free(folder).map_err(|error| refused(folder, error))
}

/// A folder that this process has, as that of a store; others see by it that it is alive. It goes with the process.
#[derive(Debug)]
pub struct FolderLock {
    _slot: Slot,
}

impl FolderLock {
    /// Makes the folder if it is not there, and takes it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] names the process that has it.
    pub fn take(folder: &Path, entry: Entry) -> Result<Self, OpenError> {
        make_folder(folder)?;
        let (slot, _) = Slot::take(folder, entry).map_err(|error| refused(folder, error))?;
        Ok(Self { _slot: slot })
    }
}

fn refused(folder: &Path, error: SlotError) -> OpenError {
    let path = folder.to_owned();
    match error {
        SlotError::InUse { pid } => OpenError::InUse { path, pid },
        SlotError::Crowded => OpenError::Crowded { path },
        SlotError::Io(source) => OpenError::Io { path, source },
    }
}

/// What a failure of SQLite means to whoever opens the store.
pub(super) fn explain(file: &Path, error: &rusqlite::Error) -> OpenError {
    let file = file.to_owned();
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Damaged { file, why }
        }
        _ => OpenError::Failed { file, why },
    }
}

/// Makes a folder that only we can look into, and brings it to disk; one that is there is taken as it is.
fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        path: folder.to_owned(),
        source,
    };
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
        .map_err(failed)?;
    for changed in [Some(folder), folder.parent()].into_iter().flatten() {
        let path = if changed.as_os_str().is_empty() {
            Path::new(".")
        } else {
            changed
        };
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
    }
    Ok(())
}

/// Looks at the file's first bytes, or creates an empty one with the right mode. No connection may be open yet:
/// closing the file would drop its locks.
fn look_at(file: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io {
        path: file.to_owned(),
        source,
    };
    let mut opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    let mut head = Vec::new();
    opened
        .by_ref()
        .take(100)
        .read_to_end(&mut head)
        .map_err(failed)?;
    if head.is_empty() {
        return Ok(());
    }
    if head.len() < 100 || !head.starts_with(b"SQLite format 3\0") {
        return Err(OpenError::Damaged {
            file: file.to_owned(),
            why: "it does not begin as a SQLite database does".into(),
        });
    }
    // https://sqlite.org/fileformat2.html §1.3: user version and application id.
    let number = |at: usize| {
        head[at..at + 4]
            .iter()
            .fold(0_i32, |all, byte| (all << 8) | i32::from(*byte))
    };
    match (number(68), number(60)) {
        // A start that was cut short before it had created anything.
        (0, 0) => Ok(()),
        (application, version) => check_marks(file, application, version),
    }
}

fn check_marks(file: &Path, application: i32, version: i32) -> Result<(), OpenError> {
    if application != schema::APPLICATION_ID {
        return Err(OpenError::Damaged {
            file: file.to_owned(),
            why: "it is the database of another program".into(),
        });
    }
    if version > schema::VERSION {
        return Err(OpenError::Newer {
            file: file.to_owned(),
            found: version,
            known: schema::VERSION,
        });
    }
    Ok(())
}

/// Checks whose file it is; fills a new one, and brings an older one to this version, if living processes can go on
/// with that.
fn check_or_create(db: &Connection, file: &Path, beside_others: bool) -> Result<(), OpenError> {
    let failed = |error| explain(file, &error);
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = pragma("application_id").map_err(failed)?;
    let version = pragma("user_version").map_err(failed)?;
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if tables == 0 && application == 0 {
        return create(db).map_err(failed);
    }
    check_marks(file, application, version)?;
    if beside_others && version < schema::OLDEST_BESIDE {
        return Err(OpenError::Older {
            file: file.to_owned(),
            found: version,
            known: schema::VERSION,
        });
    }
    if version < schema::VERSION {
        tracing::info!(
            from = version,
            to = schema::VERSION,
            "the store is brought to this version"
        );
        step(db, version, |_| Ok(())).map_err(failed)?;
    }
    Ok(())
}

fn create(db: &Connection) -> rusqlite::Result<()> {
    let mut random = [0; 40];
    SystemRandom::new()
        .fill(&mut random)
        .expect("the system has random numbers");
    let (name, key) = random.split_at(8);
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    step(db, 0, |db| {
        db.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
        db.execute(
            "INSERT INTO identity(loop_id, key) VALUES(?1, ?2)",
            (format!("raincheck-{name}"), key),
        )?;
        Ok(())
    })?;
    connection::checkpoint(db, "TRUNCATE")?;
    Ok(())
}

/// Takes the steps that lead from `version` to ours, and does `also`, in one transaction.
fn step(
    db: &Connection,
    version: i32,
    also: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = db.unchecked_transaction()?;
    let taken = usize::try_from(version).unwrap_or_default();
    for step in schema::STEPS.iter().skip(taken) {
        db.execute_batch(step)?;
    }
    also(db)?;
    db.pragma_update(None, "user_version", schema::VERSION)?;
    transaction.commit()
}

/// Raises the slot's epoch: claims of the process that had it before are void from now on.
fn first_transaction(db: &Connection, slot: u8) -> rusqlite::Result<(Fence, Identity, i64)> {
    let epoch: i64 = db.query_row(
        "INSERT INTO slot(slot, epoch, batch, high) VALUES(?1, 1, 0, 0)
         ON CONFLICT(slot) DO UPDATE SET epoch = epoch + 1, batch = 0 RETURNING epoch",
        [slot],
        |row| row.get(0),
    )?;
    let high: i64 = db.query_row(
        "SELECT max(coalesce((SELECT max(high) FROM slot), 0), coalesce((SELECT max(rid) FROM run), 0),
           coalesce((SELECT max(rid) FROM tombstone), 0))",
        [],
        |row| row.get(0),
    )?;
    let identity = db.query_row("SELECT loop_id, key FROM identity", [], |row| {
        Ok(Identity {
            loop_id: row.get(0)?,
            key: Secret::new(row.get::<_, Vec<u8>>(1)?),
        })
    })?;
    let epoch = epoch.cast_unsigned();
    Ok((Fence { slot, epoch }, identity, high))
}
