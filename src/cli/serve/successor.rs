//! What SIGQUIT does: it starts the program anew, as it was started, with `--upgrade`.

use std::{
    env,
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{process::Command, time::sleep};
use tracing::{error, info, warn};

/// How long a new process that somebody starts along with the signal is waited for.
const ANOTHERS: Duration = Duration::from_secs(1);

/// Starts a new process, unless one is starting by then that somebody else has started; ends if that process ends.
pub(super) async fn start(starting: Arc<AtomicBool>) {
    sleep(ANOTHERS).await;
    if starting.load(Ordering::Relaxed) {
        info!("a new process is starting already");
        return;
    }
    let mut arguments: Vec<OsString> = env::args_os().collect();
    if !arguments.iter().any(|argument| argument == "--upgrade") {
        arguments.push("--upgrade".into());
    }
    // The program by the name that it was started with: that leads to a new version in the place of this one.
    let Some((program, arguments)) = arguments.split_first() else {
        error!("it is not known how this program was started; start the new one with --upgrade");
        return;
    };
    let started = Command::new(program).args(arguments).spawn();
    let mut process = match started {
        Ok(process) => process,
        Err(error) => {
            error!(%error, program = %program.display(), "the new process cannot be started; nothing has changed");
            return;
        }
    };
    info!(pid = process.id(), program = %program.display(), "a new process was started");
    match process.wait().await {
        Ok(status) => error!(%status, "the new process ended; nothing has changed"),
        Err(error) => warn!(%error, "nothing is known of the new process"),
    }
}
