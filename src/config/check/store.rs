//! `[store]`.

use std::time::Duration;

use crate::{
    config::{
        Durability, Store, StoreKind,
        file::Section,
        postgres_url,
        secret::secret,
        value::{LONGEST, duration, mistyped, one_of, size, text, wrong},
    },
    model::secret::Secret,
};

pub(super) fn read(section: &Section<'_>) -> Store {
    let is_postgres = section.get("kind", |value| match text(value)? {
        "sqlite" => Ok(false),
        "postgres" => Ok(true),
        _ => wrong(
            value,
            mistyped(value, "a store", "\"sqlite\" or \"postgres\""),
        ),
    });
    let url = section.optional("url", |given| {
        let url = secret(section.reading)(given)?;
        match postgres_url::read(&url) {
            Err(why) if is_postgres => wrong(given, why),
            _ => Ok(url),
        }
    });
    if section.has("url") && !is_postgres {
        section.complain(
            "url",
            "is of the store \"postgres\"; leave it out, or write kind = \"postgres\"",
        );
    }
    if is_postgres && !section.has("url") {
        section.complain(
            "url",
            "is missing; write url = { env = \"DATABASE_URL\" }, with postgres://user:password@host/database in it",
        );
    }
    for key in ["durability", "max_bytes"] {
        if is_postgres && section.has(key) {
            section.complain(
                key,
                "is of the store \"sqlite\"; leave it out, the database has settings of its own",
            );
        }
    }
    let path = section.get("path", |value| match text(value)? {
        "" => wrong(
            value,
            "names no folder; write \"raincheck-data\" or another path",
        ),
        path => Ok(path.to_owned()),
    });
    let kind = match url.filter(|_| is_postgres) {
        Some(url) => StoreKind::Postgres {
            url: Secret::new(url.into_bytes()),
        },
        None => StoreKind::Sqlite,
    };
    Store {
        kind,
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
