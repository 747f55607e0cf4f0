//! Finding keys: by filters and pages, by their tokens, and by what a report says of them.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tower_token_auth::{
    ApiKey, DigestAlgorithm, KeyFilter, KeyId, KeyManager, KeyPage, NewKey, Owner, Page,
    RejectionKind, Relation, ReportSettings, TokenDigest, store::Cursor,
};

use crate::support::{
    self,
    stores::{self, Setup, on_each, seed, start},
};

const TOKEN: &str = "a-token-that-somebody-pasted";

fn days_ago(days: i64) -> DateTime<Utc> {
    start() - TimeDelta::days(days)
}

fn ids(page: &KeyPage) -> Vec<KeyId> {
    page.keys.iter().map(|record| record.id()).collect()
}

/// Keys that differ in all that can be asked about, as far as the schema keeps it.
async fn some_keys(setup: &Setup) -> Vec<ApiKey> {
    let names = ["Nightly Build", "deploy", "nightly", "100%_x"];
    let edit = |n: usize, key: ApiKey| {
        // Made three at a time, so that ties are there to be told apart.
        let made = days_ago(2_000) + TimeDelta::days((n / 3) as i64);
        ApiKey::new(key.id(), *key.digest(), key.owner_id().clone(), made)
            .with_name(names[n % 4])
            .with_description(n.is_multiple_of(3).then_some("The build machine\nof 2026"))
            .with_tags(n.is_multiple_of(5).then_some("ci"))
            .with_active(n % 4 != 3)
            .with_expires_at(n.is_multiple_of(2).then(|| days_ago(50 - n as i64)))
            .with_last_used_at((n % 3 == 1).then(|| days_ago(100 - n as i64)))
    };
    let mut all = seed(setup, "ada", 40, edit).await;
    all.extend(seed(setup, "bob", 9, edit).await);
    all
}

/// All pages of a listing, each asserted to be as full as it may be.
async fn paged(keys: &KeyManager, filter: &KeyFilter, first: Page, limit: usize) -> Vec<KeyId> {
    let (mut all, mut page) = (Vec::new(), Some(first));
    while let Some(wanted) = page {
        let listed = keys.list(filter.clone(), wanted).await.unwrap();
        assert!(listed.keys.len() <= limit);
        assert!(listed.next.is_none() || listed.keys.len() == limit, "a page is full or the last");
        assert!(!listed.keys.is_empty() || all.is_empty(), "no page is empty but an only one");
        all.extend(ids(&listed));
        page = listed.next.map(|next| first.after(next));
    }
    all
}

// Each filter against what it says in plain words, in both orders, in pages of several sizes.
// Negative control: with `<` turned into `<=` in a filter's SQL, or in `KeyFilter::admits`, its line
// fails; with `limit` in place of `limit + 1` in `list`, pages end too early.
#[tokio::test]
async fn filters_orders_and_pages() {
    type Line = (KeyFilter, fn(&ApiKey) -> bool);
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        let mut all = some_keys(setup).await;
        all.sort_by_key(|key| (key.created_at(), key.id()));
        let never_false = {
            let mut filter = KeyFilter::all();
            filter.never_used = Some(false);
            filter
        };
        let lines: Vec<Line> = vec![
            (KeyFilter::all(), |_| true),
            (KeyFilter::all().owner("bob"), |key| key.owner_id().as_str() == "bob"),
            (KeyFilter::all().owned_by("bob"), |key| key.owner_id().as_str() == "bob"),
            (KeyFilter::all().owner("nobody"), |_| false),
            (KeyFilter::all().active(true), ApiKey::is_active),
            (KeyFilter::all().active(false), |key| !key.is_active()),
            (KeyFilter::all().expires_before(days_ago(30)), |key| {
                key.expires_at().is_some_and(|at| at < days_ago(30))
            }),
            (KeyFilter::all().expires_from(days_ago(30)), |key| {
                key.expires_at().is_none_or(|at| at >= days_ago(30))
            }),
            (KeyFilter::all().expires_from(days_ago(40)).expires_before(days_ago(30)), |key| {
                key.expires_at().is_some_and(|at| (days_ago(40)..days_ago(30)).contains(&at))
            }),
            (KeyFilter::all().unused_since(days_ago(90)), |key| {
                key.last_used_at().unwrap_or(key.created_at()) < days_ago(90)
            }),
            (KeyFilter::all().never_used(), |key| key.last_used_at().is_none()),
            (never_false, |key| key.last_used_at().is_some()),
            (KeyFilter::all().created_before(days_ago(1_995)), |key| {
                key.created_at() < days_ago(1_995)
            }),
            (KeyFilter::all().tag("ci"), |key| key.tags().any(|tag| tag == "ci")),
            (KeyFilter::all().tag("CI"), |_| false),
            (KeyFilter::all().text("nIGHTLY"), |key| key.name().to_lowercase().contains("nightly")),
            (KeyFilter::all().text("build machine"), |key| key.description().is_some()),
            (KeyFilter::all().text("%_"), |key| key.name() == "100%_x"),
            (KeyFilter::all().active(true).owner("ada").never_used().text("o"), |key| {
                let holds = |text: &str| text.contains('o');
                key.is_active()
                    && key.owner_id().as_str() == "ada"
                    && key.last_used_at().is_none()
                    && (holds(key.name()) || key.description().is_some_and(holds))
            }),
        ];
        let mut found = 0;
        for (filter, is_meant) in lines {
            let mut expected: Vec<KeyId> =
                all.iter().filter(|key| is_meant(key)).map(ApiKey::id).collect();
            found += expected.len();
            for limit in [1_u32, 3, 1_000] {
                let page = Page::first(limit);
                let listed = paged(&keys, &filter, page, limit as usize).await;
                assert_eq!(listed, expected, "{filter:?} by {limit}");
            }
            let newest = Page::first(4).newest_first();
            expected.reverse();
            assert_eq!(paged(&keys, &filter, newest, 4).await, expected, "{filter:?} backwards");
        }
        assert!(found > 150, "too little to tell: {found}");
    })
    .await;
}

