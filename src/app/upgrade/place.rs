//! Where two processes meet for an upgrade: a unix socket in the store's folder.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// The socket's name.
const NAME: &str = "upgrade.sock";
/// The longest path of a unix socket, in bytes (unix(7): 108 with the zero).
const LONGEST: usize = 107;

/// Whoever listens in `folder`; none if nobody does.
pub(super) async fn connect(folder: &Path) -> io::Result<Option<UnixStream>> {
    let connected = match Short::of(folder) {
        Ok(short) => UnixStream::connect(short.join(NAME)).await,
        Err(error) => Err(error),
    };
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The socket of the process that is to be asked. Dropped, it takes its file away, unless that is already another's.
#[derive(Debug)]
pub(super) struct Place {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Place {
    /// Listens in `folder`, in the place of whoever did so before.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let short = Short::of(folder)?;
        let new = short.join(&format!("upgrade-{}.new", std::process::id()));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        let path = folder.join(NAME);
        fs::rename(&new, &path)?;
        let inode = fs::metadata(&path)?.ino();
        Ok(Self {
            listener,
            path,
            inode,
        })
    }

    /// Leaves the file to who comes next.
    pub(super) fn leave(&mut self) {
        self.inode = 0;
    }

    /// The next one who comes.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|known| known.ino() == self.inode) {
            // One that stays does no harm: nobody listens there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A folder by a path that is short enough for a socket in it.
struct Short {
    path: PathBuf,
    _open: Option<File>,
}

impl Short {
    fn of(folder: &Path) -> io::Result<Self> {
        // Room for the longest name that is used.
        if folder.as_os_str().len() + "/upgrade-4294967295.new".len() <= LONGEST {
            return Ok(Self {
                path: folder.to_owned(),
                _open: None,
            });
        }
        let open = File::open(folder)?;
        Ok(Self {
            path: format!("/proc/self/fd/{}", open.as_raw_fd()).into(),
            _open: Some(open),
        })
    }

    fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_meet_in_a_folder_with_a_long_name_too() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(200));
        fs::create_dir(&long).unwrap();
        for folder in [folder.path(), &long] {
            assert!(connect(folder).await.unwrap().is_none());
            let place = Place::take(folder).unwrap();
            let mode = fs::metadata(&place.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let (come, met) = tokio::join!(connect(folder), place.accept());
            assert!(come.unwrap().is_some() && met.is_ok());
            drop(place);
            assert!(!folder.join(NAME).exists());
        }
    }

    #[tokio::test]
    async fn a_later_one_takes_the_place_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let older = Place::take(folder.path()).unwrap();
        let newer = Place::take(folder.path()).unwrap();
        drop(older);
        let (come, met) = tokio::join!(connect(folder.path()), newer.accept());
        assert!(come.unwrap().is_some() && met.is_ok());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_has_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            connect(&folder.path().join("none"))
                .await
                .unwrap()
                .is_none()
        );
    }
}
