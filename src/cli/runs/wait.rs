//! `raincheck runs wait`: until a run has ended.

use std::time::Duration;

use clap::Args;
use http::Method;

use super::which::Which;
use crate::cli::{
    Exit, Failure, Screen,
    admin::Admin,
    follow::{Followed, follow},
    json, plain,
    record::span,
    terminal::Spinner,
};

/// For which run to wait, and how long.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Wait no longer than this; the run goes on.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(super) async fn run(
    admin: &Admin,
    arguments: &Arguments,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let Arguments { which, timeout } = arguments;
    let id = which.id(admin).await?;
    // The first look says at once what is wrong.
    let first = admin.record(id).await?;
    let (run, text) = if first.value.success.is_some() {
        (Box::new(first.value), first.text)
    } else {
        let spinner = Spinner::start(which.quiet);
        let known = format!("{id} {}", first.value.state);
        let path = format!("runs/{id}");
        let look = || admin.request(Method::GET, &path, &[]);
        match follow(look, *timeout, &known, &spinner).await? {
            Followed::Ended(run, text) => (run, text),
            Followed::Late => {
                let timeout = humantime::format_duration(*timeout);
                return Err(Exit::Failed.because(format!(
                    "run {id} has not ended within {timeout} (--timeout)"
                )));
            }
            Followed::Interrupted => {
                return Err(Exit::Interrupted.because(format!(
                    "run {id} goes on; look at it: raincheck runs get {id}"
                )));
            }
        }
    };
    if which.json {
        json::print(&text, screen)?;
    } else if !which.quiet {
        let took = run.duration_ms.map(|took| format!(" after {}", span(took)));
        let line = format!("{} {}{}", run.run_id, run.fate(), took.unwrap_or_default());
        writeln!(screen.out, "{}", plain::line(&line))?;
    }
    if run.success == Some(true) {
        return Ok(());
    }
    // The line above has said it.
    Err(Exit::Failed.because(String::new()))
}
