//! Prints a report.

use std::time::Duration;

use tower_token_auth::Record;

use super::report::Report;

/// Of the rows that were left for one reason, so many are named.
const NAMED: usize = 3;

impl Report {
    pub(crate) fn print(&self, elapsed: Duration) {
        let (total, seen, left) = (self.total, self.seen(), self.left.values());
        println!("{:?}: {seen} of {total} rows in {:.1} s", self.kind, elapsed.as_secs_f64());
        let would = if self.is_dry { "would be moved" } else { "moved" };
        println!("{:>9} {would}", self.moved);
        self.notes.iter().for_each(|(note, count)| println!("{count:>18} {note}"));
        println!("{:>9} there already, and left as they are", self.there);
        if self.ended.0 > 0 {
            println!(
                "{}",
                line("ended at Django since, and good here: end them here", &self.ended)
            );
        }
        println!("{:>9} not moved", left.map(|(count, _)| count).sum::<u64>());
        self.left.iter().for_each(|(reason, rows)| println!("{}", line(reason, rows)));
        if let Some(unseen) = total.checked_sub(seen).filter(|unseen| *unseen > 0) {
            println!(
                "{unseen:>9} not seen: not reached, gone meanwhile, or of a digest that is no text"
            );
        }
    }
}

fn line(what: &str, (count, named): &(u64, Vec<String>)) -> String {
    let more = if *count > named.len() as u64 { ", …" } else { "" };
    let named = match named.is_empty() {
        true => String::new(),
        false => format!(": {}{more}", named.join(", ")),
    };
    format!("{count:>18} {what}{named}")
}

/// Counts a row, and names the first ones.
pub(crate) fn name((count, named): &mut (u64, Vec<String>), record: Option<&Record>) {
    *count += 1;
    named.extend(record.filter(|_| named.len() < NAMED).map(|record| {
        // A name may hold anything, and a terminal obeys some of it.
        let username = record.owner().username().escape_debug();
        format!("{} of {username}", record.key().identifier())
    }));
}
