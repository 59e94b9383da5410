//! The locks that tell which processes are alive on a store.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// How many processes may be alive on one store: an upgrade in progress needs two, and one more for each process of an
/// earlier upgrade that still finishes its runs.
pub(super) const SLOTS: u8 = 8;

/// How a process comes to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It wants to be the only one.
    Alone,
    /// Others may be alive on it: an upgrade.
    Beside,
}

/// A slot whose lock this process holds: its own, or that of a dead process while it takes over what that one held. The
/// lock goes with the process, however it ends.
#[derive(Debug)]
pub(super) struct Slot {
    /// 0 to 7: the low bits of the ids that the slot's process makes.
    pub(super) number: u8,
    lock: File,
}

/// Why no slot was had.
#[derive(Debug)]
pub(super) enum SlotError {
    /// Another process is alive on the store.
    InUse {
        /// Its process id, if its lock file says so.
        pid: Option<u32>,
    },
    /// Every slot has a living process.
    Crowded,
    Io(io::Error),
}

impl Slot {
    /// Takes a slot for this process; says whether others are alive.
    pub(super) fn take(folder: &Path, entry: Entry) -> Result<(Self, bool), SlotError> {
        let mut free = None;
        let mut others = Vec::new();
        for number in 0..SLOTS {
            // A file that was never made is nobody's.
            if free.is_some() && !folder.join(file_name(number)).exists() {
                continue;
            }
            match Self::lock(folder, number).map_err(SlotError::Io)? {
                Ok(slot) => free = free.or(Some(slot)),
                Err(pid) => others.push(pid),
            }
            // Of two that start at once one has slot 0, and is not disturbed by the other.
            if entry == Entry::Alone && !others.is_empty() {
                break;
            }
        }
        if entry == Entry::Alone && !others.is_empty() {
            let pid = others.into_iter().flatten().next();
            return Err(SlotError::InUse { pid });
        }
        let mut slot = free.ok_or(SlotError::Crowded)?;
        slot.name_ourselves().map_err(SlotError::Io)?;
        Ok((slot, !others.is_empty()))
    }

    /// Whether no process is alive on the store; says which otherwise. Nothing is created.
    pub(super) fn all_free(folder: &Path) -> Result<(), SlotError> {
        for number in 0..SLOTS {
            if folder.join(file_name(number)).exists()
                && let Err(pid) = Self::lock(folder, number).map_err(SlotError::Io)?
            {
                return Err(SlotError::InUse { pid });
            }
        }
        Ok(())
    }

    /// A slot that no living process has; none if one has it.
    pub(super) fn of_dead(folder: &Path, number: u8) -> io::Result<Option<Self>> {
        Self::lock(folder, number).map(Result::ok)
    }

    /// The slot, or the process that has it, if its lock file says so.
    fn lock(folder: &Path, number: u8) -> io::Result<Result<Self, Option<u32>>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(file_name(number)))?;
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self { number, lock: file })),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(Err(text.trim().parse().ok()))
            }
        }
    }

    fn name_ourselves(&mut self) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        writeln!(self.lock, "{}", std::process::id())
    }
}

fn file_name(number: u8) -> String {
    format!("slot-{number}.lock")
}
