//! The same request through `tower-token-auth` and through what people use instead.
//!
//! ```text
//! cargo run --release                        # everything, as Markdown
//! cargo run --release -- in-process threads  # some of it; the third is `http`
//! cargo run --release -- --write             # everything, and into this folder's README
//! cargo run --release -- --smoke             # a few rounds: it shows that it runs, nothing else
//! ```

mod contender;
mod contenders;
mod http_load;
mod in_process;
mod setting;
// The very statistics of the report, so that the intervals mean the same.
#[path = "../../report/statistics.rs"]
mod statistics;
mod table;
mod threads;
mod time;

use std::{env, process::ExitCode};

use contender::Contender;
use setting::Setting;

/// A part of the report: its name, and what measures it and tells it as Markdown.
type Part = (&'static str, fn(&Setting, &[Contender], Effort) -> String);

const PARTS: [Part; 3] =
    [("in-process", in_process::report), ("threads", threads::report), ("http", http_load::report)];

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Full,
    Smoke,
}

impl Effort {
    pub(crate) fn rounds(self, full: usize) -> usize {
        if self == Self::Full { full } else { 3 }
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == http_load::SERVE).is_some() {
        return http_load::serve(&arguments.next().unwrap_or_default());
    }
    let (mut effort, mut writes, mut chosen) = (Effort::Full, false, Vec::new());
    for argument in arguments {
        match (argument.as_str(), PARTS.iter().find(|part| part.0 == argument)) {
            ("--smoke", _) => effort = Effort::Smoke,
            ("--write", _) => writes = true,
            (_, Some(part)) => chosen.push(*part),
            (other, None) => {
                eprintln!("rivals: no part is called `{other}`; see the head of src/main.rs");
                return ExitCode::FAILURE;
            }
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("rivals: without --release, these figures say nothing");
    }
    let setting = Setting::prepare();
    let _inside = setting.runtime.enter();
    let contenders = contenders::all(&setting);
    for contender in &contenders {
        setting.runtime.block_on(contender.check());
    }
    let mut page = table::machine();
    let parts = if chosen.is_empty() { PARTS.to_vec() } else { chosen };
    for (_, report) in parts {
        page.push_str(&report(&setting, &contenders, effort));
    }
    print!("{page}");
    if writes {
        table::write_into_readme(&page);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who admits what it should not is no rival.
    #[test]
    fn every_contender_admits_the_good_and_refuses_the_rest() {
        let setting = Setting::prepare();
        let _inside = setting.runtime.enter();
        for contender in contenders::all(&setting) {
            setting.runtime.block_on(contender.check());
        }
    }
}
