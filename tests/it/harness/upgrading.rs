//! The program followed by another process of it, on the same store and listeners.

use std::process::{Child, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use super::{gate::eventually, process::Raincheck};

/// What the log says when a process has handed over.
const HANDED_OVER: &str = "finishes what is under way";

/// A process that has handed over and finishes what it has.
pub(crate) struct Older(Child);

impl Raincheck {
    /// `serve --upgrade`: goes on with the new process, and returns the one before.
    pub(crate) fn upgrade(&mut self) -> Older {
        let newer = self.hand_over();
        self.follow(newer)
    }

    /// Starts a new process that takes over; [`Raincheck::follow`] it then.
    pub(crate) fn hand_over(&self) -> Child {
        let before = self.hand_overs();
        let mut newer = self.spawn(&["--upgrade"]);
        eventually("the hand-over", || {
            let ended = newer.try_wait().expect("wait");
            assert!(ended.is_none(), "the new process ended: {ended:?}");
            (self.hand_overs() > before).then_some(())
        });
        newer
    }

    /// Goes on with the process that has taken over, and returns the one before.
    pub(crate) fn follow(&mut self, newer: Child) -> Older {
        Older(self.go_on_with(newer))
    }

    fn hand_overs(&self) -> usize {
        self.log().matches(HANDED_OVER).count()
    }
}

impl Older {
    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the older process's end", || {
            self.0.try_wait().expect("wait")
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("pid"), signal).expect("signal");
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
