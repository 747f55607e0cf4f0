//! Moves the tokens of a Django — knox's, Smarter's or DRF's own — into this crate's tables, where they
//! go on working. Ended on the way, it is started again: what is there is left as it is. A key that was
//! deleted there meanwhile comes back by that, unless Django has deleted it as well.
//! One that was ended at Django since is told, to be ended there; of one that Django has deleted since,
//! nothing is seen: so have Django log nobody out between the first run and the last.
//!
//! `cargo run --release --example migrate --features full -- --from mysql://… --to keys.db --dry-run`

mod arguments;
mod bar;
mod file;
mod key;
mod moving;
mod print;
mod report;
mod target;
mod task;
mod there;

use std::{env, error::Error, process::ExitCode};

use tower_token_auth::{KnoxStore, store::TokenTable};

use self::{arguments::Arguments, bar::Bar, report::Report, target::Target};

/// Rows that are read at a time: few enough to be nothing in memory, many enough that reading is nothing.
const PAGE: u32 = 500;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("migrate: {}", told(&*error));
    ExitCode::FAILURE
}

/// An error with all that lies behind it.
fn told(error: &(dyn Error + 'static)) -> String {
    error.source().map_or(error.to_string(), |cause| format!("{error}: {}", told(cause)))
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(env::args().skip(1), |name| env::var(name).ok())?;
    let tables = arguments.options(KnoxStore::options())?.token_tables(&arguments.from).await?;
    let target = Target::open(&arguments.to, arguments.is_dry).await?;
    let moved = async {
        for table in &tables {
            move_all(table, &target).await?;
        }
        Ok(())
    };
    let moved = moved.await;
    target.close().await?;
    if arguments.is_dry {
        println!("This was a dry run: nothing was written.");
    }
    if moved.is_err() {
        eprintln!("migrate: what is moved stays moved; run it again for the rest");
    }
    moved
}

async fn move_all(table: &TokenTable, target: &Target) -> Result<(), Box<dyn Error>> {
    let mut report = Report::new(table.kind(), table.count().await?, target.is_dry);
    let bar = Bar::new(report.total);
    let moved = async {
        let mut after = None;
        loop {
            let page = table.page(after.as_ref(), PAGE).await?;
            after = page.next.clone();
            moving::all(page, target, &mut report).await?;
            bar.show(report.seen());
            if after.is_none() {
                return Ok(());
            }
        }
    };
    let moved = moved.await;
    report.print(bar.end());
    moved
}
