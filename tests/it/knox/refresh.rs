//! The edges of an expiry, and of AUTO_REFRESH: real knox and we, each with a clock that stands, judge rows
//! that are alike and leave them alike.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tower_token_auth::{Authenticator, KnoxStore, knox::KnoxSettings, testing::ManualClock};

use crate::support::django::{Django, Place, Schema};

const HOUR: i64 = 3_600_000_000;
const SECOND: i64 = 1_000_000;

/// A row and a request: times in microseconds from the request's; `None` never expires.
struct Case {
    made: i64,
    expires: Option<i64>,
    /// AUTO_REFRESH, and its limits in seconds.
    refresh: Option<(Option<u64>, u64)>,
}

const fn case(made: i64, expires: Option<i64>, refresh: Option<(Option<u64>, u64)>) -> Case {
    Case { made, expires, refresh }
}

/// knox's own defaults: no end, and a minute.
const ON: Option<(Option<u64>, u64)> = Some((None, 60));
/// Ten hours, knox's TOKEN_TTL.
const TTL: i64 = 10 * HOUR;

const CASES: [Case; 22] = [
    case(-TTL, Some(0), None),
    case(-TTL, Some(-1), None),
    case(-TTL, Some(1), None),
    case(-TTL, None, None),
    // By how much it is moved on.
    case(-TTL, Some(0), ON),
    case(-TTL, Some(-1), ON),
    case(-TTL, None, ON),
    case(-HOUR, Some(TTL - 60 * SECOND), ON),
    case(-HOUR, Some(TTL - 60 * SECOND - 1), ON),
    case(-HOUR, Some(TTL - 60 * SECOND + 1), ON),
    case(0, Some(TTL), ON),
    case(-HOUR, Some(2 * TTL), ON),
    case(-HOUR, Some(TTL - 1), Some((None, 0))),
    case(-HOUR, Some(TTL), Some((None, 0))),
    // Up to which age.
    case(-9 * HOUR, Some(HOUR), Some((Some(36_000), 60))),
    case(-9 * HOUR, Some(HOUR - 60 * SECOND), Some((Some(36_000), 60))),
    case(-9 * HOUR, Some(HOUR - 60 * SECOND - 1), Some((Some(36_000), 60))),
    case(-9 * HOUR, Some(2 * HOUR), Some((Some(36_000), 60))),
    case(-20 * HOUR, Some(HOUR), Some((Some(36_000), 60))),
    case(-20 * HOUR, Some(0), Some((Some(36_000), 60))),
    case(-HOUR, Some(HOUR), Some((Some(7_200), 3_600))),
    // An interval that no gain passes.
    case(-HOUR, Some(SECOND), Some((None, 36_000))),
];

impl Case {
    fn of_knox(&self) -> Value {
        match self.refresh {
            None => json!({ "AUTO_REFRESH": false }),
            Some((max, least)) => json!({
                "AUTO_REFRESH": true,
                "AUTO_REFRESH_MAX_TTL": max,
                "MIN_REFRESH_INTERVAL": least,
            }),
        }
    }

    fn of_ours(&self) -> KnoxSettings {
        let Some((max, least)) = self.refresh else { return KnoxSettings::default() };
        KnoxSettings::default()
            .auto_refresh(true)
            .auto_refresh_max_ttl(max.map(Duration::from_secs))
            .min_refresh_interval(Duration::from_secs(least))
    }
}

/// What became of a row: whether it was admitted, and its expiry behind that, if it is there still.
type Outcome = (bool, Option<Value>);

/// Seen to fail with a gain of exactly the least one written (`>=` in `Slide`), with the end of a token's
/// life left out, and with an expiry of now taken for past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiries_are_judged_and_moved_on_as_by_knox() {
    let sites = Place::ALL.map(|place| (place, Schema::Knox));
    for (place, schema) in sites.into_iter().chain([(Place::Sqlite, Schema::Smarter)]) {
        let Some(django) = Django::new(place, schema) else { return };
        let user = match schema {
            Schema::Knox => django.user("ada"),
            Schema::Smarter => django.member("ada", django.account("1234-5678-9012")).0,
        };
        let now: DateTime<Utc> = "2030-01-02T12:00:00.123456Z".parse().unwrap();
        let at = |micros: i64| now + TimeDelta::microseconds(micros);
        for (n, case) in CASES.iter().enumerate() {
            let plant = |token: &str| {
                django.stop_clock(at(case.made));
                let expiry = case.expires.map(|micros| at(micros).to_rfc3339());
                django.plant(user, token, json!({ "expiry": expiry }))
            };
            let (theirs, ours) = (plant(&format!("theirs-{n}")), plant(&format!("ours-{n}")));
            let left = |digest: &str| django.key(digest).map(|row| row["expiry"].clone());

            let store = KnoxStore::open(&django.url).await.unwrap();
            let builder = Authenticator::builder(store.clone()).clock(ManualClock::at(now));
            let (auth, guard) = case.of_ours().apply_to(builder).build().unwrap();
            let is_admitted = auth.authenticate(&ours.token).await.is_ok();
            let report = guard.shutdown(Duration::from_secs(30)).await;
            assert_eq!(report.unwritten_renewals(), 0);
            store.close().await;
            let by_us: Outcome = (is_admitted, left(&ours.digest));

            django.set_knox(case.of_knox());
            django.stop_clock(now);
            let answer = django.whoami(Some(theirs.authorization().as_bytes()));
            let by_knox: Outcome = (answer.status == 200, left(&theirs.digest));

            // knox deletes all of the user's that has expired, in passing; we leave it to who asks for that.
            let expected = match &by_knox {
                (false, None) => (false, Some(ours.row["expiry"].clone())),
                known => known.clone(),
            };
            assert_eq!(by_us, expected, "{place:?} {schema:?}, case {n}");
        }
    }
}
