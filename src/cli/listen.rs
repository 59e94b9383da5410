//! `listen`: a webhook receiver that verifies, prints and answers what arrives.

mod arrived;
mod body;
mod receive;
mod show;

use std::{net::SocketAddr, time::Duration};

use axum::http::StatusCode;
use clap::Args;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use self::{arrived::Arrived, receive::Receiver};
use super::{Exit, Failure, Screen};
use crate::model::{
    secret::Secret,
    signature::{Checks, PublicKey, read_secret},
};

/// How long the last answers may take to be sent before the exit.
const PARTING: Duration = Duration::from_secs(1);

/// What to listen for.
#[derive(Debug, Args)]
#[command(
    after_help = "A delivery that does not verify by what was given is answered 401, any other --status. With --count, the exit code is 1 if one of them did not verify."
)]
pub(super) struct Arguments {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    address: SocketAddr,
    /// A signing secret of the sender (webhook.signing_secrets); may be given several times.
    #[arg(long = "secret", value_name = "whsec_…", value_parser = hidden, env = "RAINCHECK_LISTEN_SECRET", hide_env_values = true)]
    secrets: Vec<Secret>,
    /// A public key of the sender (<public_prefix>/webhook-keys); may be given several times.
    #[arg(long = "public-key", value_name = "whpk_…", value_parser = PublicKey::read)]
    public_keys: Vec<PublicKey>,
    /// What was sent as X-Webhook-Secret with the run's request.
    #[arg(long, value_name = "SECRET", value_parser = hidden, env = "RAINCHECK_LISTEN_WEBHOOK_SECRET", hide_env_values = true)]
    webhook_secret: Option<Secret>,
    /// The status to answer: try 503 to see retries, 410 to end them.
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = status)]
    status: StatusCode,
    /// Exit after so many deliveries.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one line of JSON for each delivery, with all headers and the whole body.
    #[arg(long)]
    json: bool,
}

/// Takes a secret as it is. What is wrong with it is said later, by words of our own that do not show it.
#[expect(clippy::unnecessary_wraps, reason = "a parser of an argument may fail")]
fn hidden(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text.as_bytes()))
}

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse::<StatusCode>().ok();
    status
        .filter(|status| status.as_u16() >= 200)
        .ok_or_else(|| "write a status from 200 to 999".to_owned())
}

impl Arguments {
    fn checks(&self) -> Result<Checks, Failure> {
        let read = |secret: &Secret| {
            let text = str::from_utf8(secret.reveal()).unwrap_or_default();
            read_secret(text).map_err(|error| Exit::Usage.because(format!("--secret: {error}")))
        };
        Ok(Checks {
            secrets: self.secrets.iter().map(read).collect::<Result<_, _>>()?,
            public_keys: self.public_keys.clone(),
            webhook_secret: self.webhook_secret.clone(),
        })
    }
}

/// Receives until Ctrl-C, or until `--count` deliveries have come.
pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let checks = arguments.checks()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let listened = runtime.block_on(listen(arguments, checks, screen));
    // Who is still sending is not waited for.
    runtime.shutdown_background();
    listened
}

async fn listen(
    arguments: &Arguments,
    checks: Checks,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let failed = |error| {
        let address = arguments.address;
        Exit::Network.because(format!(
            "{address} cannot be listened on: {error}; write another --address"
        ))
    };
    let listener = TcpListener::bind(arguments.address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    writeln!(screen.err, "{}", show::greeting(address, &checks))?;
    let (sender, arrivals) = mpsc::channel(16);
    let enough = CancellationToken::new();
    let receiver = Receiver::new(checks, arguments.status, arguments.count, sender);
    let mut serving = std::pin::pin!(receiver.serve(listener, enough.clone()));
    let genuine = tokio::select! {
        served = &mut serving => return served.map_err(failed),
        printed = print(arguments, arrivals, screen) => printed?,
    };
    enough.cancel();
    // A client that holds its connection open does not keep us.
    let _ = tokio::time::timeout(PARTING, serving).await;
    if genuine || arguments.count.is_none() {
        Ok(())
    } else {
        Err(Exit::Failed.because("not every delivery could be verified"))
    }
}

/// Prints what arrives until it is enough; says whether all of it could be trusted.
async fn print(
    arguments: &Arguments,
    mut arrivals: mpsc::Receiver<Arrived>,
    screen: &mut Screen<'_>,
) -> Result<bool, Failure> {
    let mut genuine = true;
    for _ in 0..arguments.count.unwrap_or(u64::MAX) {
        let arrived = tokio::select! {
            arrived = arrivals.recv() => arrived,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                None
            }
        };
        let Some(arrived) = arrived else { break };
        genuine &= arrived.trusted;
        let text = if arguments.json {
            arrived.json()
        } else {
            show::text(&arrived)
        };
        screen.out.write_all(text.as_bytes())?;
        screen.out.flush()?;
    }
    Ok(genuine)
}
