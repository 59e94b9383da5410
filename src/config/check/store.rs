//! `[store]`.

use std::time::Duration;

use crate::config::{
    Durability, Store,
    file::Section,
    value::{LONGEST, duration, mistyped, one_of, size, text, wrong},
};

pub(super) fn read(section: &Section<'_>) -> Store {
    section.get("kind", |value| match text(value)? {
        "sqlite" => Ok(()),
        "postgres" => wrong(
            value,
            "\"postgres\" is a store that this version does not have yet; write \"sqlite\"",
        ),
        _ => wrong(value, mistyped(value, "a store", "\"sqlite\"")),
    });
    if section.has("url") {
        section.complain("url", "is of the store \"postgres\", which this version does not have yet; leave it out, `path` is the folder of \"sqlite\"");
    }
    let path = section.get("path", |value| match text(value)? {
        "" => wrong(
            value,
            "names no folder; write \"raincheck-data\" or another path",
        ),
        path => Ok(path.to_owned()),
    });
    Store {
        path: section.reading.path(&path),
        durability: section.get(
            "durability",
            one_of(&[
                ("fsync", Durability::Fsync),
                ("relaxed", Durability::Relaxed),
            ]),
        ),
        retention: section.get("retention", duration(Duration::from_secs(1)..=LONGEST)),
        max_bytes: section.get("max_bytes", size(0)),
    }
}
