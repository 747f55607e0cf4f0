//! Another program on a SQLite database: the sqlite3 shell, or Python's module of SQLite.

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

/// Runs statements.
pub(crate) fn run(database: &Path, sql: &str) {
    let script = "import sqlite3, sys\n\
                  c = sqlite3.connect(sys.argv[1])\n\
                  c.executescript(sys.argv[2])\n\
                  c.commit()";
    either(database, sql, script, sql);
}

/// Restores `backup` into the very file of the database, as `.restore` does.
pub(crate) fn restore(database: &Path, backup: &Path) {
    let backup = backup.to_str().expect("a test's path");
    let script = "import sqlite3, sys\n\
                  sqlite3.connect(sys.argv[2]).backup(sqlite3.connect(sys.argv[1]))";
    either(database, &format!(".restore '{backup}'"), script, backup);
}

/// Waits for locks, as a person would try again.
fn either(database: &Path, command: &str, script: &str, argument: &str) {
    let mut sqlite3 = Command::new("sqlite3");
    let shell = sqlite3.args(["-bail", "-cmd", ".timeout 5000"]).arg(database).arg(command);
    let output = match shell.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Command::new("python3").args(["-c", script]).arg(database).arg(argument).output()
        }
        output => output,
    };
    let output: Output = output.expect("neither sqlite3 nor python3 can be run");
    assert!(output.status.success(), "{output:?}");
}
