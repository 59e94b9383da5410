//! Rows as arguments of the database's functions: many go in one statement, for most of what a row costs is its statement;
//! and as one argument, an array of a composite type, for each further one costs as much as a row.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::{
    Client,
    types::{Field, IsNull, Kind, ToSql, Type, to_sql_checked},
};

use super::link::LinkError;

/// The fields of `raincheck.new_2`, see the migrations.
const NEW: [(&str, Type); 20] = [
    ("id", Type::UUID),
    ("state", Type::TEXT),
    ("route", Type::TEXT),
    ("name", Type::TEXT),
    ("dialect", Type::TEXT),
    ("accepted", Type::INT8),
    ("started", Type::INT8),
    ("due", Type::INT8),
    ("expires", Type::INT8),
    ("attempts", Type::INT4),
    ("owner", Type::INT8),
    ("fixed", Type::TEXT),
    ("doc", Type::TEXT),
    ("secret", Type::BYTEA),
    ("head", Type::BYTEA),
    ("body", Type::BYTEA),
    ("len", Type::INT8),
    ("file", Type::TEXT),
    ("client", Type::TEXT),
    ("tls", Type::BOOL),
];

/// The fields of `raincheck.write_2`.
const WRITE: [(&str, Type); 30] = [
    ("id", Type::UUID),
    ("was_state", Type::TEXT),
    ("was_attempts", Type::INT4),
    ("was_owner", Type::INT8),
    ("was_d_state", Type::TEXT),
    ("was_d_attempts", Type::INT4),
    ("state", Type::TEXT),
    ("reason", Type::TEXT),
    ("started", Type::INT8),
    ("finished", Type::INT8),
    ("due", Type::INT8),
    ("expires", Type::INT8),
    ("done", Type::INT8),
    ("attempts", Type::INT4),
    ("owner", Type::INT8),
    ("d_state", Type::TEXT),
    ("d_attempts", Type::INT4),
    ("d_due", Type::INT8),
    ("d_until", Type::INT8),
    ("d_host", Type::TEXT),
    ("doc", Type::TEXT),
    ("keeps_secret", Type::BOOL),
    ("ends", Type::BOOL),
    ("head", Type::BYTEA),
    ("body", Type::BYTEA),
    ("len", Type::INT8),
    ("file", Type::TEXT),
    ("e_kind", Type::INT2),
    ("e_n", Type::INT4),
    ("e_json", Type::TEXT),
];

/// The arrays of our composite types: what numbers they have is this database's own.
pub(super) struct RecordTypes {
    pub(super) new: Type,
    pub(super) write: Type,
}

impl RecordTypes {
    pub(super) async fn of(db: &Client) -> Result<Self, LinkError> {
        Ok(Self {
            new: array(db, "new_2", &NEW).await?,
            write: array(db, "write_2", &WRITE).await?,
        })
    }
}

async fn array(db: &Client, name: &str, fields: &[(&str, Type)]) -> Result<Type, LinkError> {
    let sql = "SELECT t.oid, t.typarray FROM pg_catalog.pg_type AS t
         JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace WHERE n.nspname = 'raincheck' AND t.typname = $1";
    let rows = db.query_typed(sql, &[(&name, Type::TEXT)]).await?;
    let numbers = rows.first().ok_or(LinkError::Closed)?;
    let fields = fields.iter();
    let fields = fields.map(|(name, kind)| Field::new((*name).to_owned(), kind.clone()));
    let schema = "raincheck".to_owned();
    let kind = Kind::Composite(fields.collect());
    let record = Type::new(name.to_owned(), numbers.get(0), kind, schema.clone());
    let array = Kind::Array(record);
    Ok(Type::new(format!("_{name}"), numbers.get(1), array, schema))
}

/// A value of a composite type: one for each of its fields, in their order.
#[derive(Debug, Default)]
pub(super) struct Record<'a>(Vec<Box<dyn ToSql + Sync + Send + 'a>>);

impl<'a> Record<'a> {
    pub(super) fn with(mut self, value: impl ToSql + Sync + Send + 'a) -> Self {
        self.0.push(Box::new(value));
        self
    }
}

/// As `record_recv` of PostgreSQL wants it: how many fields, then of each its type, its length (-1: null) and its value.
impl ToSql for Record<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Composite(fields) = kind.kind() else {
            return Err(format!("{kind} is not composite").into());
        };
        if fields.len() != self.0.len() {
            return Err(format!("{kind} has {} fields", fields.len()).into());
        }
        out.put_i32(i32::try_from(fields.len())?);
        for (field, value) in fields.iter().zip(&self.0) {
            out.put_u32(field.type_().oid());
            let at = out.len();
            out.put_i32(-1);
            if let IsNull::No = value.to_sql_checked(field.type_(), out)? {
                let len = i32::try_from(out.len() - at - 4)?;
                out[at..at + 4].copy_from_slice(&len.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(kind.kind(), Kind::Composite(_))
    }

    to_sql_checked!();
}
