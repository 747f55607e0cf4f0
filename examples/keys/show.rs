//! Reads the filters of a listing, and prints keys.

use std::{error::Error, time::SystemTime};

use chrono::{DateTime, Duration, Utc};
use tower_token_auth::{KeyFilter, KeyManager, KeyReport, Page, Record, Token};

/// `owner=ada unused=90` and so on.
pub(crate) fn filter(words: &[&str]) -> Result<KeyFilter, String> {
    #[expect(clippy::disallowed_methods, reason = "the library reads time through a clock")]
    let now = DateTime::<Utc>::from(SystemTime::now());
    let mut filter = KeyFilter::all();
    for word in words {
        let days = |text: &str| {
            let days = text.parse().ok().map(|days: u16| Duration::days(days.into()));
            days.ok_or_else(|| format!("`{word}`: give a number of days"))
        };
        filter = match word.split_once('=') {
            Some(("owner", id)) => filter.owner(id),
            Some(("active", flag)) => {
                filter.active(flag.parse().map_err(|_| format!("`{word}`: say true or false"))?)
            }
            Some(("expiring", text)) => filter.expires_before(now + days(text)?),
            Some(("unused", text)) => filter.unused_since(now - days(text)?),
            Some(("tag", tag)) => filter.tag(tag),
            Some(("text", text)) => filter.text(text),
            _ => return Err(format!("`{word}` is no filter\n{}", super::USAGE)),
        };
    }
    Ok(filter)
}

/// A key, and its token this once.
pub(crate) fn issued(what: &str, (record, token): &(Record, Token)) {
    println!("{what} {} ({})", record.name(), record.id());
    println!("its token, shown this once: {}", token.expose());
}

pub(crate) async fn list(keys: &KeyManager, filter: &KeyFilter) -> Result<(), Box<dyn Error>> {
    let mut page = keys.list(filter.clone(), Page::default()).await?;
    head();
    loop {
        page.keys.iter().for_each(row);
        let Some(next) = page.next else { return Ok(()) };
        page = keys.list(filter.clone(), Page::default().after(next)).await?;
    }
}

pub(crate) fn report(report: &KeyReport) {
    let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    let unused = format!("not used since {}", day(report.unused_since));
    let old = format!("made before {}", day(report.old_before));
    let never = ("never used", &report.never_used);
    for (what, page) in [never, (&unused, &report.unused), (&old, &report.old)] {
        let more = if page.next.is_some() { " or more" } else { "" };
        println!("{} active keys{more} {what}", page.keys.len());
        if !page.keys.is_empty() {
            head();
            page.keys.iter().for_each(row);
        }
    }
}

fn head() {
    let [id, name, owner, expires] = ["id", "name", "owner", "expires_at"];
    println!("{id:<36}  {name:<20}  {owner:<10}  digest    is_active  {expires:<19}  last_used_at");
}

fn row(record: &Record) {
    let key = record.key();
    let time = |at: Option<DateTime<Utc>>| {
        at.map_or("never".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
    };
    let (id, name, owner) = (key.id().to_string(), key.name(), key.owner_id().as_str());
    let (digest, is_active) = (key.identifier(), key.is_active());
    let (expires, used) = (time(key.expires_at()), time(key.last_used_at()));
    println!("{id:<36}  {name:<20}  {owner:<10}  {digest}  {is_active:<9}  {expires:<19}  {used}");
}
