//! `raincheck invoke`: asks for a run of a request, waits for it, and prints its response.

mod accepted;
mod request;

use std::time::Duration;

use http::StatusCode;
use reqwest::Response;

use self::accepted::Accepted;
pub(super) use self::request::Arguments;
use super::{
    Exit, Failure, Screen, body,
    follow::{Followed, follow},
    http::{self as client, Problem},
    json, plain,
    record::Record,
    terminal::Spinner,
};

pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let request = arguments.request()?;
    client::block_on(invoke(arguments, request, screen))
}

async fn invoke(
    arguments: &Arguments,
    request: reqwest::Request,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let client = client::client().build().map_err(client::no_client)?;
    let spinner = Spinner::start(arguments.quiet);
    spinner.say("sending the request");
    let place = request.url().origin().ascii_serialization();
    let sent = tokio::time::timeout(arguments.timeout, client.execute(request)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let what = if error.is_connect() {
                "nobody answers"
            } else {
                "no answer"
            };
            let cause = client::cause(&error);
            return Err(Exit::Network.because(format!("{what} at {place}: {cause}")));
        }
        Err(_) => {
            return Err(Exit::Failed.because(format!(
                "{place} has not answered within {} (--timeout)",
                humantime::format_duration(arguments.timeout)
            )));
        }
    };
    let Some(accepted) = Accepted::of(&response) else {
        drop(spinner);
        return answered(arguments, response, screen).await;
    };
    if arguments.no_wait {
        drop(spinner);
        return accepted.print(arguments.json, screen);
    }
    let known = format!("{} accepted", accepted.id);
    let look = || client.get(accepted.record.clone());
    let followed = follow(look, arguments.timeout, &known, &spinner).await;
    let (record, text) = match followed.map_err(|failure| accepted.lost(failure))? {
        Followed::Ended(record, text) => (record, text),
        Followed::Late => return Err(accepted.late(arguments.timeout)),
        Followed::Interrupted => return Err(accepted.interrupted()),
    };
    // The response as it was: this is no browser that its cookies and its rules could harm.
    let full = client
        .get(accepted.response())
        .header("raincheck-replay", "full");
    let sent = tokio::time::timeout(client::PATIENCE, full.send()).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            return Err(accepted.lost(Exit::Network.because(client::cause(&error))));
        }
        Err(_) => return Err(accepted.lost(Exit::Network.because("the response does not come"))),
    };
    drop(spinner);
    if response.headers().get("raincheck-run-state").is_none() {
        let status = response.status();
        return Err(
            accepted.lost(Exit::Failed.because(format!("the response is answered with {status}")))
        );
    }
    if arguments.json {
        json::print_response(Some(&text), response, screen).await?;
    } else {
        body::print(response, &arguments.to, screen)
            .await
            .map_err(|failure| accepted.lost(failure))?;
    }
    ended(&record, arguments.quiet)
}

/// The exit of a run that has ended.
pub(super) fn ended(record: &Record, quiet: bool) -> Result<(), Failure> {
    if record.success == Some(true) {
        return Ok(());
    }
    let fate = plain::line(&format!("{} {}", record.run_id, record.fate()));
    Err(Exit::Failed.because(if quiet {
        String::new()
    } else {
        format!("run {fate}")
    }))
}

/// What came in place of a 202.
async fn answered(
    arguments: &Arguments,
    response: Response,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let status = response.status();
    if Problem::is(&response) && status != StatusCode::ACCEPTED && !arguments.json {
        let says = Problem::read(response).await.says();
        return Err(Exit::Failed.because(format!("{}: {says}", status.as_u16())));
    }
    let note = match status {
        // The caller gave it a little time (`Prefer: wait`), and that was enough.
        _ if arguments.gives_time() => String::new(),
        _ if response.headers().contains_key("raincheck-run-id") => {
            "note: the call was synchronous, for its route has not the dialect \"prefer\"; the webhook is told of it".to_owned()
        }
        StatusCode::ACCEPTED => "note: the 202 names no run that could be waited for".to_owned(),
        _ => format!(
            "note: no run was started, this is the server's own answer ({}): its route has no runs, or not the dialect \"prefer\"",
            status.as_u16()
        ),
    };
    if arguments.json {
        json::print_response(None, response, screen).await?;
    } else {
        body::print(response, &arguments.to, screen).await?;
    }
    let note = if arguments.quiet { String::new() } else { note };
    if status.is_client_error() || status.is_server_error() {
        return Err(Exit::Failed.because(note));
    }
    if !note.is_empty() {
        writeln!(screen.err, "{note}")?;
    }
    Ok(())
}

impl Accepted {
    fn print(&self, as_json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
        if as_json {
            let whole = serde_json::json!({"run_id": self.id.to_string(), "location": self.record.as_str()});
            return json::print(&whole.to_string(), screen);
        }
        writeln!(screen.out, "{}", self.id)?;
        Ok(())
    }

    fn late(&self, timeout: Duration) -> Failure {
        let timeout = humantime::format_duration(timeout);
        let look = self.how_to_look();
        Exit::Failed.because(format!("not finished within {timeout} (--timeout); {look}"))
    }

    fn interrupted(&self) -> Failure {
        Exit::Interrupted.because(self.how_to_look())
    }

    /// The failure to look, with the way to look again.
    fn lost(&self, failure: Failure) -> Failure {
        let Failure { exit, message } = failure;
        if message.is_empty() {
            return Failure { exit, message };
        }
        exit.because(format!(
            "{message}\nrun {}; its response: {}",
            self.id,
            curl(&self.response())
        ))
    }

    fn how_to_look(&self) -> String {
        format!(
            "run {} goes on. Look at it with\n  {}\nand at its response with\n  {}",
            self.id,
            curl(&self.record),
            curl(&self.response())
        )
    }
}

fn curl(url: &url::Url) -> String {
    format!("curl '{}'", url.as_str().replace('\'', "%27"))
}
