//! The command line: arguments → one subcommand → an exit code.

mod admin;
mod backup;
mod body;
mod check;
mod completions;
mod demo;
mod explain;
mod follow;
mod http;
mod invoke;
mod json;
mod listen;
mod manual;
mod plain;
mod record;
mod reload;
mod runs;
mod serve;
mod settings;
mod store;
mod terminal;
mod version;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Runs the subcommand that `arguments` name (the first is the program) and says with which code to exit. What it has
/// to say goes to stdout, why it failed to stderr.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to be said if stderr is closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // Neither is locked: what runs beside a subcommand writes its log there too.
    let mut screen = Screen {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
    };
    match arguments.command.run(&mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(screen.err, "{}", failure.message.trim_end());
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// A reverse proxy that gives any HTTP application asynchronous runs and webhooks.
#[derive(Debug, Parser)]
#[command(
    name = "raincheck",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0; 1 it failed; 2 usage; 64 configuration; 69 cannot bind or connect; 74 store; 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the running process's store into a file.
    Backup(backup::Arguments),
    /// Say everything that is wrong with a configuration, or what it would do.
    Check(check::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
    /// Show a run from the call to its signed webhook, in one process.
    Demo(demo::Arguments),
    /// Say what would happen to a request, step by step; nothing is sent.
    Explain(explain::Arguments),
    /// Ask for a run of a request, wait for it, and print its response.
    Invoke(Box<invoke::Arguments>),
    /// Receive webhooks: verify, print and answer what arrives.
    Listen(listen::Arguments),
    /// Print a page of the manual (man -l reads it).
    Man(manual::Arguments),
    /// Have the running process read its configuration file again, as SIGHUP does.
    Reload(reload::Arguments),
    /// Look at runs and act on them, by the admin listener.
    Runs(Box<runs::Arguments>),
    /// Serve until SIGTERM or SIGINT, or take over from the process that does (--upgrade).
    Serve(serve::Arguments),
    /// Look after the store.
    Store(store::Arguments),
    /// Print the version.
    Version,
}

impl Command {
    fn run(self, screen: &mut Screen<'_>) -> Result<(), Failure> {
        match self {
            Self::Backup(arguments) => backup::run(&arguments, screen),
            Self::Check(arguments) => check::run(&arguments, screen),
            Self::Completions(arguments) => completions::run(&arguments, screen),
            Self::Demo(arguments) => demo::run(&arguments, screen),
            Self::Explain(arguments) => explain::run(&arguments, screen),
            Self::Invoke(arguments) => invoke::run(&arguments, screen),
            Self::Listen(arguments) => listen::run(&arguments, screen),
            Self::Man(arguments) => manual::run(&arguments, screen),
            Self::Reload(arguments) => reload::run(&arguments, screen),
            Self::Runs(arguments) => runs::run(&arguments, screen),
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Store(arguments) => store::run(&arguments, screen),
            Self::Version => version::run(screen),
        }
    }
}

/// Where a subcommand writes.
pub(crate) struct Screen<'a> {
    /// What was asked for.
    pub(crate) out: &'a mut dyn Write,
    /// What went wrong.
    pub(crate) err: &'a mut dyn Write,
}

/// Why a subcommand failed: the exit code, and what to say on stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// The exit codes, beside 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong.
    Config = 64,
    /// An address could not be bound, or nobody answered there.
    Network = 69,
    /// The store cannot be used.
    Store = 74,
    /// Ctrl-C, as shells say it.
    Interrupted = 130,
}

impl Exit {
    /// A failure with this code.
    pub(crate) fn because(self, message: impl Into<String>) -> Failure {
        Failure {
            exit: self,
            message: message.into(),
        }
    }
}

/// Nobody reads what is written: a pipe was closed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // `raincheck runs list | head -1` is no mistake.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::Failed.because("");
        }
        Exit::Failed.because(format!("cannot write: {error}"))
    }
}