// A filter's moment may have nanoseconds, and no store has: all read it alike.
// Negative control: without `to_the_microsecond`, the stores in memory differ from SQLite here.
#[tokio::test]
async fn a_filter_s_moments_count_to_the_microsecond_on_every_store() {
    on_each(stores::whole().await, async |setup| {
        let keys = setup.keys();
        let at = days_ago(3);
        let edit = |_: usize, key: ApiKey| {
            ApiKey::new(key.id(), *key.digest(), key.owner_id().clone(), at)
                .with_expires_at(Some(at))
                .with_last_used_at(Some(at))
        };
        seed(setup, "ada", 1, edit).await;
        let count =
            async |filter: KeyFilter| keys.list(filter, Page::default()).await.unwrap().keys.len();
        for nanos in [0, 1, 999] {
            let moment = at + TimeDelta::nanoseconds(nanos);
            assert_eq!(count(KeyFilter::all().expires_before(moment)).await, 0, "{nanos}");
            assert_eq!(count(KeyFilter::all().expires_from(moment)).await, 1, "{nanos}");
            assert_eq!(count(KeyFilter::all().unused_since(moment)).await, 0, "{nanos}");
            assert_eq!(count(KeyFilter::all().created_before(moment)).await, 0, "{nanos}");
        }
    })
    .await;
}

/// Past the end a page is empty, and says so by having no next one: an error there would make one of a
/// key that was deleted between two pages.
#[tokio::test]
async fn a_page_past_the_end_is_empty() {
    on_each(stores::whole().await, async |setup| {
        let keys = setup.keys();
        let all = seed(setup, "ada", 5, |_, key| key).await;
        let page = keys.list(KeyFilter::all(), Page::first(5)).await.unwrap();
        assert_eq!((page.keys.len(), page.next), (5, None), "exactly full, and the last");
        let last = Cursor::behind(page.keys[4].key());
        let far = Cursor { created_at: start() + TimeDelta::days(99), id: KeyId::random() };
        for cursor in [last, far] {
            let page = keys.list(KeyFilter::all(), Page::first(5).after(cursor)).await.unwrap();
            assert!(page.keys.is_empty() && page.next.is_none(), "{cursor:?}");
        }
        let backwards = Page::first(9).newest_first().after(far);
        assert_eq!(keys.list(KeyFilter::all(), backwards).await.unwrap().keys.len(), 5);
        // The cursor's own key goes, and the page behind it stays where it was.
        let first = keys.list(KeyFilter::all(), Page::first(2)).await.unwrap();
        let cursor = first.next.unwrap();
        let rest = keys.list(KeyFilter::all(), Page::first(9).after(cursor)).await.unwrap();
        keys.delete(cursor.id).await.unwrap();
        let again = keys.list(KeyFilter::all(), Page::first(9).after(cursor)).await.unwrap();
        assert_eq!(ids(&again), ids(&rest));
        for key in all {
            let _ = keys.delete(key.id()).await;
        }
        let again = keys.list(KeyFilter::all(), Page::first(9).after(cursor)).await.unwrap();
        assert!(again.keys.is_empty() && again.next.is_none());
    })
    .await;
}

