//! `raincheck runs get`: a run's record, with each attempt, for people.

use std::time::Duration;

use super::{
    table::{Cell, Column, lay_out},
    which::Which,
};
use crate::{
    cli::{
        Failure, Screen,
        admin::Admin,
        json, plain,
        record::{Attempt, Delivery, Record, colour, span},
        terminal::{Colour, Terminal},
    },
    model::time::Timestamp,
};

pub(super) async fn run(
    admin: &Admin,
    which: &Which,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let id = which.id(admin).await?;
    if which.quiet {
        writeln!(screen.out, "{id}")?;
        return Ok(());
    }
    let answer = admin.record(id).await?;
    if which.json {
        return json::print(&answer.text, screen);
    }
    write!(
        screen.out,
        "{}",
        render(&answer.value, &Terminal::of_stdout())
    )?;
    Ok(screen.out.flush()?)
}

fn render(run: &Record, terminal: &Terminal) -> String {
    let mut text = String::new();
    let mut say = |key: &str, value: String, colour| {
        let value = terminal.coloured(&plain::line(&value), colour);
        text.push_str(&format!("{key:<10}{value}\n"));
    };
    say("run", run.run_id.clone(), None);
    say("state", run.fate(), colour(&run.state));
    say("request", format!("{} {}", run.method, run.path), None);
    if run.name != run.path {
        say("name", run.name.clone(), None);
    }
    say("route", run.route.clone(), None);
    let how = if run.asynchronous {
        "asynchronous"
    } else {
        "synchronous call with a webhook"
    };
    say("dialect", format!("{}, {how}", run.dialect), None);
    say("accepted", moment(run.accepted_at), None);
    let queued = run
        .queued_ms
        .map(|queued| format!(", queued for {}", span(queued)));
    say(
        "started",
        moment(run.started_at) + &queued.unwrap_or_default(),
        None,
    );
    let took = run.duration_ms.map(|took| format!(", took {}", span(took)));
    say(
        "finished",
        moment(run.finished_at) + &took.unwrap_or_default(),
        None,
    );
    say(
        "grace",
        format!(
            "{} for the application to answer",
            humantime::format_duration(Duration::from_secs(run.grace_period_s))
        ),
        None,
    );
    if let Some(response) = &run.response {
        let kind = response.content_type.as_ref();
        let kind = kind.map(|kind| format!(" {kind},")).unwrap_or_default();
        say(
            "response",
            format!("{}{kind} {} bytes", response.status, response.bytes),
            None,
        );
    }
    if let Some(delivery) = &run.delivery {
        say("webhook", told(delivery), colour(&delivery.state));
    }
    text.push_str(&attempts(
        "attempts",
        &run.attempts_log,
        &ATTEMPTS,
        terminal,
    ));
    let tries = run
        .delivery
        .as_ref()
        .map_or(&[][..], |delivery| &delivery.attempts_log);
    text.push_str(&attempts("webhook attempts", tries, &TRIES, terminal));
    text
}

fn moment(at: Option<Timestamp>) -> String {
    at.map_or("not yet".to_owned(), |at| at.to_string())
}

fn told(delivery: &Delivery) -> String {
    let mut text = format!(
        "{} to {}, attempts {}",
        delivery.state, delivery.host, delivery.attempts
    );
    if let Some(status) = delivery.last_status {
        text.push_str(&format!(", last status {status}"));
    }
    if let Some(error) = &delivery.last_error {
        text.push_str(&format!(", last error {error}"));
    }
    if let Some(next) = delivery.next_attempt_at {
        text.push_str(&format!(", next at {next}"));
    }
    text
}

/// A column of attempts, and what stands in it.
type Part = (&'static str, u8, fn(&Attempt) -> String);

const ATTEMPTS: [Part; 5] = [
    ("  #", 0, number),
    ("STARTED", 1, started),
    ("TOOK", 2, took),
    ("OUTCOME", 0, |attempt| {
        attempt.outcome.clone().unwrap_or_default()
    }),
    ("STATUS", 0, status),
];

const TRIES: [Part; 6] = [
    ("  #", 0, number),
    ("STARTED", 2, started),
    ("TOOK", 3, took),
    ("STATUS", 0, |attempt| {
        attempt.error.clone().unwrap_or_else(|| status(attempt))
    }),
    ("ADDRESS", 4, |attempt| {
        attempt.address.clone().unwrap_or_default()
    }),
    ("DETAIL", 1, |attempt| {
        attempt.detail.clone().unwrap_or_default()
    }),
];

fn number(attempt: &Attempt) -> String {
    format!("  {}", attempt.attempt)
}

fn started(attempt: &Attempt) -> String {
    attempt
        .started_at
        .map(|at| at.to_string())
        .unwrap_or_default()
}

fn took(attempt: &Attempt) -> String {
    span(attempt.duration_ms)
}

fn status(attempt: &Attempt) -> String {
    attempt
        .status
        .map(|status| status.to_string())
        .unwrap_or_default()
}

fn attempts(title: &str, log: &[Attempt], parts: &[Part], terminal: &Terminal) -> String {
    if log.is_empty() {
        return String::new();
    }
    let columns: Vec<_> = parts
        .iter()
        .map(|(head, rank, _)| Column {
            head,
            rank: *rank,
            elastic: *head == "DETAIL",
        })
        .collect();
    let rows: Vec<Vec<Cell>> = log
        .iter()
        .map(|attempt| {
            parts
                .iter()
                .map(|(_, _, of)| Cell::from(of(attempt)))
                .collect()
        })
        .collect();
    let unbounded = Terminal {
        width: None,
        ..*terminal
    };
    let table = lay_out(&columns, &rows, terminal).or_else(|| lay_out(&columns, &rows, &unbounded));
    let title = terminal.coloured(title, Some(Colour::Bold));
    format!("\n{title}\n{}", table.unwrap_or_default())
}

#[cfg(test)]
mod tests;
