//! `raincheck runs`: looks at runs and acts on them, by the admin API.

mod act;
mod filter;
mod list;
mod result;
mod show;
mod table;
mod wait;
mod which;

use clap::Subcommand;

use self::which::Which;
use super::{Failure, Screen, admin::Admin, http::block_on, settings::Access};

/// What to do with which runs.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List runs, the newest first.
    List(list::Arguments),
    /// Show a run's record, with each attempt.
    Get(Which),
    /// Print a run's response. Exits with 1 if the run failed, or has not ended yet.
    Result(result::Arguments),
    /// Wait until a run has ended. Exits with 1 if it failed.
    Wait(wait::Arguments),
    /// Cancel an unfinished run.
    Cancel(Which),
    /// Tell a run's webhook again.
    Redeliver(Which),
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access, screen.err)?;
    block_on(async {
        match &arguments.action {
            Action::List(arguments) => list::run(&admin, arguments, screen).await,
            Action::Get(which) => show::run(&admin, which, screen).await,
            Action::Result(arguments) => result::run(&admin, arguments, screen).await,
            Action::Wait(arguments) => wait::run(&admin, arguments, screen).await,
            Action::Cancel(which) => act::run(&admin, "cancel", which, screen).await,
            Action::Redeliver(which) => act::run(&admin, "redeliver", which, screen).await,
        }
    })
}
