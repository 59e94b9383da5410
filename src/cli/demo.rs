//! `demo`: a slow application, a webhook receiver and the proxy in one process, and the calls that show what it does.

mod application;
mod receiver;
mod scene;

use std::path::PathBuf;

use clap::Args;
use tokio::time::Instant;

use self::scene::Scene;
use super::{Exit, Failure, Screen};

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Keep everything up afterwards, and print `curl` lines to try.
    #[arg(long)]
    stay: bool,
}

/// Shows a run from the call to its signed webhook. Fails if any step does not happen as promised.
pub(super) fn run(arguments: &Arguments, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Failed.because(format!("no thread can be started: {error}")))?;
    let folder = Folder::new()?;
    runtime.block_on(show(arguments.stay, &folder, screen))
}

async fn show(stay: bool, folder: &Folder, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut scene = Scene::start(&folder.0).await?;
    let mut steps = Steps {
        screen,
        started: Instant::now(),
    };
    steps.say(&format!(
        "an application that takes 2 s for a report listens on {}",
        scene.application
    ))?;
    steps.say(&format!(
        "raincheck stands in front of it on {}",
        scene.proxy
    ))?;
    steps.say("synchronous: POST /report")?;
    let answer = scene.post("/report").await?;
    steps.say(&format!("  {} {}", answer.status, answer.body.trim()))?;
    let hook = scene.webhook_parameter();
    steps.say("asynchronous: POST /report?async=true&webhookEndpoint=…")?;
    let accepted = scene
        .post(&format!("/report?async=true&webhookEndpoint={hook}"))
        .await?
        .expect_status(202)?;
    steps.say(&format!("  202 {}", accepted.body.trim()))?;
    steps.say("  the caller is free; the run is on disk, and the application works on it")?;
    let told = scene.told().await?;
    steps.say(&format!(
        "webhook: {} attempt {}, signature {}",
        told.state, told.attempt, told.signature
    ))?;
    steps.say(&format!("  {}", told.body.trim()))?;
    told.must_be(&answer)?;
    let location = accepted.location()?;
    steps.say("later: GET the run's Location, and its response")?;
    let record = scene.get(&location).await?.expect_status(200)?;
    steps.say(&format!("  {}", record.body.trim()))?;
    let replay = scene
        .get(&location.replacen("?token=", "/response?token=", 1))
        .await?
        .expect_status(200)?;
    steps.say(&format!("  {}", replay.body.trim()))?;
    if replay.body != answer.body {
        return Err(Exit::Failed.because("the kept response is not the synchronous one"));
    }
    steps.say("the same status and the same bytes as the synchronous call, only later")?;
    if stay {
        steps.say(&scene.lines_to_try())?;
        scene.until_interrupted().await;
    }
    scene.stop().await;
    Ok(())
}

/// What is shown, each step with the time since the start.
struct Steps<'a, 'b> {
    screen: &'a mut Screen<'b>,
    started: Instant,
}

impl Steps<'_, '_> {
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        Ok(writeln!(self.screen.out, "{seconds:6.3} s  {line}")?)
    }
}

/// The demo's own folder, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("raincheck-demo-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| {
            Exit::Failed.because(format!("{} cannot be made: {error}", path.display()))
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
