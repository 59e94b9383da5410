//! `raincheck runs result`: the response of a run.

use clap::Args;

use super::which::Which;
use crate::cli::{Exit, Failure, Screen, admin::Admin, body, invoke, json, plain, record::Record};

/// Whose response, and where it goes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    to: body::To,
}

pub(super) async fn run(
    admin: &Admin,
    arguments: &Arguments,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let which = &arguments.which;
    let id = which.id(admin).await?;
    let record = admin.record(id).await?;
    let run = &record.value;
    if which.last && !which.quiet && !which.json {
        writeln!(screen.out, "{}", headline(run))?;
        screen.out.flush()?;
    }
    if run.success.is_none() {
        let state = plain::line(&run.state);
        return Err(Exit::Failed.because(format!(
            "run {id} is {state}, its response is not there yet; wait for it: raincheck runs wait {id}"
        )));
    }
    let response = admin.response(id).await?;
    if which.json {
        json::print_response(Some(&record.text), response, screen).await?;
    } else {
        body::print(response, &arguments.to, screen).await?;
    }
    invoke::ended(run, which.quiet)
}

/// `=== <id> <success|failure> <time> <name>`
fn headline(run: &Record) -> String {
    let time = run.accepted_at.map(|at| at.to_string()).unwrap_or_default();
    plain::line(&format!(
        "=== {} {} {time} {}",
        run.run_id,
        run.ending(),
        run.name
    ))
}
