//! The store for oneself: what a copy says is true only of one without other users.

use tokio_postgres::types::Type;

use super::{
    committer::Queue,
    lease::{DEAD, take_over},
    row::Param,
    shared::Shared,
    sharing,
    store::looked,
};
use crate::{model::replica::ReplicaState, store::StoreError};

/// Takes over what dead replicas held, as the survivors would have: refuses if one may live.
pub(super) async fn alone(shared: &Shared, queue: &Queue) -> Result<(), StoreError> {
    let now = shared.now();
    let sharing = looked(sharing::sharing(shared).await)?;
    let others = sharing.replicas.iter().filter(|it| !it.this_one);
    let mut living =
        others.filter(|it| it.state != ReplicaState::Fenced && now.since(it.heartbeat_at) < DEAD);
    if let Some(other) = living.next() {
        let (name, silent) = (&other.name, now.since(other.heartbeat_at).as_secs());
        return Err(StoreError::Failed(format!(
            "it is in use by the replica {name}, whose heart beat {silent} s ago; stop it, or if it was killed, wait {} s",
            DEAD.as_secs()
        )));
    }
    let own = shared.owner();
    let params: [Param<'_>; 1] = [(&own, Type::INT8)];
    let sql = "UPDATE raincheck.replica SET fenced = true WHERE id <> $1";
    looked(shared.link.execute(sql, &params).await)?;
    take_over(shared, queue).await;
    let sql = "SELECT 1 FROM raincheck.live WHERE owner <> $1 LIMIT 1";
    if looked(shared.link.query(sql, &params).await)?.is_empty() {
        return Ok(());
    }
    let says = "runs of dead replicas could not be taken over; try again";
    Err(StoreError::Failed(says.to_owned()))
}
