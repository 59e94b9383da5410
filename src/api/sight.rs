//! Who may look at which run: the token of its `Location`, the owner's headers, or nothing but its id.

use http::{HeaderName, header::AUTHORIZATION, request::Parts};

use super::{answer, public::Shared};
use crate::{
    model::{
        access::{self, Offer},
        id::RunId,
        problem::Problem,
        run::Run,
    },
    store::Found,
};

/// What tells an owner of a run whose route is gone: the default of `owner_headers`.
static OWNER_HEADERS: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("x-api-key")];

/// The run that a request asks for, if the asker may see it.
///
/// # Errors
/// The refusal: of an unknown run too if the asker may not see it, so that nobody learns which runs there are.
pub(super) async fn look(
    shared: &Shared,
    id: Option<RunId>,
    request: &Parts,
) -> Result<Box<Run>, Problem> {
    let id = id.ok_or_else(answer::unknown)?;
    match shared.store.find(id).await {
        Ok(Found::Run(mut run)) if may_look(shared, &run, request) => {
            shared.reschedule(&mut run);
            Ok(run)
        }
        Ok(Found::Run(_) | Found::Unknown) => Err(answer::unknown()),
        Ok(Found::Expired) => Err(answer::expired()),
        Err(error) => {
            tracing::error!(run_id = %id, %error, "a run cannot be looked up");
            Err(answer::unavailable())
        }
    }
}

fn may_look(shared: &Shared, run: &Run, request: &Parts) -> bool {
    let settings = shared.settings(&run.policy.route);
    let token = token(request);
    let offer = Offer {
        token: token.as_deref(),
        headers: &request.headers,
        owner_headers: settings.map_or(&OWNER_HEADERS[..], |settings| &settings.owner_headers),
    };
    access::may_look(
        &shared.store.identity().key,
        run.id,
        &run.facts.access,
        offer,
    )
}

/// The first `token` of the query, else the header's.
fn token(request: &Parts) -> Option<String> {
    let query = request.uri.query().unwrap_or_default();
    let in_query = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "token").then(|| value.into_owned()));
    in_query.or_else(|| {
        let header = request.headers.get("raincheck-run-token")?;
        header.to_str().ok().map(str::to_owned)
    })
}
