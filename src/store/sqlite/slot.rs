//! The lock that tells which processes are alive on a store.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// How many processes may be alive on one store (an upgrade in progress needs two).
const SLOTS: u8 = 8;

/// A slot that this process holds; the lock goes with the process, however it ends.
#[derive(Debug)]
pub(super) struct Slot {
    /// 0 to 7: the low bits of the ids that this process makes.
    pub(super) number: u8,
    _lock: File,
}

/// Why no slot was had.
#[derive(Debug)]
pub(super) enum SlotError {
    /// Another process is alive on the store.
    InUse {
        /// Its process id, if its lock file says so.
        pid: Option<u32>,
    },
    Io(io::Error),
}

impl Slot {
    /// Takes the store for this process alone.
    pub(super) fn take(folder: &Path) -> Result<Self, SlotError> {
        let mut first = None;
        for number in 0..SLOTS {
            let path = folder.join(format!("slot-{number}.lock"));
            if number > 0 && !path.exists() {
                continue;
            }
            let lock = lock(&path)?;
            if number == 0 {
                first = Some(lock);
            }
        }
        let mut lock = first.ok_or_else(|| SlotError::Io(io::ErrorKind::NotFound.into()))?;
        name_ourselves(&mut lock).map_err(SlotError::Io)?;
        Ok(Self {
            number: 0,
            _lock: lock,
        })
    }
}

fn lock(path: &Path) -> Result<File, SlotError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(SlotError::Io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(SlotError::Io(error)),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            Err(SlotError::InUse { pid })
        }
    }
}

fn name_ourselves(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
