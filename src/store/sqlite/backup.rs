//! A copy of the store while it is in use: a snapshot of the database, and the spool files that it names, as a tar.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use super::{condition::Condition, connection, keeper::Held, shared::Shared};
use crate::store::{Backup, BackupError};

/// Bytes in a piece, and pieces on their way to the reader.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 8;
/// How long a reader may take for a piece: meanwhile no spool file is removed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the snapshot, and begins to pack it. Commits go on meanwhile.
pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Backup, BackupError> {
    let held = Held::begin(shared).ok_or(BackupError::UnderWay)?;
    let its = Arc::clone(shared);
    let made = tokio::task::spawn_blocking(move || Snapshot::take(&its, held)).await;
    let snapshot = made.map_err(|error| BackupError::Failed(error.to_string()))??;
    let (pieces, backup) = mpsc::channel(PIECES);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let outlet = Outlet { pieces, runtime };
        if let Err(error) = snapshot.pack(&outlet) {
            tracing::warn!(%error, "a backup was given up");
            // Who no longer listens needs no end.
            let _ = outlet.pieces.try_send(Err(error));
        }
    });
    Ok(Backup(backup))
}

/// The database as it was at one moment, already without a name, and what it names.
struct Snapshot {
    database: File,
    spool: PathBuf,
    files: Vec<String>,
    now: u64,
    _held: Held,
}

impl Snapshot {
    fn take(shared: &Shared, held: Held) -> Result<Self, BackupError> {
        let sizes = shared.sizes();
        let folder = &shared.settings.path;
        Condition::room_for(folder, sizes.database + sizes.log)?;
        let path = path_in(folder, shared.fence.slot);
        let taken = copy(&shared.file, &path);
        // Its content stays while it is open.
        let removed = fs::remove_file(&path);
        let (database, files) = taken?;
        removed.map_err(failed)?;
        Ok(Self {
            database,
            spool: folder.join("spool"),
            files,
            now: shared.now().seconds(),
            _held: held,
        })
    }

    fn pack(mut self, outlet: &Outlet) -> io::Result<()> {
        let mut tar = tar::Builder::new(io::BufWriter::with_capacity(PIECE, outlet));
        let head = |size| {
            let mut head = tar::Header::new_ustar();
            head.set_size(size);
            head.set_mode(0o600);
            head.set_mtime(self.now);
            head
        };
        let size = self.database.metadata()?.len();
        let whole = (&mut self.database).take(size);
        tar.append_data(&mut head(size), "runs.db", whole)?;
        for name in &self.files {
            let mut file = match File::open(self.spool.join(name)) {
                Ok(file) => file,
                // Another process on the store, in an upgrade, may have removed it since: its run has ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(file = name, "a spool file is not in the backup: it is gone");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let size = file.metadata()?.len();
            let path = Path::new("spool").join(name);
            tar.append_data(&mut head(size), path, (&mut file).take(size))?;
        }
        tar.into_inner()?.flush()
    }
}

/// Where the snapshot is while it is made.
fn path_in(folder: &Path, slot: u8) -> PathBuf {
    folder.join(format!("backup-{slot}.tmp"))
}

/// Removes what a crash in the middle of a backup left of the slot's process before us.
pub(super) fn remove_leftover(folder: &Path, slot: u8) -> io::Result<()> {
    match fs::remove_file(path_in(folder, slot)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies the database, and says which spool files the copy names.
fn copy(from: &Path, to: &Path) -> Result<(File, Vec<String>), BackupError> {
    // An empty file of the right mode is taken for a new one.
    let mut new = OpenOptions::new();
    new.write(true).create(true).truncate(true).mode(0o600);
    drop(new.open(to).map_err(failed)?);
    let target = to.to_str().ok_or_else(|| failed("its path is not UTF-8"))?;
    let db = connection::copier(from).map_err(failed)?;
    db.execute("VACUUM INTO ?1", [target]).map_err(failed)?;
    drop(db);
    let copied = connection::reader(to).map_err(failed)?;
    let files = copied
        .prepare("SELECT spool FROM body WHERE spool IS NOT NULL ORDER BY spool")
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .map_err(failed)?;
    Ok((File::open(to).map_err(failed)?, files))
}

fn failed(error: impl ToString) -> BackupError {
    BackupError::Failed(error.to_string())
}

/// The way to the reader, from a thread that may block.
struct Outlet {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Write for &Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.pieces.send(Ok(Bytes::copy_from_slice(bytes)));
        match self
            .runtime
            .block_on(async { timeout(PATIENCE, sent).await })
        {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_left)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
