//! Policies and routes, stored once each; a run's row names them by number.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension, Result};

use super::row::json_error;
use crate::model::policy::Policy;

/// The numbers of a policy and of its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolicyIds {
    pub(super) policy: i64,
    pub(super) route: i64,
}

/// What is known of the committed ones.
#[derive(Debug, Default)]
pub(super) struct Names {
    policies: RwLock<HashMap<i64, Arc<Policy>>>,
    ids: RwLock<HashMap<Arc<Policy>, PolicyIds>>,
}

/// What the transaction under way has added; published when it is committed.
pub(super) type NewNames = Vec<(Arc<Policy>, PolicyIds)>;

impl Names {
    /// The policy of a number.
    pub(super) fn policy(&self, db: &Connection, id: i64) -> Result<Arc<Policy>> {
        if let Some(policy) = self.policies.read().get(&id) {
            return Ok(Arc::clone(policy));
        }
        let (route, json): (i64, String) = db
            .prepare_cached("SELECT route, json FROM policy WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let policy = Arc::new(serde_json::from_str::<Policy>(&json).map_err(json_error)?);
        // Numbers that are not committed yet are looked up only in the transaction that adds them; see `forget`.
        self.publish(vec![(Arc::clone(&policy), PolicyIds { policy: id, route })]);
        Ok(policy)
    }

    /// The numbers of a policy, which is stored if it is new.
    pub(super) fn ids(
        &self,
        db: &Connection,
        new: &mut NewNames,
        policy: &Arc<Policy>,
    ) -> Result<PolicyIds> {
        if let Some(ids) = self.ids.read().get(policy) {
            return Ok(*ids);
        }
        if let Some((_, ids)) = new.iter().find(|(known, _)| known == policy) {
            return Ok(*ids);
        }
        let ids = store(db, policy)?;
        new.push((Arc::clone(policy), ids));
        Ok(ids)
    }

    /// The number of a route, if any run ever had it.
    pub(super) fn route(db: &Connection, name: &str) -> Result<Option<i64>> {
        db.prepare_cached("SELECT id FROM route WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    /// Forgets everything: a transaction was rolled back, and its numbers may soon be those of others.
    pub(super) fn forget(&self) {
        let mut policies = self.policies.write();
        let mut ids = self.ids.write();
        policies.clear();
        ids.clear();
    }

    /// Takes over what a committed transaction has added.
    pub(super) fn publish(&self, new: NewNames) {
        if new.is_empty() {
            return;
        }
        let mut policies = self.policies.write();
        let mut ids = self.ids.write();
        for (policy, its) in new {
            policies.insert(its.policy, Arc::clone(&policy));
            ids.insert(policy, its);
        }
    }
}

fn store(db: &Connection, policy: &Policy) -> Result<PolicyIds> {
    let json = serde_json::to_string(policy).map_err(json_error)?;
    let route = db
        .prepare_cached(
            "INSERT INTO route(name) VALUES(?1) ON CONFLICT(name) DO UPDATE SET name = name RETURNING id",
        )?
        .query_row([&policy.route], |row| row.get(0))?;
    let policy = db
        .prepare_cached(
            "INSERT INTO policy(route, json) VALUES(?1, ?2) ON CONFLICT(json) DO UPDATE SET json = json RETURNING id",
        )?
        .query_row((route, json), |row| row.get(0))?;
    Ok(PolicyIds { policy, route })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn a_number_that_was_rolled_back_may_be_another_policys() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(super::super::schema::STEPS[0]).unwrap();
        let names = Names::default();
        let policy = |route| Arc::new(conformance::policy(route));
        let number = |route| {
            let mut new = NewNames::new();
            names.ids(&db, &mut new, &policy(route)).unwrap().policy
        };
        db.execute_batch("BEGIN").unwrap();
        let mine = number("mine");
        // A change in the same transaction reads the run that the first one stored.
        assert_eq!(names.policy(&db, mine).unwrap().route, "mine");
        db.execute_batch("ROLLBACK").unwrap();
        names.forget();
        let theirs = number("theirs");
        assert_eq!(theirs, mine);
        assert_eq!(names.policy(&db, theirs).unwrap().route, "theirs");
        assert_ne!(number("mine"), theirs);
    }
}
