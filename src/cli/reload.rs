//! `raincheck reload`: has the running process read its configuration file again.

use http::Method;
use serde::Deserialize;

use super::{Failure, Screen, admin::Admin, http::block_on, json, settings::Access};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print what the admin API answers.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// What the admin API answers.
#[derive(Deserialize)]
struct Reloaded {
    hash: String,
    needs_restart: Vec<String>,
}

/// Ends when the new configuration holds. A refused one is exit 64, with all that is wrong in it on stderr.
pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let admin = Admin::open(&arguments.access, screen.err)?;
    block_on(async {
        let request = admin.request(Method::POST, "reload", &[]);
        let answer = admin.json::<Reloaded>(request).await?;
        if arguments.json {
            return json::print(&answer.text, screen);
        }
        let Reloaded {
            hash,
            needs_restart,
        } = answer.value;
        writeln!(screen.out, "configuration {hash} holds")?;
        if !needs_restart.is_empty() {
            writeln!(
                screen.err,
                "note: only a restart or an upgrade (SIGQUIT) takes what the file says now of {}",
                needs_restart.join(", ")
            )?;
        }
        Ok(())
    })
}
