//! By how much a use moves a key's expiry on.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::ApiKey;

/// How far, how seldom and up to where an expiry moves on, as knox's AUTO_REFRESH has it. Pure
/// arithmetic: every hit on a key that expires asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slide {
    ttl: TimeDelta,
    max: Option<TimeDelta>,
    min_gain: TimeDelta,
    /// A key that expires in less than this may be due; one that does not never is.
    lead: TimeDelta,
}

impl Slide {
    /// Whole microseconds: what is finer no store keeps.
    pub(crate) fn new(ttl: TimeDelta, max: Option<TimeDelta>, min_gain: TimeDelta) -> Self {
        Self { ttl, max, min_gain, lead: ttl - min_gain }
    }

    /// The expiry that a use at `now` gives the key, if it gives one: a lifetime from now, or the
    /// end of the longest lifetime if that is earlier, but only if that is gained by more than the
    /// least gain. Never of a key that does not expire, nor of one that has.
    pub(crate) fn renewal(&self, key: &ApiKey, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expires_at = key.expires_at().filter(|expires_at| *expires_at >= now)?;
        // As coarse as stores keep it, so that what is read back is what was written.
        let renewed = now.trunc_subsecs(6).checked_add_signed(self.ttl)?;
        // A longest lifetime that the calendar does not reach is none.
        let last = self.max.and_then(|max| key.created_at().checked_add_signed(max));
        let renewed = last.map_or(renewed, |last| renewed.min(last));
        self.is_gain(expires_at, renewed).then_some(renewed)
    }

    /// Whether the later expiry is worth a write.
    pub(crate) fn is_gain(&self, expires_at: DateTime<Utc>, renewed: DateTime<Utc>) -> bool {
        renewed - expires_at > self.min_gain
    }

    /// From when on a use of the key may have to be looked at, before it expires; `None` if none will, as
    /// it has no expiry or one at the end of its longest lifetime.
    pub(crate) fn concerns_from(&self, key: &ApiKey) -> Option<DateTime<Utc>> {
        let expires_at = key.expires_at()?;
        let last = self.max.and_then(|max| key.created_at().checked_add_signed(max));
        if last.is_some_and(|last| !self.is_gain(expires_at, last)) {
            return None;
        }
        // What the calendar does not reach is long past.
        Some(expires_at.checked_sub_signed(self.lead).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// Whether a use at `now` is to be looked at: it renews the key, or finds it expired, perhaps
    /// only by a record that does not show an earlier use yet.
    #[inline]
    pub(crate) fn concerns(&self, key: &ApiKey, now: DateTime<Utc>) -> bool {
        let Some(expires_at) = key.expires_at() else { return false };
        let may_be = now.checked_add_signed(self.lead).is_none_or(|end| expires_at < end);
        may_be && (expires_at < now || self.renewal(key, now).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{
        digest::{DigestAlgorithm, TokenDigest},
        key::KeyId,
    };

    fn at(seconds: i64, micros: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds) + TimeDelta::microseconds(micros)
    }

    /// Knox's rules with its defaults, a lifetime of ten hours, at 1,000 h and with a key made at 0.
    ///
    /// Seen to fail with `>=` in `is_gain`, without the filter in `renewal`, and without the cap.
    #[test]
    fn a_use_renews_as_knox_does() {
        const HOUR: i64 = 3_600;
        const NOW: i64 = 1_000 * HOUR;
        const FULL: i64 = NOW + 10 * HOUR;
        let max = |hours: i64| Some(TimeDelta::hours(hours));
        let cases = [
            ("expires now", Some(at(NOW, 0)), None, Some(at(FULL, 0))),
            ("has expired", Some(at(NOW, -1)), None, None),
            ("never expires", None, None, None),
            ("a gain of 60 s", Some(at(FULL - 60, 0)), None, None),
            ("a gain of 60.000001 s", Some(at(FULL - 60, -1)), None, Some(at(FULL, 0))),
            ("expires later by itself", Some(at(FULL + HOUR, 0)), None, None),
            ("capped", Some(at(NOW, 0)), max(1_001), Some(at(NOW + HOUR, 0))),
            ("a capped gain of 60 s", Some(at(NOW + HOUR - 60, 0)), max(1_001), None),
            ("at the cap", Some(at(NOW + HOUR, 0)), max(1_001), None),
            ("past the cap", Some(at(NOW + HOUR, 0)), max(1), None),
            ("a cap far off", Some(at(NOW, 0)), Some(TimeDelta::MAX), Some(at(FULL, 0))),
        ];
        for (name, expires_at, max, expected) in cases {
            let slide = Slide::new(TimeDelta::hours(10), max, TimeDelta::seconds(60));
            let digest = TokenDigest::of(DigestAlgorithm::Sha256, "token");
            let key = ApiKey::new(KeyId::random(), digest, "ada".into(), at(0, 0));
            let key = key.with_expires_at(expires_at);
            assert_eq!(slide.renewal(&key, at(NOW, 0)), expected, "{name}");
            let finer = at(NOW, 0) + TimeDelta::nanoseconds(999);
            let is_past = key.is_expired_at(finer);
            assert_eq!(slide.renewal(&key, finer), expected.filter(|_| !is_past), "{name}");
            let concerns = expected.is_some() || key.is_expired_at(at(NOW, 0));
            assert_eq!(slide.concerns(&key, at(NOW, 0)), concerns, "{name}");
        }
    }
}
