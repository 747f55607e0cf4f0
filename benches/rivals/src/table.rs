//! Markdown: tables, the machine, and the README's part that is measured.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use crate::statistics::Estimate;

pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let mut table = Self(format!("\n### {title}\n\n"));
        table.row(columns);
        let rule = columns.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" });
        table.row(&rule.collect::<Vec<_>>());
        table
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A value and its 95 % interval.
pub(crate) fn interval(Estimate { value, low, high }: Estimate, digits: usize) -> String {
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// What was measured on, and by which compiler's work.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    format!(
        "{}, {cores} cores, load {load} at the start; {}.\n",
        model.unwrap_or("an unknown processor"),
        rustc.unwrap_or_default().split(" (").next().unwrap_or_default(),
    )
}

const MARK: &str = "<!-- Below: what was measured last, by `cargo run --release -- --write`. -->\n";

/// Replaces all that follows the README's mark.
pub(crate) fn write_into_readme(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).expect("the README is beside the manifest");
    let (above, _) = text.split_once(MARK).expect("the README has its mark");
    fs::write(&path, format!("{above}{MARK}{page}")).expect("the README can be written");
}
