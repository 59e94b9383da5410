//! The admin API (`/api/v1`), as the commands ask it.

use std::{io::Write, time::Duration};

use http::{HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::{
    Exit, Failure,
    http::{self as client, Problem},
    plain,
    record::Record,
    settings::{Access, Settings},
};
use crate::model::id::RunId;

/// An admin listener.
pub(super) struct Admin {
    client: reqwest::Client,
    address: Url,
    authorization: Option<HeaderValue>,
}

/// A JSON answer: the text as it came, and the value in it.
pub(super) struct Answer<T> {
    pub(super) text: String,
    pub(super) value: T,
}

impl Admin {
    /// The one that flags, environment and file name. Nothing is sent yet.
    pub(super) fn open(access: &Access, err: &mut dyn Write) -> Result<Self, Failure> {
        Self::patient(access, err, client::PATIENCE)
    }

    /// The same, for what it may be silent over for so long.
    pub(super) fn patient(
        access: &Access,
        err: &mut dyn Write,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let Settings { address, token, .. } = access.settings(err)?;
        let authorization = token.map(|token| {
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.reveal()].concat()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        if matches!(authorization, Some(None)) {
            return Err(Exit::Config.because("the token has characters that no header can hold"));
        }
        let client = client::client().no_proxy().read_timeout(patience).build();
        Ok(Self {
            client: client.map_err(client::no_client)?,
            address,
            authorization: authorization.flatten(),
        })
    }

    /// A request for a resource below `/api/v1/`.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> RequestBuilder {
        let mut url = self.address.clone();
        url.set_path(&format!("{}api/v1/{path}", self.address.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Sends a request; an answer that is no success is a failure.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.silent(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    /// An answer's JSON.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Failure> {
        let response = self.send(request).await?;
        let text = response.text().await.map_err(|error| self.silent(&error))?;
        match serde_json::from_str(&text) {
            Ok(value) => Ok(Answer { text, value }),
            Err(error) => Err(self.stranger(&format!("answered something else: {error}"))),
        }
    }

    /// The record of a run.
    pub(super) async fn record(&self, id: RunId) -> Result<Answer<Record>, Failure> {
        self.json(self.request(Method::GET, &format!("runs/{id}"), &[]))
            .await
    }

    /// The response of a run as it was answered, whatever its status.
    pub(super) async fn response(&self, id: RunId) -> Result<Response, Failure> {
        let request = self.request(Method::GET, &format!("runs/{id}/response"), &[]);
        // The response as it was: this is no browser that its cookies and its rules could harm.
        let sent = request.header("raincheck-replay", "full").send().await;
        let response = sent.map_err(|error| self.silent(&error))?;
        if response.headers().contains_key("raincheck-run-state") {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    fn silent(&self, error: &reqwest::Error) -> Failure {
        let cause = client::cause(error);
        let (address, what) = (
            self.place(),
            if error.is_connect() {
                "nobody answers"
            } else {
                "no whole answer"
            },
        );
        Exit::Network.because(format!(
            "{what} at {address}: {cause}\n\
             Another address: --address, RAINCHECK_ADDRESS, or address in ~/.config/raincheck.toml."
        ))
    }

    async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            let what = if self.authorization.is_some() {
                "refuses this token"
            } else {
                "wants a token"
            };
            return Exit::Config.because(format!(
                "{} {what}: --token, RAINCHECK_TOKEN, or token in ~/.config/raincheck.toml",
                self.place()
            ));
        }
        if status == StatusCode::MISDIRECTED_REQUEST {
            return Exit::Config.because(format!(
                "{} does not answer to this name: use an IP address, or add the name to admin.hosts",
                self.place()
            ));
        }
        if !Problem::is(&response) {
            return self.stranger(&format!(
                "answered {} to {}",
                status.as_u16(),
                response.url().path()
            ));
        }
        let problem = Problem::read(response).await;
        let exit = match (problem.code.as_str(), status) {
            ("store-unavailable", _) => Exit::Store,
            ("configuration-refused", _) => Exit::Config,
            (_, StatusCode::BAD_REQUEST) => Exit::Usage,
            _ => Exit::Failed,
        };
        exit.because(problem.says())
    }

    fn stranger(&self, what: &str) -> Failure {
        let (address, what) = (self.place(), plain::line(what));
        Exit::Network.because(format!(
            "{address} {what}; it is no admin listener of Raincheck, or one of another version\n\
             Another address: --address, RAINCHECK_ADDRESS, or address in ~/.config/raincheck.toml."
        ))
    }

    fn place(&self) -> &str {
        self.address.as_str().trim_end_matches('/')
    }
}
