//! What goes wrong when a database is opened: one line each, that says what to do.

use std::{fs, path::Path};

use tower_token_auth::{
    DigestAlgorithm, SqliteOptions, SqliteStore,
    store::{KeyRepository as _, KeyStore as _, KeyUse},
};

use super::{Database, digest_of, key_of};

async fn complaint(location: impl AsRef<Path>) -> String {
    complaint_of(SqliteStore::options(), location).await
}

async fn complaint_of(options: SqliteOptions, location: impl AsRef<Path>) -> String {
    let error = options.open(location).await.expect_err("it can't be opened");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "one line: {line}");
    assert!(!error.is_definite() && !error.is_unavailable(), "{error:?}");
    line
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing in: {line}");
    }
}

#[tokio::test]
async fn a_location_that_names_no_database() {
    let database = Database::new();
    says(&complaint("").await, &["empty", "name a file"]);
    says(&complaint("postgres://u:secret@host/db").await, &["name a file", "`sqlite:`"]);
    assert!(!complaint("postgres://u:secret@host/db").await.contains("secret"));
    says(&complaint("sqlite:x.db?mode=nonsense").await, &["URL", "nonsense"]);
    says(&complaint(database.folder.path()).await, &["is a folder", "name a file in it"]);
    let missing = database.folder.path().join("no/such/keys.db");
    says(&complaint(&missing).await, &["no/such/keys.db", "create the folder"]);
    let url = format!("sqlite:{}?mode=ro", database.path.display());
    says(&complaint(url).await, &["no such file", "leave out `mode`"]);
    assert!(!database.path.exists(), "nothing was made");
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let database = Database::new();
    let text = "This is a letter, and not a database.\n".repeat(100);
    fs::write(&database.path, &text).unwrap();
    says(&complaint(&database.path).await, &["keys.db", "not a SQLite database", "another file"]);
    assert_eq!(fs::read_to_string(&database.path).unwrap(), text, "it was left alone");
}

#[tokio::test]
async fn a_database_of_a_newer_release() {
    let database = Database::with_a_key().await;
    let sql = "INSERT INTO token_auth_migrations VALUES (99, 0)";
    sqlx::query(sql).execute(&mut database.connection().await).await.unwrap();
    says(&complaint(&database.path).await, &["version 99", "use the release that made them"]);
    let pool = SqliteStore::from_pool(database.pool().await).await;
    says(&pool.unwrap_err().to_string(), &["version 99"]);
}

#[tokio::test]
async fn a_database_of_another_algorithm() {
    let database = Database::with_a_key().await;
    let sha512 = SqliteStore::options().digest_algorithm(DigestAlgorithm::Sha512);
    let line = complaint_of(sha512, &database.path).await;
    says(&line, &["keeps sha256 digests", "sha512 was asked for", "leave the algorithm out"]);
    let sql = "UPDATE token_auth_settings SET value = 'md5'";
    sqlx::query(sql).execute(&mut database.connection().await).await.unwrap();
    says(&complaint(&database.path).await, &["token_auth_settings", "missing or unknown"]);
}

#[tokio::test]
async fn tables_of_somebody_else_s() {
    let database = Database::new();
    let sql = "CREATE TABLE token_auth_keys (a)";
    sqlx::query(sql).execute(&mut database.connection().await).await.unwrap();
    says(&complaint(&database.path).await, &["token_auth_keys", "table prefix"]);
    let bad = SqliteStore::options().table_prefix("bad-prefix").unwrap_err();
    says(&bad.to_string(), &["table prefix", "choose 1 to 32 ASCII letters"]);
}

#[tokio::test]
async fn a_database_that_stays_locked() {
    use sqlx::Connection as _;
    let database = Database::new();
    let mut other = database.connection().await;
    let _lock = other.begin_with("BEGIN EXCLUSIVE").await.unwrap();
    let options = SqliteStore::options().busy_timeout(std::time::Duration::from_millis(1));
    says(&complaint_of(options, &database.path).await, &["locked", "busy timeout"]);
}

/// `mode=ro` and `immutable=1`: authentication goes on, changes are refused for what they are.
#[tokio::test]
async fn a_database_opened_for_reading_authenticates() {
    let database = Database::with_a_key().await;
    for parameter in ["mode=ro", "immutable=1"] {
        let url = format!("sqlite:{}?{parameter}", database.path.display());
        let store = SqliteStore::open(url).await.unwrap();
        reads_and_does_not_write(&store).await;
    }
    let empty = Database::new();
    drop(empty.connection().await);
    let url = format!("sqlite:{}?mode=ro", empty.path.display());
    says(&complaint(url).await, &["read-only", "tables are missing", "writable"]);
}

async fn reads_and_does_not_write(store: &SqliteStore) {
    let key = store.find(digest_of("t")).await.unwrap().expect("it is found").key().clone();
    assert_eq!(store.find_many(&[digest_of("t")]).await.unwrap().len(), 1);
    let at = key.created_at();
    let key_use = KeyUse { key: key.id(), digest: *key.digest(), at, if_before: at };
    assert!(store.record_uses(&[key_use]).await.unwrap_err().is_unsupported());
    let owner = tower_token_auth::Owner::staff("ada");
    let answer = store.insert(key_of("u"), owner, None, &mut |_, _| true).await;
    assert!(answer.unwrap_err().is_unsupported());
    assert!(crate::support::remove(store, key.id()).await.unwrap_err().is_unsupported());
}

/// File modes mean nothing to root, so that root runs this test once more as nobody.
#[cfg(unix)]
#[tokio::test]
async fn what_the_file_system_forbids() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let probe = tempfile::NamedTempFile::new().unwrap();
    mode(probe.path(), 0o000);
    if fs::File::open(probe.path()).is_ok() {
        let name = "sqlite::bad_input::what_the_file_system_forbids";
        let mut nobody = std::process::Command::new(std::env::current_exe().unwrap());
        nobody.args(["--exact", name, "--nocapture"]).uid(65_534).gid(65_534);
        match nobody.current_dir("/").output() {
            Err(error) => println!("SKIPPED {name}: nobody can't run the tests here: {error}"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                let failed = String::from_utf8_lossy(&output.stderr);
                assert!(said.contains("1 passed"), "as nobody: {said}\n{failed}");
            }
        }
        return;
    }

    let unreadable = Database::with_a_key().await;
    mode(&unreadable.path, 0o000);
    says(&complaint(&unreadable.path).await, &["can't be read", "permissions"]);

    let new = Database::new();
    mode(new.folder.path(), 0o555);
    says(&complaint(&new.path).await, &["folder can't be written", "make it writable"]);
    mode(new.folder.path(), 0o755);

    let closed = Database::with_a_key().await;
    mode(closed.folder.path(), 0o555);
    says(&complaint(&closed.path).await, &["folder", "immutable=1"]);
    let url = format!("sqlite:{}?immutable=1", closed.path.display());
    reads_and_does_not_write(&SqliteStore::open(url).await.unwrap()).await;
    mode(closed.folder.path(), 0o755);

    let read_only = Database::with_a_key().await;
    mode(&read_only.path, 0o444);
    reads_and_does_not_write(&SqliteStore::open(&read_only.path).await.unwrap()).await;

    let empty = Database::new();
    fs::write(&empty.path, "").unwrap();
    mode(&empty.path, 0o444);
    says(&complaint(&empty.path).await, &["read-only", "tables are missing", "writable"]);
}