// Negative control: without each of `limits::filter`'s questions its lines answer with an empty page.
#[tokio::test]
async fn a_filter_that_no_key_could_pass_is_refused_with_a_reason() {
    let keys = stores::whole().await.remove(0).keys();
    let (early, late) = (days_ago(2), days_ago(1));
    let contradictions = [
        (KeyFilter::all().expires_from(late).expires_before(early), "from a later moment"),
        (KeyFilter::all().expires_from(late).expires_before(late), "from a later moment"),
        (KeyFilter::all().owner("ada").owned_by("bob"), "a key has one owner"),
        (KeyFilter::all().owned_by("ada").owned_by("bob"), "a key has one owner"),
        (KeyFilter::all().owner("ada").shared_with("ada"), "shared with its own owner"),
        (KeyFilter::all().shared_with("ada").owned_by("ada"), "shared with its own owner"),
    ];
    for (filter, why) in contradictions {
        let error = keys.list(filter, Page::default()).await.unwrap_err();
        let said = error.to_string();
        assert!(error.is_invalid() && said.contains(why), "{why}: {said}");
        assert!(said.starts_with("this filter contradicts itself, as "), "{said}");
        assert!(said.ends_with(": leave a part of it out"), "{said}");
    }
    for (filter, why) in [
        (KeyFilter::all().tag(""), "a tag to look for is not empty"),
        (KeyFilter::all().text(""), "a text to look for is not empty"),
        (KeyFilter::all().text("x".repeat(256)), "at most 255 characters"),
        (KeyFilter::all().owner(""), "an owner's id has 1 to 128 bytes"),
        (KeyFilter::all().readable_by("x".repeat(129)), "an owner's id has 1 to 128 bytes"),
        (
            KeyFilter::all().digest(TokenDigest::of(DigestAlgorithm::Sha512, "a")),
            "keeps sha256 digests: look for one of those",
        ),
    ] {
        let error = keys.list(filter, Page::default()).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(why), "{why}: {error}");
    }
    // What only looks like one.
    for filter in [
        KeyFilter::all().owner("ada").owned_by("ada"),
        KeyFilter::all().owner("ada").shared_with("bob"),
        KeyFilter::all().readable_by("ada").manageable_by("bob").standing("ada", Relation::Owner),
        KeyFilter::all().never_used().unused_since(early),
    ] {
        assert!(keys.list(filter, Page::default()).await.is_ok());
    }
}

#[tokio::test]
async fn a_key_is_found_by_its_token_in_whatever_state_it_is() {
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        let expired = |key: ApiKey| key.with_active(false).with_expires_at(Some(days_ago(1)));
        let owner = Owner::staff("ada").with_active(false);
        let key = support::issue_with(&setup.rows, TOKEN, owner, expired).await;
        let pasted = [TOKEN.to_owned(), format!(" {TOKEN}\t\r\n"), format!("\u{b}{TOKEN}\u{c}")];
        for pasted in &pasted {
            assert_eq!(keys.find_by_token(pasted).await.unwrap().id(), key.id(), "{pasted:?}");
        }
        for other in ["", " ", "no-such-token", &TOKEN.to_uppercase(), &TOKEN[1..]] {
            let error = keys.find_by_token(other).await.unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert!(other.len() < 5 || !format!("{error:?} {error}").contains(other), "{error}");
        }
    })
    .await;
}

/// Blanks that no credential could have around it may be the token's own. Negative control: with
/// `trim`, which knows all of Unicode's blanks, it is not found.
#[tokio::test]
async fn a_token_of_odd_blanks_is_found() {
    let setup = stores::whole().await.remove(0);
    let odd = "\u{a0}odd\u{3000}";
    let key = support::issue_with(&setup.rows, odd, Owner::staff("ada"), |key| key).await;
    assert_eq!(setup.auth().authenticate(odd).await.unwrap().id(), key.id());
    assert_eq!(setup.keys().find_by_token(&format!(" {odd} ")).await.unwrap().id(), key.id());
}

#[tokio::test]
async fn a_leaked_token_is_revoked() {
    on_each(stores::all().await, async |setup| {
        let auth = setup.auth();
        let keys = auth.keys();
        let (key, token) = keys.create(Owner::staff("ada"), NewKey::default()).await.unwrap();
        let (other, other_token) = keys.create("ada", NewKey::default()).await.unwrap();
        for token in [&token, &other_token] {
            assert!(auth.authenticate(token.expose()).await.is_ok(), "cached from here on");
        }
        let pasted = format!("{}\n", token.expose());
        let revoked = keys.revoke_token(&pasted).await.unwrap();
        assert_eq!(revoked.id(), key.id());
        let refused = auth.authenticate(token.expose()).await.unwrap_err().kind();
        let again = keys.revoke_token(&pasted).await;
        if setup.can().activation {
            assert_eq!(refused, RejectionKind::KeyInactive);
            assert!(!revoked.key().is_active());
            assert!(!again.unwrap().key().is_active(), "again does no harm");
        } else {
            assert_eq!(refused, RejectionKind::Unknown);
            assert!(again.unwrap_err().is_not_found());
        }
        assert_eq!(auth.authenticate(other_token.expose()).await.unwrap().id(), other.id());
        let error = keys.revoke_token("no-such-token").await.unwrap_err();
        assert!(error.is_not_found() && !format!("{error:?}").contains("no-such"), "{error:?}");
    })
    .await;
}

