//! The statements of lookups, written once for each size.

use sqlx::SqlStr;

use super::schema::{From, Schema};

/// Sizes 1, 2, 4 … 256, which is as many as are asked for at a time.
const SIZES: usize = 9;

pub(super) struct Statements {
    find: [SqlStr; SIZES],
}

impl Statements {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { find: std::array::from_fn(|power| find(schema, 1 << power)) }
    }

    /// The lookup of so many digests, a power of two.
    pub(super) fn find(&self, schema: &Schema, size: usize) -> SqlStr {
        let kept = self.find.get(size.trailing_zeros() as usize);
        kept.cloned().unwrap_or_else(|| find(schema, size))
    }
}

fn find(schema: &Schema, size: usize) -> SqlStr {
    let record = schema.record(From::Digest);
    let text = match size {
        1 => format!("{record} WHERE k.digest = ?"),
        _ => format!("{record} WHERE k.digest IN ({})", values(size)),
    };
    schema.compile(&text)
}

/// `?, ?, ?`
pub(super) fn values(count: usize) -> String {
    vec!["?"; count].join(", ")
}
