//! A spool file in the making: it has its name only once it is on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::Folder;

/// A file that is removed when it is dropped before it was kept.
#[derive(Debug)]
pub(super) struct Unfinished {
    folder: Arc<Folder>,
    name: String,
    path: PathBuf,
    file: File,
    written: u64,
    kept: bool,
}

impl Unfinished {
    /// Creates the file; blocks.
    pub(super) fn create(folder: Arc<Folder>) -> io::Result<Self> {
        let name = folder.next_name();
        let path = folder.path.join(format!("{name}.tmp"));
        let open = || {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_hour(&folder.path, &path)?;
                open()?
            }
            other => other?,
        };
        Ok(Self {
            folder,
            name,
            path,
            file,
            written: 0,
            kept: false,
        })
    }

    /// Adds bytes, all or none; blocks.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_ok() {
            self.written += bytes.len() as u64;
        } else {
            self.file.set_len(self.written)?;
            self.file.seek(SeekFrom::Start(self.written))?;
        }
        written
    }

    /// Brings the file to disk under its name, which is returned; blocks.
    pub(super) fn keep(mut self, len: u64) -> io::Result<String> {
        self.file.sync_data()?;
        let named = self.folder.path.join(&self.name);
        fs::rename(&self.path, &named)?;
        self.kept = true;
        let synced = named.parent().map_or(Ok(()), sync_folder);
        if let Err(error) = synced {
            let _ = fs::remove_file(&named);
            return Err(error);
        }
        self.folder.bytes.fetch_add(len, Ordering::Relaxed);
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_hour(spool: &Path, file: &Path) -> io::Result<()> {
    let hour = file.parent().unwrap_or(spool);
    match fs::DirBuilder::new().mode(0o700).create(hour) {
        Ok(()) => sync_folder(spool),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Brings a folder's entries to disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
