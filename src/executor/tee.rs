//! A second listener to an attempt: the caller of a synchronous call with a webhook, who gets the response as it comes.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use tokio::sync::{mpsc, oneshot};

use crate::model::run::End;

/// Pieces on their way to the caller: a slow one holds up the upstream, as it would without us.
const PIECES: usize = 4;

/// A piece of what the caller gets.
#[derive(Debug)]
pub enum Piece {
    /// The response's head, without hop-by-hop headers.
    Head(Box<ResponseHeader>),
    /// A piece of its body.
    Body(Bytes),
}

/// How the attempt ended for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The response came whole.
    Whole,
    /// It did not, and the run has ended.
    Failed(End),
    /// It did not: the proxy stops, and the run goes on without the caller.
    Again,
}

/// The attempt's end of the tee. A caller who has left is not waited for.
#[derive(Debug)]
pub struct Tee {
    pieces: mpsc::Sender<Piece>,
    whole: AtomicBool,
    ending: Mutex<Option<oneshot::Sender<Ending>>>,
}

/// The caller's end of a tee.
#[derive(Debug)]
pub struct Listener {
    pieces: mpsc::Receiver<Piece>,
    ending: oneshot::Receiver<Ending>,
}

/// What the caller hears next.
#[derive(Debug)]
pub enum Heard {
    /// A piece of the response.
    Piece(Piece),
    /// The attempt is over, and what became of the run is stored.
    Ended(Ending),
    /// The proxy stopped first.
    Lost,
}

/// A tee, and the caller's end of it.
pub fn tee() -> (Tee, Listener) {
    let (pieces, heard) = mpsc::channel(PIECES);
    let (ending, ended) = oneshot::channel();
    let tee = Tee {
        pieces,
        whole: AtomicBool::new(false),
        ending: Mutex::new(Some(ending)),
    };
    let listener = Listener {
        pieces: heard,
        ending: ended,
    };
    (tee, listener)
}

impl Listener {
    /// Waits for what comes next. The ending comes last.
    pub async fn next(&mut self) -> Heard {
        tokio::select! {
            // Pieces first: all of them were sent before the ending.
            biased;
            Some(piece) = self.pieces.recv() => Heard::Piece(piece),
            ended = &mut self.ending => ended.map_or(Heard::Lost, Heard::Ended),
        }
    }
}

impl Tee {
    pub(super) async fn give(&self, piece: Piece) {
        let _caller_left = self.pieces.send(piece).await;
    }

    /// Tells how it ended; does not wait for a slow caller.
    pub(super) fn end(&self, ending: Ending) {
        if let Some(told) = self.ending.lock().take() {
            let _caller_left = told.send(ending);
        }
    }

    /// Notes that the response came to its end.
    pub(super) fn came_whole(&self) {
        self.whole.store(true, Ordering::Relaxed);
    }

    /// Whether the response came to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// Whether the caller still listens.
    pub(super) fn is_heard(&self) -> bool {
        !self.pieces.is_closed()
    }
}
