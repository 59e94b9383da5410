//! `raincheck backup`: a copy of the running process's store, in a file that is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use reqwest::Response;

use super::{Exit, Failure, Screen, admin::Admin, http as client, settings::Access};

/// The first byte comes when the snapshot of the database is made.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The tar archive to write, readable by its owner alone; it must not be there yet. `-`: stdout.
    file: PathBuf,
    #[command(flatten)]
    access: Access,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let admin = Admin::patient(&arguments.access, screen.err, PATIENCE)?;
    let file = &arguments.file;
    let to_stdout = file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Exit::Usage.because("a terminal shows no archive; name a file, or pipe it on"));
    }
    client::block_on(async {
        let mut target = match to_stdout {
            true => None,
            false => Some(Target::create(file)?),
        };
        let response = admin
            .send(admin.request(Method::POST, "backup", &[]))
            .await?;
        let to: &mut dyn Write = match &mut target {
            Some(target) => &mut target.file,
            None => screen.out,
        };
        let bytes = save(response, to).await?;
        match target {
            None => screen.out.flush()?,
            Some(target) => {
                target.keep(file)?;
                writeln!(screen.out, "{}: {bytes} bytes", file.display())?;
            }
        }
        Ok(())
    })
}

async fn save(mut response: Response, to: &mut dyn Write) -> Result<u64, Failure> {
    let mut bytes = 0;
    loop {
        let piece = response.chunk().await.map_err(|error| {
            let cause = client::cause(&error);
            Exit::Network.because(format!(
                "the backup broke off after {bytes} bytes: {cause}; nothing of it is kept, and the log of the server says more"
            ))
        })?;
        let Some(piece) = piece else {
            return Ok(bytes);
        };
        to.write_all(&piece)?;
        bytes += piece.len() as u64;
    }
}

/// A file in the making. Dropped before it is kept, it goes.
struct Target {
    file: File,
    path: PathBuf,
}

impl Target {
    fn create(file: &Path) -> Result<Self, Failure> {
        let failed = |path: &Path, error: io::Error| {
            Exit::Failed.because(format!("{} cannot be written: {error}", path.display()))
        };
        if file.symlink_metadata().is_ok() {
            return Err(Exit::Usage.because(format!(
                "{} is there already; name another file",
                file.display()
            )));
        }
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(|error| failed(&path, error))?;
        Ok(Self { file, path })
    }

    /// Brings it to disk under its name. What has come to be there meanwhile is not overwritten.
    fn keep(self, file: &Path) -> Result<(), Failure> {
        self.file.sync_all()?;
        fs::hard_link(&self.path, file)?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Once it is kept it has another name too.
        let _ = fs::remove_file(&self.path);
    }
}
