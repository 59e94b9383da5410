//! `serve`: the proxy itself, until a signal ends it.

mod successor;

use std::{path::PathBuf, pin::pin};

use clap::Args;
use futures::future::{Fuse, FusedFuture as _, FutureExt as _};
use tracing::{info, warn};

use super::{Exit, Failure, check};
use crate::{
    api::Reloaded,
    app::{
        self, Running, StartError, logs,
        signals::{Signal, Signals},
        systemd,
    },
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
    /// Take over from the process that serves on the same store: its listeners pass on without losing a connection, and
    /// it finishes what it has. If there is none, an ordinary start.
    #[arg(long)]
    upgrade: bool,
}

/// Serves until SIGTERM or SIGINT; a second one ends it at once. SIGQUIT starts the program anew, to take over.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    logs::start();
    let source = match &arguments.upstream {
        Some(url) => Source::Upstream(url.clone()),
        None => Source::File(arguments.config.clone()),
    };
    let config = source.load()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = source.name(),
        hash = config.digest,
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
    let served = runtime.block_on(serve(config, &source, arguments.upgrade));
    // What a second signal left behind is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, source: &Source, upgrade: bool) -> Result<(), Failure> {
    let mut signals = Signals::catch()
        .map_err(|error| Exit::Failed.because(format!("signals cannot be caught: {error}")))?;
    let mut running = if upgrade {
        app::upgrade(config).await?
    } else {
        app::start(config).await?
    };
    systemd::notify("READY=1");
    let end = match until_the_end(&mut running, source, &mut signals).await {
        Some(signal) => signal,
        None => {
            tokio::select! {
                biased;
                () = running.finish() => {
                    running.end().await;
                    return Ok(());
                }
                signal = signals.next_to_end() => signal,
            }
        }
    };
    info!(
        signal = end.as_str(),
        "stopping; the same again ends at once"
    );
    tokio::select! {
        () = running.stop() => {}
        signal = signals.next_to_end() => {
            warn!(signal = signal.as_str(), "ended at once; what was under way is recovered at the next start");
        }
    }
    Ok(())
}

/// Where the configuration is read.
enum Source {
    File(PathBuf),
    /// The application's URL: all else is by default.
    Upstream(String),
}

impl Source {
    fn load(&self) -> Result<Config, Failure> {
        match self {
            Self::File(path) => check::load(path),
            Self::Upstream(url) => {
                Config::for_upstream(url).map_err(|complaints| check::refused(&complaints))
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Upstream(_) => "--upstream".to_owned(),
        }
    }
}

/// Reads the configuration again; the error says why nothing has changed.
async fn reload(running: &mut Running, source: &Source) -> Result<Reloaded, String> {
    let reloaded = match source.load() {
        Ok(config) => running.reload(config).await.map_err(|it| it.to_string()),
        Err(failure) => Err(failure.message),
    };
    if let Err(why) = &reloaded {
        running.refused(why);
    }
    reloaded
}

/// Serves until a signal ends it, which is returned; none: a new process has taken over.
async fn until_the_end(
    running: &mut Running,
    source: &Source,
    signals: &mut Signals,
) -> Option<Signal> {
    let mut orders = running.orders()?;
    let successor = running.wait_for_successor();
    let mut taken_over = pin!(successor.taken_over);
    let mut starts = pin!(Fuse::terminated());
    loop {
        tokio::select! {
            () = &mut taken_over => return None,
            () = &mut starts => {}
            Some(order) = orders.recv() => order.done(reload(running, source).await),
            signal = signals.next() => match signal {
                Signal::Quit if starts.is_terminated() => {
                    starts.set(successor::start(successor.starting.clone()).fuse());
                }
                Signal::Quit => info!("a new process is starting already"),
                Signal::Hangup => drop(reload(running, source).await),
                end @ (Signal::Terminate | Signal::Interrupt) => {
                    systemd::notify("STOPPING=1");
                    return Some(end);
                }
            },
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Bind(_) | StartError::Upgrade(_) => Exit::Network,
            StartError::Certificate(_) | StartError::Authorities(_) | StartError::Traces(_) => {
                Exit::Config
            }
            StartError::Store(_) => Exit::Store,
            StartError::Courier(_) | StartError::Runtime(_) | StartError::Metrics(_) => {
                Exit::Failed
            }
        };
        exit.because(error.to_string())
    }
}
