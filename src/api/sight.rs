//! Who may look at which run: the token of its `Location`, the owner's headers, or nothing but its id.

use super::{answer, public::Shared};
use crate::{
    model::{
        id::RunId,
        problem::Problem,
        run::{Access, Run},
    },
    store::Found,
};

/// The run that a request asks for, if the asker may see it.
///
/// # Errors
/// The refusal: of an unknown run too if the asker may not see it, so that nobody learns which runs there are.
pub(super) async fn look(
    shared: &Shared,
    id: Option<RunId>,
    request: &http::request::Parts,
) -> Result<Box<Run>, Problem> {
    let id = id.ok_or_else(answer::unknown)?;
    match shared.store.find(id).await {
        Ok(Found::Run(run)) if run.facts.access == Access::Anybody => Ok(run),
        Ok(Found::Run(_) | Found::Unknown) => Err(answer::unknown()),
        Ok(Found::Expired) => Err(answer::expired()),
        Err(error) => {
            tracing::error!(run = %id, %error, "a run cannot be looked up");
            Err(answer::unavailable())
        }
    }
}
