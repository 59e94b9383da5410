//! `raincheck completions`: what a shell needs to complete our commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Failure, Screen};

/// For which shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell; its own manual says where it looks for completions.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    // It may not write to a closed pipe itself: it panics then.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "raincheck",
        &mut script,
    );
    screen.out.write_all(&script)?;
    Ok(screen.out.flush()?)
}
