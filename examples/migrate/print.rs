//! Prints a report.

use std::time::Duration;

use super::report::Report;

impl Report {
    pub(crate) fn print(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        println!(
            "{:?}: {} rows, of which {} were looked at in {seconds:.1} s",
            self.kind,
            self.total,
            self.seen()
        );
        let would = if self.is_dry { "would be moved" } else { "moved" };
        println!("{:>9} {would}", self.moved);
        self.notes.iter().for_each(|(note, count)| println!("{count:>18} {note}"));
        println!("{:>9} there already, and left as they are", self.there);
        println!("{:>9} not moved", self.left.values().map(|(count, _)| count).sum::<u64>());
        for (reason, (count, named)) in &self.left {
            let named = if named.is_empty() {
                String::new()
            } else {
                format!(" ({}…)", named.join(", "))
            };
            println!("{count:>18} {reason}{named}");
        }
    }
}
