//! `serve`: the proxy itself, until a signal ends it.

use std::path::PathBuf;

use clap::Args;
use tracing::{info, warn};

use super::{Exit, Failure, check};
use crate::{
    app::{self, StartError, logs, signals::Signals},
    config::Config,
};

/// What to serve.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = check::DEFAULT_FILE)]
    config: PathBuf,
    /// Without a file: put the proxy on 0.0.0.0:8080 in front of this application, all else by default.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    upstream: Option<String>,
}

/// Serves until SIGTERM or SIGINT; a second one ends it at once.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    logs::start();
    let (config, source) = match &arguments.upstream {
        Some(url) => {
            let config =
                Config::for_upstream(url).map_err(|complaints| check::refused(&complaints))?;
            (config, "--upstream".to_owned())
        }
        None => (
            check::load(&arguments.config)?,
            arguments.config.display().to_string(),
        ),
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = source,
        "raincheck starts"
    );
    for route in &config.routes {
        let runs = route.run.is_some();
        info!(
            route = route.name,
            host = route.host,
            path = route.path,
            upstream = route.upstream,
            runs,
            "route"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let served = runtime.block_on(serve(config));
    // What a second signal left behind is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::catch()
        .map_err(|error| Exit::Failed.because(format!("signals cannot be caught: {error}")))?;
    let running = app::start(config).await?;
    let signal = signals.next().await;
    info!(signal, "stopping; the same again ends at once");
    tokio::select! {
        () = running.stop() => {}
        signal = signals.next() => warn!(signal, "ended at once; what was under way is recovered at the next start"),
    }
    Ok(())
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Bind(_) => Exit::Network,
            StartError::Certificate(_) | StartError::Authorities(_) => Exit::Config,
            StartError::Store(_) => Exit::Store,
            StartError::Courier(_) | StartError::Runtime(_) | StartError::Metrics(_) => {
                Exit::Failed
            }
        };
        exit.because(error.to_string())
    }
}
