//! The benches' store in memory keeps to the suite too.

use super::*;

#[path = "../../../benches/common/memory_store.rs"]
mod memory_store;

#[tokio::test]
async fn the_store_of_the_benches_conforms() {
    for (name, check) in CHECKS {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let store = memory_store::MemoryStore::new(
            folder.path().into(),
            Arc::new(clock.clone()),
            RETENTION,
        );
        passes(name, *check, Subject { store, clock }).await;
    }
}
