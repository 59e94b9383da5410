//! The new process's side: asks the running one for its sockets, and tells it when they are served.

use std::{io, path::Path, time::Duration};

use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    Offered, UpgradeError,
    message::{Line, Message},
    place,
};

/// How long the running process may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process that is to be followed.
#[derive(Debug)]
pub(in crate::app) struct Predecessor(Line);

impl Predecessor {
    /// Finds the process that serves on the store in `folder`, and takes its sockets; none if nobody does.
    pub(in crate::app) async fn find(
        folder: &Path,
    ) -> Result<Option<(Self, Vec<Offered>)>, UpgradeError> {
        let Some(stream) = place::connect(folder).await.map_err(UpgradeError::Failed)? else {
            info!("no running process hands over its listeners: an ordinary start");
            return Ok(None);
        };
        let mut line = Line::new(stream).map_err(UpgradeError::Failed)?;
        let (configured, sockets) = match answer(&mut line).await? {
            (Message::Take(configured), sockets) if configured.len() == sockets.len() => {
                (configured, sockets)
            }
            (message, _) => return Err(unexpected(message)),
        };
        info!(pid = line.pid, listeners = ?configured, "takes over from the running process");
        let offered = configured
            .into_iter()
            .zip(sockets)
            .map(|(configured, socket)| Offered {
                configured,
                socket: socket.into(),
            });
        let offered = offered.collect();
        Ok(Some((Self(line), offered)))
    }

    /// Tells it that its sockets are served here. When this returns, it accepts nothing more.
    pub(in crate::app) async fn relieve(mut self) -> Result<(), UpgradeError> {
        // If it has just died, there is nobody to be told.
        let _ = self.0.send(&Message::Ready, &[]).await;
        match answer(&mut self.0).await {
            Ok((Message::Done, _)) => Ok(()),
            Ok((message, _)) => Err(unexpected(message)),
            Err(UpgradeError::Failed(error)) if is_gone(&error) => {
                warn!("the older process died while it handed over");
                Ok(())
            }
            // It has been told, and stops accepting as soon as it reads that: until then both serve.
            Err(UpgradeError::Failed(error)) if error.kind() == io::ErrorKind::TimedOut => {
                warn!("the older process has not said that it accepts nothing more");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

async fn answer(line: &mut Line) -> Result<(Message, Vec<std::os::fd::OwnedFd>), UpgradeError> {
    timeout(PATIENCE, line.receive())
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
        .map_err(UpgradeError::Failed)
}

fn unexpected(message: Message) -> UpgradeError {
    match message {
        Message::Refused(why) => UpgradeError::Refused(why),
        other => UpgradeError::Failed(io::Error::other(format!("it said {other:?}"))),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
