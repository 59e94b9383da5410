//! `raincheck runs cancel` and `redeliver`: one word to the admin API, and the record that it answers.

use http::Method;

use super::which::Which;
use crate::cli::{Failure, Screen, admin::Admin, json, plain, record::Record};

pub(super) async fn run(
    admin: &Admin,
    action: &str,
    which: &Which,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let id = which.id(admin).await?;
    let request = admin.request(Method::POST, &format!("runs/{id}/{action}"), &[]);
    let answer = admin.json::<Record>(request).await?;
    if which.json {
        return json::print(&answer.text, screen);
    }
    if which.quiet {
        return Ok(());
    }
    let run = answer.value;
    let line = match (action, &run.delivery) {
        ("redeliver", Some(delivery)) => {
            let next = delivery
                .next_attempt_at
                .map(|at| format!(", next attempt at {at}"));
            format!(
                "{} {} to {}{}",
                run.run_id,
                delivery.state,
                delivery.host,
                next.unwrap_or_default()
            )
        }
        _ => format!("{} {}", run.run_id, run.state),
    };
    writeln!(screen.out, "{}", plain::line(&line))?;
    Ok(())
}
