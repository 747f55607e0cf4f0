//! Reads the filters of a listing, and prints keys.

use std::{error::Error, time::SystemTime};

use chrono::{DateTime, Duration, Utc};
use tower_token_auth::{KeyFilter, KeyManager, KeyReport, Page, Record};

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
            Some(("active", "true")) => filter.active(true),
            Some(("active", "false")) => filter.active(false),
            Some(("expiring", text)) => filter.expires_before(now + days(text)?),
            Some(("unused", text)) => filter.unused_since(now - days(text)?),
            Some(("tag", tag)) => filter.tag(tag),
            Some(("text", text)) => filter.text(text),
            _ => return Err(format!("`{word}` is no filter\n{}", super::USAGE)),
        };
    }
    Ok(filter)
}

pub(crate) async fn list(keys: &KeyManager, filter: &KeyFilter) -> Result<(), Box<dyn Error>> {
    head();
    let mut page = Some(Page::default());
    while let Some(wanted) = page {
        let listed = keys.list(filter.clone(), wanted).await?;
        listed.keys.iter().for_each(row);
        page = listed.next.map(|next| Page::default().after(next));
    }
    Ok(())
}

pub(crate) fn report(report: &KeyReport) {
    let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    let unused = format!("not used since {}", day(report.unused_since));
    let old = format!("made before {}", day(report.old_before));
    let parts =
        [("never used", &report.never_used), (&unused, &report.unused), (&old, &report.old)];
    for (what, page) in parts {
        let more = if page.next.is_some() { " or more" } else { "" };
        println!("{} active keys{more} {what}", page.keys.len());
        if !page.keys.is_empty() {
            head();
            page.keys.iter().for_each(row);
        }
    }
}

fn head() {
    println!(
        "{:<36}  {:<20}  {:<10}  {:<8}  {:<9}  {:<19}  last_used_at",
        "id", "name", "owner", "digest", "is_active", "expires_at"
    );
}

fn row(record: &Record) {
    let key = record.key();
    let time = |at: Option<DateTime<Utc>>| {
        at.map_or("never".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
    };
    let (id, owner) = (key.id().to_string(), key.owner_id().as_str());
    let (expires_at, last_used_at) = (time(key.expires_at()), time(key.last_used_at()));
    let (digest, is_active) = (key.identifier(), key.is_active());
    let name = key.name();
    println!(
        "{id:<36}  {name:<20}  {owner:<10}  {digest:<8}  {is_active:<9}  {expires_at:<19}  \
         {last_used_at}"
    );
}
