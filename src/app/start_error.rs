//! Why a proxy does not start.

use std::io;

use super::{certificates::CertificateError, listen::BindError, upgrade::UpgradeError};
use crate::{courier, metrics::TracesError, plugin::OpenError, proxy::upstream::CaError};

/// A proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The running process does not hand over.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// A listener's certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// An upstream's certificate authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] CaError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] crate::store::opening::OpenError),
    /// Webhooks cannot be sent.
    #[error(transparent)]
    Courier(#[from] courier::StartError),
    /// No threads can be started.
    #[error("no threads can be started: {0}")]
    Runtime(io::Error),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(prometheus::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Self::Store(error),
            OpenError::Courier(error) => Self::Courier(error),
            OpenError::Metrics(error) => Self::Metrics(error),
            OpenError::Traces(error) => Self::Traces(error),
            OpenError::Runtime(error) => Self::Runtime(error),
        }
    }
}
