//! What it says of wrong input, and what it shows on a terminal.

use std::process::Command;

use super::{Target, counted, migrate};
use crate::{
    examples::command,
    support::site::{Kind, Site},
};

fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn wrong_input_is_told_and_changes_nothing() {
    let target = Target::file();
    let site = Site::new(Kind::Sqlite, false).await.unwrap();
    let empty = Site::empty(Kind::Sqlite).await.unwrap();
    let wrong: [(&[&str], &str); 11] = [
        (&[], "--from names no database"),
        (&["--from", &site.url], "--to names no database"),
        (&["--from"], "--from needs a value"),
        (&["--from", "--dry-run"], "--from needs a value"),
        (&["postgres://u:s3cret@h/d"], "usage: migrate"),
        (&["--from", "redis://u:s3cret@h/d", "--to", "x.db"], "no URL of `postgres://`"),
        (&["--from", &site.url, "--to", "mysql://u:s3cret@h/d"], "--to is no URL of postgres://"),
        (&["--from", &site.url, "--to", "x.db", "--time-zone", "Rome"], "`Rome` is no zone"),
        (&["--from", &site.url, "--to", "no/such/folder.db"], "check what --to names"),
        (&["--from", "no-such.db", "--to", "x.db"], "no-such.db`: unable to open"),
        (&["--from", &empty.url, "--to", "x.db"], "there is no table `knox_authtoken`"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (arguments, reason) in wrong {
        let mut command = command("migrate");
        command.env_remove("MIGRATE_FROM").env_remove("MIGRATE_TO").current_dir(folder.path());
        let told = told(command.args(arguments));
        assert!(told.starts_with("migrate: ") && told.contains(reason), "{reason}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // Its tables know tokens by another hash.
    let _ = tower_token_auth::SqliteStore::open(target.url()).await.unwrap();
    let told = told(&mut migrate(&site.url, &target, &[]));
    assert!(told.contains("sha512") && told.contains("sha256"), "{told}");
}

/// On a terminal there is a progress bar.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn progress_is_shown_on_a_terminal() {
    let site = Site::new(Kind::Sqlite, false).await.unwrap();
    let target = Target::file();
    site.users(&[1]).await;
    site.token(&"a".repeat(128), 1, "NULL").await;
    let program = migrate(&site.url, &target, &[]);
    let mut script = Command::new("script");
    script.args(["-qec", program.get_program().to_str().unwrap(), "/dev/null"]);
    super::with(&mut script, &site.url, &target, &[]);
    let output = script.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\r[####") && printed.contains("] 1 of 1 rows"), "{printed}");
    assert_eq!(counted(&printed, "moved"), 1);
}
