//! `raincheck man`: the manual's page of the program, or of one of its commands.

use clap::{Args, CommandFactory};

use super::{Exit, Failure, Screen};

/// Which page.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The command, like `runs list` [default: the program itself].
    command: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut command = super::Arguments::command();
    // Gives each command its whole name.
    command.build();
    for word in &arguments.command {
        let known: Vec<_> = command
            .get_subcommands()
            .map(|known| known.get_name().to_owned())
            .collect();
        let Some(found) = command.find_subcommand(word) else {
            return Err(Exit::Usage.because(format!(
                "there is no command {word:?} here; there are: {}",
                known.join(", ")
            )));
        };
        command = found.clone();
    }
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .title(name.to_uppercase())
        .source(concat!("raincheck ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    screen.out.write_all(&page)?;
    Ok(screen.out.flush()?)
}