// Negative control: with `<=` for `<` in `admits` and the SQL, the keys on the border are told of.
#[tokio::test]
async fn a_report_tells_of_active_keys_unused_unused_lately_and_old() {
    on_each(stores::all().await, async |setup| {
        let keys = setup.keys();
        if !setup.can().last_use {
            let error = keys.report(ReportSettings::default()).await.unwrap_err();
            assert!(error.is_unsupported(), "{error}");
            return;
        }
        let key = async |token: &str, made: i64, used: Option<i64>, micros: i64| {
            let late = TimeDelta::microseconds(micros);
            let edit = |key: ApiKey| {
                let (id, owner) = (key.id(), key.owner_id().clone());
                ApiKey::new(id, *key.digest(), owner, days_ago(made) + late)
                    .with_last_used_at(used.map(|days| days_ago(days) + late))
            };
            support::issue_with(&setup.rows, token, Owner::staff("ada"), edit).await.id()
        };
        let fresh = key("fresh", 1, Some(0), 0).await;
        let never = key("never", 2, None, 0).await;
        let unused = key("unused", 100, Some(90), -1).await;
        let border = key("border", 1_095, Some(90), 0).await;
        let old = key("old", 1_095, Some(1), -1).await;
        let all_three = key("all-three", 3_000, None, 0).await;
        let off = |key: ApiKey| key.with_active(false);
        support::issue_with(&setup.rows, "off", Owner::staff("ada"), off).await;

        let report = keys.report(ReportSettings::default()).await.unwrap();
        let set = |page: &KeyPage| ids(page).into_iter().collect::<BTreeSet<_>>();
        let mut never_used: BTreeSet<KeyId> = [never, all_three].into();
        if !setup.can().activation {
            never_used.insert(keys.find_by_token("off").await.unwrap().id());
        }
        assert_eq!(set(&report.never_used), never_used);
        assert_eq!(set(&report.unused), [unused].into());
        assert_eq!(set(&report.old), [old, all_three].into());
        assert_eq!((report.unused_since, report.old_before), (days_ago(90), days_ago(1_095)));
        let told = [&report.never_used, &report.unused, &report.old].map(set);
        assert!(told.iter().all(|page| !page.contains(&fresh) && !page.contains(&border)));

        let strict = ReportSettings::default().unused_for(0).older_than(2);
        let report = keys.report(strict).await.unwrap();
        assert_eq!(report.unused_since, start());
        assert_eq!(set(&report.unused), [unused, border, old].into());
        assert!(!set(&report.old).contains(&never), "on the border");
        assert!(set(&report.old).contains(&border));
    })
    .await;
}

// Negative control: with `now - span` in `report` it panics.
#[tokio::test]
async fn a_report_takes_any_number_of_days() {
    let setup = stores::whole().await.remove(0);
    let key = setup.keys().create(Owner::staff("ada"), NewKey::default()).await.unwrap().0;
    let ages = ReportSettings::default().unused_for(u32::MAX).older_than(u32::MAX);
    let report = setup.keys().report(ages).await.unwrap();
    assert_eq!(ids(&report.never_used), [key.id()]);
    assert!(report.unused.keys.is_empty() && report.old.keys.is_empty());
    assert_eq!(report.old_before, DateTime::UNIX_EPOCH);
}

/// What does not fit on a report's page is listed by the filter that stands at it.
#[tokio::test]
async fn a_report_s_page_goes_on() {
    let setup = stores::whole().await.remove(0);
    let keys = setup.keys();
    seed(&setup, "ada", Page::MAX as usize + 7, |_, key| key).await;
    setup.clock.advance(Duration::from_secs(1_200 * 24 * 3_600));
    let report = keys.report(ReportSettings::default()).await.unwrap();
    for (page, filter) in [
        (report.never_used, KeyFilter::all().active(true).never_used()),
        (report.old, KeyFilter::all().active(true).created_before(report.old_before)),
    ] {
        assert_eq!(page.keys.len(), Page::MAX as usize);
        let rest = Page::first(Page::MAX).after(page.next.unwrap());
        assert_eq!(keys.list(filter, rest).await.unwrap().keys.len(), 7);
    }
    let too_many = keys.list(KeyFilter::all(), Page::first(u32::MAX)).await.unwrap();
    assert_eq!(too_many.keys.len(), Page::MAX as usize);
}
