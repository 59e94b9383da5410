//! The signals that a running proxy heeds.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop, gently.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGQUIT: hand over to a new process.
    Quit,
    /// SIGHUP: read the configuration again.
    Hangup,
}

impl Signal {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// The signals, from the moment that this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// The next one that ends the process; others are of no use any more.
    pub async fn next_to_end(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Quit | Signal::Hangup => {}
                end @ (Signal::Terminate | Signal::Interrupt) => return end,
            }
        }
    }
}
