//! The names, labels and descriptions of all that is published.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use super::{Count, Levels};

const ADMITTED: &str = "token_auth_admitted_total";
const REFUSED: &str = "token_auth_refused_total";
const LOOKUPS: &str = "token_auth_cache_lookups_total";
const READS: &str = "token_auth_store_reads_total";
const BATCHES: &str = "token_auth_store_batches_total";
const JOINED: &str = "token_auth_flights_joined_total";
const REVOCATIONS: &str = "token_auth_revocations_total";
const FEED_GAPS: &str = "token_auth_feed_gaps_total";
const WRITTEN: &str = "token_auth_recorder_written_total";
const DROPPED: &str = "token_auth_recorder_dropped_total";
const RENEWED: &str = "token_auth_renewals_written_total";
const NOT_RENEWED: &str = "token_auth_renewals_dropped_total";
const ENTRIES: &str = "token_auth_cache_entries";
const IN_FLIGHT: &str = "token_auth_store_reads_in_flight";
const QUEUED: &str = "token_auth_recorder_queued";
const SUSPECTS: &str = "token_auth_suspects";
const FEEDS: &str = "token_auth_feeds";
pub(super) const READ_SECONDS: &str = "token_auth_store_read_duration_seconds";
pub(super) const MISS_SECONDS: &str = "token_auth_miss_decision_duration_seconds";

/// One line of a scrape but for its value.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) label: Option<(&'static str, &'static str)>,
}

impl Count {
    pub(super) const ALL: [Self; 15] = [
        Self::Admitted,
        Self::Hit,
        Self::Known,
        Self::Negative,
        Self::Miss,
        Self::ReadFound,
        Self::ReadAbsent,
        Self::ReadFailed,
        Self::ReadTimedOut,
        Self::ReadAbandoned,
        Self::Joined,
        Self::Batch,
        Self::RevokedHere,
        Self::RevokedByFeed,
        Self::FeedGap,
    ];

    /// Where it is told: in one line, or in two.
    pub(super) fn series(self) -> impl Iterator<Item = Series> {
        let also = (self == Self::Known).then_some(Self::Admitted);
        [self].into_iter().chain(also).map(Self::line)
    }

    fn line(self) -> Series {
        let (name, label) = match self {
            Self::Admitted => (ADMITTED, None),
            Self::Hit | Self::Known => (LOOKUPS, Some(("result", "hit"))),
            Self::Negative => (LOOKUPS, Some(("result", "negative"))),
            Self::Miss => (LOOKUPS, Some(("result", "miss"))),
            Self::ReadFound => (READS, Some(("outcome", "found"))),
            Self::ReadAbsent => (READS, Some(("outcome", "absent"))),
            Self::ReadFailed => (READS, Some(("outcome", "failed"))),
            Self::ReadTimedOut => (READS, Some(("outcome", "timed_out"))),
            Self::ReadAbandoned => (READS, Some(("outcome", "abandoned"))),
            Self::Joined => (JOINED, None),
            Self::Batch => (BATCHES, None),
            Self::RevokedHere => (REVOCATIONS, Some(("source", "local"))),
            Self::RevokedByFeed => (REVOCATIONS, Some(("source", "feed"))),
            Self::FeedGap => (FEED_GAPS, None),
        };
        Series { name, label }
    }
}

/// The series of refusals for one reason.
pub(super) fn refusals(reason: &'static str) -> Series {
    Series { name: REFUSED, label: Some(("kind", reason)) }
}

/// Totals that somebody else keeps.
pub(super) fn totals(levels: &Levels) -> [(Series, u64); 7] {
    [
        (Series { name: WRITTEN, label: None }, levels.uses_written),
        (Series { name: DROPPED, label: Some(("reason", "full")) }, levels.uses_turned_away),
        (Series { name: DROPPED, label: Some(("reason", "given_up")) }, levels.uses_lost),
        (Series { name: RENEWED, label: None }, levels.renewals_written),
        (
            Series { name: NOT_RENEWED, label: Some(("reason", "full")) },
            levels.renewals_turned_away,
        ),
        (
            Series { name: NOT_RENEWED, label: Some(("reason", "overtaken")) },
            levels.renewals_overtaken,
        ),
        (
            Series { name: NOT_RENEWED, label: Some(("reason", "given_up")) },
            levels.renewals_given_up,
        ),
    ]
}

pub(super) fn gauges(levels: &Levels) -> [(Series, usize); 7] {
    let feeds = |state| usize::from(levels.feed == Some(state));
    [
        (Series { name: ENTRIES, label: Some(("state", "present")) }, levels.present),
        (Series { name: ENTRIES, label: Some(("state", "absent")) }, levels.absent),
        (Series { name: IN_FLIGHT, label: None }, levels.in_flight),
        (Series { name: QUEUED, label: None }, levels.queued),
        (Series { name: SUSPECTS, label: None }, levels.suspects),
        (Series { name: FEEDS, label: Some(("state", "healthy")) }, feeds(true)),
        (Series { name: FEEDS, label: Some(("state", "unhealthy")) }, feeds(false)),
    ]
}

/// Tells a recorder what everything means.
pub(super) fn describe() {
    let counters = [
        (ADMITTED, "Credentials that were admitted."),
        (REFUSED, "Requests that were refused, by kind of refusal."),
        (
            LOOKUPS,
            "Lookups of the cache, by what it knew: the key, that there is none, or nothing.",
        ),
        (READS, "Reads of the key store that were sent, by outcome."),
        (BATCHES, "Queries of the key store that made many reads at once."),
        (JOINED, "Decisions that waited for a read which was under way already."),
        (REVOCATIONS, "Changes that outdated what was cached, by where they were made."),
        (FEED_GAPS, "Moments at which the revocation feed may have missed something."),
        (WRITTEN, "Times of last use that were written to the key store."),
        (DROPPED, "Times of last use that were not written, by reason."),
        (RENEWED, "Later expiries of keys in use that were written to the key store."),
        (NOT_RENEWED, "Later expiries of keys in use that were not written, by reason."),
    ];
    for (name, text) in counters {
        describe_counter!(name, Unit::Count, text);
    }
    let gauges = [
        (ENTRIES, "Entries of the cache: keys, and tokens known to be none."),
        (IN_FLIGHT, "Reads of the key store under way."),
        (QUEUED, "Times of last use that wait to be written."),
        (SUSPECTS, "Keys, owners and tokens that are denied until a change is settled."),
        (FEEDS, "Revocation feeds, by whether they can be relied on."),
    ];
    for (name, text) in gauges {
        describe_gauge!(name, Unit::Count, text);
    }
    let histograms = [
        (READ_SECONDS, "How long reads of the key store took."),
        (MISS_SECONDS, "How long decisions took that the cache could not make."),
    ];
    for (name, text) in histograms {
        describe_histogram!(name, Unit::Seconds, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to fail with two lines of `Count::ALL` exchanged.
    #[test]
    fn every_count_is_published_under_its_own_name() {
        for (place, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, place, "{count:?}");
        }
    }
}
