//! `raincheck runs list`.

use clap::Args;
use http::Method;

use super::{
    filter::Filter,
    table::{Cell, Column, lay_out},
    which::Page,
};
use crate::{
    cli::{
        Failure, Screen,
        admin::Admin,
        json, plain,
        record::{Record, age, colour, span},
        terminal::Terminal,
    },
    model::{id::RunId, time::Timestamp},
    plugin::clock,
};

/// Which runs to list, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// How many at most, 1 to 200 [default: 50].
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on where the list before ended.
    #[arg(long, value_name = "ID")]
    cursor: Option<RunId>,
    /// Print the ids only.
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print the admin API's answer as it is.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    admin: &Admin,
    arguments: &Arguments,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut parameters = arguments.filter.parameters();
    parameters.extend(arguments.limit.map(|limit| ("limit", limit.to_string())));
    parameters.extend(
        arguments
            .cursor
            .map(|cursor| ("cursor", cursor.to_string())),
    );
    let answer = admin
        .json::<Page>(admin.request(Method::GET, "runs", &parameters))
        .await?;
    if arguments.json {
        return json::print(&answer.text, screen);
    }
    let page = answer.value;
    if arguments.quiet {
        for run in &page.runs {
            writeln!(screen.out, "{}", plain::line(&run.run_id))?;
        }
    } else if !page.runs.is_empty() {
        let now = clock::system().now();
        write!(
            screen.out,
            "{}",
            render(&page.runs, now, &Terminal::of_stdout())
        )?;
    } else if page.next_cursor.is_none() {
        writeln!(screen.err, "no such runs")?;
    }
    if let Some(cursor) = page.next_cursor {
        writeln!(
            screen.err,
            "there are more: --cursor {}",
            plain::line(&cursor)
        )?;
    }
    Ok(screen.out.flush()?)
}

const fn column(head: &'static str, rank: u8) -> Column {
    Column {
        head,
        rank,
        elastic: false,
    }
}

const COLUMNS: [Column; 12] = [
    column("RUN", 0),
    column("STATE", 0),
    column("REASON", 5),
    column("STATUS", 3),
    column("AGE", 1),
    column("ACCEPTED", 9),
    column("TOOK", 4),
    column("ATTEMPTS", 8),
    column("ROUTE", 7),
    column("DIALECT", 10),
    Column {
        head: "REQUEST",
        rank: 2,
        elastic: true,
    },
    column("WEBHOOK", 6),
];

/// The list as a table; on a terminal too narrow for one, two lines for each run.
fn render(runs: &[Record], now: Timestamp, terminal: &Terminal) -> String {
    let rows: Vec<_> = runs.iter().map(|run| row(run, now)).collect();
    lay_out(&COLUMNS, &rows, terminal).unwrap_or_else(|| {
        let stacked = runs.iter().map(|run| stack(run, now, terminal));
        stacked.collect()
    })
}

fn row(run: &Record, now: Timestamp) -> Vec<Cell> {
    let response = run.response.as_ref();
    let delivery = run.delivery.as_ref().map_or("", |delivery| &delivery.state);
    let accepted = run.accepted_at;
    // Seconds are enough for a list.
    let accepted_at = accepted.map(|at| Timestamp::from_millis(at.seconds() * 1000).to_string());
    vec![
        Cell::from(&run.run_id),
        Cell::new(&run.state, colour(&run.state)),
        Cell::from(run.reason.as_deref().unwrap_or_default()),
        Cell::from(response.map_or(String::new(), |response| response.status.to_string())),
        Cell::from(accepted.map_or(String::new(), |accepted| age(accepted, now))),
        Cell::from(accepted_at.unwrap_or_default().replace(".000Z", "Z")),
        Cell::from(run.duration_ms.map(span).unwrap_or_default()),
        Cell::from(run.attempts),
        Cell::from(&run.route),
        Cell::from(if run.asynchronous {
            run.dialect.clone()
        } else {
            format!("{} (sync)", run.dialect)
        }),
        Cell::from(request(run)),
        Cell::new(delivery, colour(delivery)),
    ]
}

/// The method and the name, which is the path but for OpenWhisk actions.
fn request(run: &Record) -> String {
    format!("{} {}", run.method, run.name)
}

fn stack(run: &Record, now: Timestamp, terminal: &Terminal) -> String {
    const LINE: [Column; 3] = [
        column("", 0),
        column("", 0),
        Column {
            head: "",
            rank: 1,
            elastic: true,
        },
    ];
    let cells = vec![
        Cell::new(&run.state, colour(&run.state)),
        Cell::from(
            run.accepted_at
                .map_or(String::new(), |accepted| age(accepted, now)),
        ),
        Cell::from(request(run)),
    ];
    let inner = Terminal {
        width: terminal.width.map(|width| width.saturating_sub(2)),
        ..*terminal
    };
    let laid_out = lay_out(&LINE, &[cells], &inner);
    let line = laid_out
        .as_deref()
        .and_then(|text| text.lines().nth(1))
        .unwrap_or_default();
    format!("{}\n  {line}\n", plain::line(&run.run_id))
}

#[cfg(test)]
mod tests;
