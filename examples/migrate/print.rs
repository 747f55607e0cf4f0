//! Prints a report.

use std::time::Duration;

use super::report::Report;

impl Report {
    pub(crate) fn print(&self, elapsed: Duration) {
        let (total, seen, left) = (self.total, self.seen(), self.left.values());
        println!("{:?}: {seen} of {total} rows in {:.1} s", self.kind, elapsed.as_secs_f64());
        let would = if self.is_dry { "would be moved" } else { "moved" };
        println!("{:>9} {would}", self.moved);
        self.notes.iter().for_each(|(note, count)| println!("{count:>18} {note}"));
        println!("{:>9} there already, and left as they are", self.there);
        println!("{:>9} not moved", left.map(|(count, _)| count).sum::<u64>());
        for (reason, (count, named)) in &self.left {
            let more = if *count > named.len() as u64 { ", …" } else { "" };
            let named = match named.is_empty() {
                true => String::new(),
                false => format!(": {}{more}", named.join(", ")),
            };
            println!("{count:>18} {reason}{named}");
        }
        if let Some(unseen) = total.checked_sub(seen).filter(|unseen| *unseen > 0) {
            println!(
                "{unseen:>9} not seen: not reached, gone meanwhile, or of a digest that is no text"
            );
        }
    }
}
