//! Moments as text: written as Django writes them, and read with no forbearance at all.
//!
//! This is the dangerous column: what is taken for no expiry is a key that never expires. So a text is
//! a moment only in the one form that Django writes, and whatever else a column holds — MySQL's
//! `0000-00-00`, a number of seconds, an infinity, nothing at all between quotes — is none.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeZone as _, Utc};

use super::dialect::Dialect;

/// When a key expired whose expiry is none of these, for who lists keys or ends them.
pub(super) const LONG_PAST: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Reads `YYYY-MM-DD HH:MM:SS` with up to six digits of a fraction, in the years 1 to 9999.
pub(super) fn parse(text: &str, zone: FixedOffset) -> Option<DateTime<Utc>> {
    let naive = naive(text.as_bytes())?;
    Some(zone.from_local_datetime(&naive).single()?.with_timezone(&Utc))
}

fn naive(text: &[u8]) -> Option<NaiveDateTime> {
    let (whole, fraction) = text.split_at_checked(19)?;
    let signs = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if signs.iter().any(|(at, sign)| whole[*at] != *sign) {
        return None;
    }
    let part = |from: usize, to: usize| number(&whole[from..to]);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            (digits.len()..6).fold(number(digits)?, |micros, _| micros * 10)
        }
        _ => return None,
    };
    let time = date.and_hms_micro_opt(part(11, 13)?, part(14, 16)?, part(17, 19)?, micros)?;
    (year > 0).then_some(time)
}

/// ASCII digits alone, which `parse` would take more than.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
    })
}

/// A moment as it is bound. PostgreSQL's column knows its zone, so that it is told one.
pub(super) fn write(moment: DateTime<Utc>, zone: FixedOffset, dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => moment.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
        Dialect::Sqlite | Dialect::MySql => {
            moment.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: FixedOffset = FixedOffset::east_opt(0).unwrap();

    #[test]
    fn what_django_writes_is_read_to_the_microsecond() {
        for (text, expected) in [
            ("2030-01-02 03:04:05", "2030-01-02T03:04:05Z"),
            ("2030-01-02 03:04:05.000001", "2030-01-02T03:04:05.000001Z"),
            ("2030-01-02 03:04:05.5", "2030-01-02T03:04:05.5Z"),
            ("2030-01-02 03:04:05.000000", "2030-01-02T03:04:05Z"),
            ("0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
            ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(parse(text, UTC), Some(expected.parse().unwrap()), "{text}");
        }
        let east = FixedOffset::east_opt(2 * 3600).unwrap();
        let read = parse("2030-01-02 01:00:00", east);
        assert_eq!(read, Some("2030-01-01T23:00:00Z".parse().unwrap()));
    }

    /// Seen to fail with `NaiveDateTime::parse_from_str`, which takes `+030-1-2 3:4:5`.
    #[test]
    fn nothing_else_is_a_moment() {
        for text in [
            "",
            " ",
            "NULL",
            "never",
            "infinity",
            "-infinity",
            "beyond the calendar",
            "0000-00-00 00:00:00",
            "0000-00-00 00:00:00.000000",
            "0000-00-00",
            "2030-00-01 00:00:00",
            "2030-01-00 00:00:00",
            "2030-13-01 00:00:00",
            "2030-02-30 00:00:00",
            "0000-01-01 00:00:00",
            "1893456000",
            "1893456000.5",
            "2462503.5",
            "2030-01-02",
            "2030-01-02T03:04:05",
            "2030-01-02 03:04",
            "2030-01-02 03:04:05Z",
            "2030-01-02 03:04:05+00:00",
            "2030-01-02 24:00:00",
            "2030-01-02 03:60:00",
            "2030-01-02 03:04:60",
            "2030-01-02 03:04:61",
            "2030-01-02 03:04:05.",
            "2030-01-02 03:04:05.0000001",
            "2030-01-02 03:04:05.-1",
            "2030-01-02 03:04:05,5",
            "0044-03-15 12:00:00 BC",
            "12030-01-02 03:04:05",
            "+030-01-02 03:04:05",
            "-030-01-02 03:04:05",
            " 2030-01-02 03:04:05",
            "2030-01-02 03:04:05 ",
            "2030-01-02 03:04:05\0",
            "2030-01-02  3:04:05",
            "２０３０-01-02 03:04:05",
        ] {
            assert_eq!(parse(text, UTC), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let moment: DateTime<Utc> = "0099-01-02T03:04:05.678901Z".parse().unwrap();
        let east = FixedOffset::east_opt(5 * 3600 + 45 * 60).unwrap();
        for dialect in [Dialect::Sqlite, Dialect::MySql] {
            assert_eq!(parse(&write(moment, east, dialect), east), Some(moment));
        }
        let text = write(moment, east, Dialect::Postgres);
        assert_eq!(text, "0099-01-02 03:04:05.678901+00");
    }
}
