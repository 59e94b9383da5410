//! The running process's side: waits for a new one, offers it the sockets, and leaves them to it.

use std::{
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Offered,
    message::{Line, MOST, Message},
    place::Place,
};

/// How long a new process may take to start. (It may have a large store to bring to its version.)
const START: Duration = Duration::from_secs(120);
/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the running process waits for its successor. Dropped, it hands over to nobody.
#[derive(Debug)]
pub(in crate::app) struct Door {
    place: Place,
    offered: Vec<Offered>,
    /// Whether a new process is starting.
    busy: Arc<AtomicBool>,
}

impl Door {
    /// Waits in `folder`, with these sockets to be handed over.
    pub(in crate::app) fn open(folder: &Path, offered: Vec<Offered>) -> io::Result<Self> {
        if offered.len() > MOST {
            let text = format!(
                "{} sockets are too many to be handed over at once, {MOST} are the most",
                offered.len()
            );
            return Err(io::Error::other(text));
        }
        Ok(Self {
            place: Place::take(folder)?,
            offered,
            busy: Arc::default(),
        })
    }

    /// Tells whether a new process is starting.
    pub(in crate::app) fn busy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.busy)
    }

    /// Waits until a new process serves the sockets; then `leave` is called with its process id, and is to see to it
    /// that nothing more is accepted here.
    pub(in crate::app) async fn taken(mut self, leave: impl Fn(Option<u32>)) {
        loop {
            let line = self.next().await;
            let pid = line.pid;
            info!(pid, "a new process comes to take over");
            self.busy.store(true, Ordering::Relaxed);
            let handed = self
                .while_others_are_refused(pid, self.hand_over(line))
                .await;
            self.busy.store(false, Ordering::Relaxed);
            match handed {
                Ok(mut line) => {
                    self.place.leave();
                    leave(pid);
                    if let Err(error) = line.send(&Message::Done, &[]).await {
                        warn!(%error, pid, "the new process was not told that it is alone");
                    }
                    return;
                }
                Err(error) => {
                    warn!(%error, pid, "the new process did not take over; nothing has changed");
                }
            }
        }
    }

    async fn next(&self) -> Line {
        loop {
            match self.place.accept().await.and_then(Line::new) {
                Ok(line) => return line,
                Err(error) => {
                    warn!(%error, "somebody came for an upgrade and was sent away");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Offers the sockets, and waits until they are served.
    async fn hand_over(&self, mut line: Line) -> io::Result<Line> {
        let configured = self.offered.iter().map(|one| one.configured.clone());
        let sockets: Vec<BorrowedFd<'_>> =
            self.offered.iter().map(|one| one.socket.as_fd()).collect();
        line.send(&Message::Take(configured.collect()), &sockets)
            .await?;
        match timeout(START, line.receive()).await {
            Ok(Ok((Message::Ready, _))) => Ok(line),
            Ok(Ok((other, _))) => Err(io::Error::other(format!("it said {other:?}"))),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(io::Error::other("it ended before it was ready"))
            }
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => {
                let why = format!("it was not ready within {} s", START.as_secs());
                line.send(&Message::Refused(why.clone()), &[]).await?;
                Err(io::Error::other(why))
            }
        }
    }

    async fn while_others_are_refused<T>(
        &self,
        pid: Option<u32>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                other = self.place.accept() => match other {
                    Ok(other) => refuse(other, pid).await,
                    Err(_) => sleep(PAUSE).await,
                },
            }
        }
    }
}

async fn refuse(other: UnixStream, pid: Option<u32>) {
    let name = pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
    let why = format!("an upgrade is in progress, {name} is starting; try again when it is over");
    let sent = async { Line::new(other)?.send(&Message::Refused(why), &[]).await };
    if let Err(error) = sent.await {
        warn!(%error, "a second upgrade was refused, but not told so");
    }
}
