//! What a 202 says of a run, in every dialect: its id, and where it can be looked at.

use http::{StatusCode, header::LOCATION};
use reqwest::Response;
use url::Url;

use crate::model::id::RunId;

/// A run that can be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) id: RunId,
    /// Where its record is, with the token.
    pub(super) record: Url,
}

impl Accepted {
    /// None if the answer is no 202, or an application's own.
    pub(super) fn of(response: &Response) -> Option<Self> {
        if response.status() != StatusCode::ACCEPTED {
            return None;
        }
        let text = |name| response.headers().get(name)?.to_str().ok();
        Self::read(
            response.url(),
            text("x-request-id")?,
            text(LOCATION.as_str())?,
        )
    }

    fn read(asked: &Url, id: &str, location: &str) -> Option<Self> {
        let id: RunId = id.parse().ok()?;
        let record = asked.join(location).ok()?;
        let last = record.path_segments()?.next_back()?;
        let followable = matches!(record.scheme(), "http" | "https") && last.parse() == Ok(id);
        followable.then_some(Self { id, record })
    }

    /// Where its response is.
    pub(super) fn response(&self) -> Url {
        let mut url = self.record.clone();
        url.set_path(&format!("{}/response", self.record.path()));
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0199f00c-5e2a-7c3b-8d4e-5f60718293a4";

    fn read(id: &str, location: &str) -> Option<Accepted> {
        let asked = Url::parse("https://user:pass@example.com/report?a=b").unwrap();
        Accepted::read(&asked, id, location)
    }

    #[test]
    fn the_response_stands_below_the_record_with_the_same_token() {
        let accepted = read(ID, &format!("/_raincheck/runs/{ID}?token=t")).unwrap();
        let response = accepted.response();
        assert_eq!(response.path(), format!("/_raincheck/runs/{ID}/response"));
        assert_eq!(response.query(), Some("token=t"));
        assert_eq!(response.host_str(), Some("example.com"));
        let other = read(ID, &format!("https://api.example.com/r/runs/{ID}?token=t")).unwrap();
        assert_eq!(other.record.host_str(), Some("api.example.com"));
    }

    #[test]
    fn both_spellings_of_an_id_are_the_same_run() {
        let simple = ID.replace('-', "");
        assert!(read(ID, &format!("/runs/{simple}")).is_some());
        assert!(read(&simple, &format!("/runs/{ID}?token=t")).is_some());
    }

    #[test]
    fn an_applications_own_202_is_no_run() {
        assert_eq!(read("7", "/jobs/7"), None);
        assert_eq!(read(ID, "/jobs/7"), None);
        assert_eq!(read(ID, &format!("file:///runs/{ID}")), None);
        assert_eq!(read(ID, "http://["), None);
        assert_eq!(read(ID, ""), None);
    }
}
