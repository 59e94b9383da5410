//! Everything that the demo needs, running: application, receiver, proxy, and a client.

use std::{net::SocketAddr, path::Path, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::mpsc};

use super::{
    application,
    receiver::{self, Receiver, Told},
};
use crate::{
    app::{self, Running},
    cli::{Exit, Failure},
    config::Config,
    model::signature::{Checks, read_secret},
};

/// The receiver's secret: the demo's alone, for a receiver that it runs itself.
const SECRET: &str = "whsec_ZGVtby1kZW1vLWRlbW8tZGVtby1kZW1v";

/// Longer than anything in the demo takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Scene {
    pub(super) application: SocketAddr,
    pub(super) proxy: SocketAddr,
    receiver: SocketAddr,
    running: Running,
    told: mpsc::Receiver<Told>,
    client: reqwest::Client,
}

/// What a call was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    location: Option<String>,
}

impl Scene {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let secret =
            read_secret(SECRET).map_err(|error| Exit::Failed.because(error.to_string()))?;
        let (sender, told) = mpsc::channel(16);
        let application = serve(application::router()).await?;
        let checks = Checks {
            secrets: vec![secret],
            ..Checks::default()
        };
        let receiver = serve(receiver::router(Receiver {
            checks,
            told: sender,
        }))
        .await?;
        let config = Config::read(&configuration(application, folder), Path::new("demo.toml"))
            .map_err(|complaints| {
                let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
                Exit::Config.because(lines.join("\n"))
            })?;
        let running = app::start(config).await?;
        let proxy = running.listeners().first().copied();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build();
        Ok(Self {
            application,
            proxy: proxy.ok_or_else(|| Exit::Failed.because("the proxy has no listener"))?,
            receiver,
            running,
            told,
            client: client.map_err(unexpected)?,
        })
    }

    pub(super) async fn post(&self, target: &str) -> Result<Answer, Failure> {
        let url = format!("http://{}{target}", self.proxy);
        answer(self.client.post(url).body("{\"report\":\"sales\"}")).await
    }

    pub(super) async fn get(&self, target: &str) -> Result<Answer, Failure> {
        answer(self.client.get(format!("http://{}{target}", self.proxy))).await
    }

    /// The receiver's URL, as the value of a query parameter.
    pub(super) fn webhook_parameter(&self) -> String {
        url::form_urlencoded::byte_serialize(format!("http://{}/hook", self.receiver).as_bytes())
            .collect()
    }

    /// The next delivery.
    pub(super) async fn told(&mut self) -> Result<Told, Failure> {
        let told = tokio::time::timeout(PATIENCE, self.told.recv())
            .await
            .ok()
            .flatten();
        told.ok_or_else(|| Exit::Failed.because("no webhook came within 30 s"))
    }

    pub(super) fn lines_to_try(&self) -> String {
        let (proxy, admin, hook) = (self.proxy, self.running.admin(), self.webhook_parameter());
        format!(
            "try these (Ctrl-C ends it):\n\
             \x20 curl -i http://{proxy}/hello\n\
             \x20 curl -i -X POST 'http://{proxy}/report?async=true'\n\
             \x20 curl -i -X POST -H 'Prefer: respond-async' http://{proxy}/report\n\
             \x20 curl -i -X POST 'http://{proxy}/report?async=true&webhookEndpoint={hook}'\n\
             \x20 curl -i http://{proxy}/_raincheck/runs/RUN_ID\n\
             \x20 curl -i http://{proxy}/_raincheck/runs/RUN_ID/response\n\
             \x20 curl -s http://{admin}/metrics | grep store_"
        )
    }

    pub(super) async fn until_interrupted(&self) {
        // Where signals cannot be caught, Ctrl-C ends the process by itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }
}

impl Answer {
    pub(super) fn expect_status(self, status: u16) -> Result<Self, Failure> {
        if self.status == status {
            return Ok(self);
        }
        Err(Exit::Failed.because(format!(
            "the answer is {} instead of {status}: {}",
            self.status, self.body
        )))
    }

    pub(super) fn location(&self) -> Result<String, Failure> {
        self.location
            .clone()
            .ok_or_else(|| Exit::Failed.because("the 202 has no Location"))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(unexpected)?;
    let location = response
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok());
    Ok(Answer {
        location: location.map(str::to_owned),
        status: response.status().as_u16(),
        body: response.text().await.map_err(unexpected)?,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unexpected(error: reqwest::Error) -> Failure {
    Exit::Failed.because(format!("a call of the demo failed: {error}"))
}

/// Serves on a port of its own until the process ends.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo's servers end with its process"
)]
async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let failed =
        |error| Exit::Network.because(format!("no port on 127.0.0.1 can be listened on: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

fn configuration(application: SocketAddr, folder: &Path) -> String {
    let store = folder.join("store");
    format!(
        r#"
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[store]
path = {store:?}
[webhook]
signing_secrets = ["{SECRET}"]
allow_networks = ["127.0.0.0/8"]   # the demo's receiver is on this machine
[upstream.app]
peers = ["{application}"]
[[route]]
path = "/"
upstream = "app"
[route.async]
"#
    )
}
