//! A moment as PostgreSQL keeps it: `timestamptz`, in microseconds.

use chrono::{DateTime, Utc};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};

/// PostgreSQL counts from 2000-01-01 UTC.
const EPOCH: i64 = 946_684_800_000_000;

/// A moment to be bound or read. sqlx's own reading of a `DateTime` panics at `infinity`, which is a
/// `timestamptz` like any other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// The first one that PostgreSQL can tell, in the year 4714 BC; chrono's last one it can tell.
const FIRST: i64 = -211_813_488_000_000_000 + EPOCH;

impl Moment {
    /// The same, or the first one that there can be: before both of them lies nothing.
    pub(super) fn within_reach(moment: DateTime<Utc>) -> Self {
        let first = DateTime::from_timestamp_micros(FIRST).unwrap_or(moment);
        Self(moment.max(first))
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        <DateTime<Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.timestamp_micros() - EPOCH, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a moment as text".into());
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        let moment = micros.checked_add(EPOCH).and_then(DateTime::from_timestamp_micros);
        moment.map(Self).ok_or_else(|| "beyond the calendar".into())
    }
}
