//! A Django site with real knox in it, or with Smarter's tables: a process of its own, driven by a line
//! for each order, over a database that goes with it.

use std::{
    env, fmt,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
    thread,
};

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_token_auth::KeyId;

use super::http::Answer;

/// Where the site keeps its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Sqlite,
    Postgres,
    MariaDb,
}

/// Which tables they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// django-rest-knox's alone.
    Knox,
    /// Smarter's beside them, and its authentication behind knox's.
    Smarter,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MariaDb];
}

impl Schema {
    pub(crate) const BOTH: [Self; 2] = [Self::Knox, Self::Smarter];
}

/// The site. Orders that fail panic, but for those that `refused` gives.
pub(crate) struct Django {
    /// The database, as sqlx takes it.
    pub(crate) url: String,
    lines: Mutex<Lines>,
    process: Child,
    _folder: Option<TempDir>,
}

struct Lines {
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A key that Django made.
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) digest: String,
    /// Its columns, by their names.
    pub(crate) row: Value,
}

/// Why Django did not do as it was told: Python's exception, and its message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) kind: String,
    pub(crate) message: String,
}

impl Django {
    /// With every default; `None`, and a line that says why, where something that it needs is missing.
    pub(crate) fn new(place: Place, schema: Schema) -> Option<Self> {
        Self::with(place, schema, &[])
    }

    /// With some of the settings that `oracle/settings.py` takes from the environment.
    pub(crate) fn with(
        place: Place,
        schema: Schema,
        settings: &[(&'static str, &str)],
    ) -> Option<Self> {
        let python = named("TEST_DJANGO_PYTHON", "no Python with Django")?;
        let name = format!("t_{}", KeyId::random().as_uuid().simple());
        let (url, folder) = match place {
            Place::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite://{}", folder.path().join("django.db").display()), Some(folder))
            }
            Place::Postgres => {
                let server = named("TEST_DATABASE_URL", "no PostgreSQL server")?;
                (with_database(&server, &name), None)
            }
            Place::MariaDb => {
                let server = named("TEST_MYSQL_URL", "no MariaDB server")?;
                (with_database(&server, &name), None)
            }
        };
        let schema = match schema {
            Schema::Knox => "knox",
            Schema::Smarter => "smarter",
        };
        let mut process = Command::new(python)
            .args(["-m", "oracle.control"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django"))
            // What Python would keep beside its sources.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ORACLE_DATABASE_URL", &url)
            .env("ORACLE_SCHEMA", schema)
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("TEST_DJANGO_PYTHON names no program");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut lines = Lines { orders, answers };
        assert_eq!(lines.answer(), Ok(json!("ready")));
        Some(Self { url, lines: Mutex::new(lines), process, _folder: folder })
    }

    /// Makes an active user without any rights.
    pub(crate) fn user(&self, username: &str) -> i64 {
        self.user_with(username, json!({}))
    }

    /// Makes a user with these fields, such as `password` or `is_staff`.
    pub(crate) fn user_with(&self, username: &str, fields: Value) -> i64 {
        id(&self.order("user", with(fields, json!({ "username": username }))))
    }

    /// Makes a staff user who is a member of an account of Smarter's; gives the ids of user and profile.
    pub(crate) fn member(&self, username: &str, account: i64) -> (i64, i64) {
        let user = self.user_with(username, json!({ "is_staff": true }));
        (user, self.profile(user, account))
    }

    pub(crate) fn account(&self, account_number: &str) -> i64 {
        id(&self.order("account", json!({ "account_number": account_number })))
    }

    pub(crate) fn profile(&self, user: i64, account: i64) -> i64 {
        id(&self.order("profile", json!({ "user": user, "account": account })))
    }

    /// Saves a user's fields through the ORM.
    pub(crate) fn change_user(&self, id: impl Into<Value>, fields: Value) {
        self.order("change_user", with(fields, json!({ "id": id.into() })));
    }

    /// Has knox, or Smarter, make a key with every default.
    pub(crate) fn issue(&self, user: impl Into<Value>) -> Issued {
        self.issue_with(user, json!({}))
    }

    /// Makes a key; `expiry` is in seconds from now.
    pub(crate) fn issue_with(&self, user: impl Into<Value>, fields: Value) -> Issued {
        issued(self.order("issue", with(fields, json!({ "user": user.into() }))))
    }

    /// Has knox, or Smarter, make so many keys, for each of the users in turn; gives the tokens.
    pub(crate) fn issue_many(&self, users: &[i64], count: u32) -> Vec<String> {
        let tokens = list(self.order("issue_many", json!({ "users": users, "count": count })));
        tokens.iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    }

    /// Saves a key for this token, as knox would have: knox makes random ones alone. `expiry` is a moment.
    pub(crate) fn plant(&self, user: impl Into<Value>, token: &str, fields: Value) -> Issued {
        let more = json!({ "user": user.into(), "token": token });
        issued(self.order("plant", with(fields, more)))
    }

    /// The key's columns, as the ORM reads them.
    pub(crate) fn key(&self, digest: &str) -> Option<Value> {
        Some(self.order("key", json!({ "digest": digest }))).filter(|row| !row.is_null())
    }

    /// The columns of all keys, the oldest first.
    pub(crate) fn keys(&self) -> Vec<Value> {
        list(self.order("keys", json!({})))
    }

    pub(crate) fn delete_key(&self, digest: &str) {
        self.order("delete_key", json!({ "digest": digest }));
    }

    /// Reads the key and saves it whole, with these fields.
    pub(crate) fn change_key(&self, digest: &str, fields: Value) {
        self.order("change_key", with(fields, json!({ "digest": digest })));
    }

    /// Calls one of the model's own methods, such as `deactivate`.
    pub(crate) fn call_key(&self, digest: &str, method: &str) {
        self.order("call_key", json!({ "digest": digest, "method": method }));
    }

    /// Reads the key and keeps the object, which can become stale: for [`Self::save`].
    pub(crate) fn load(&self, digest: &str) -> i64 {
        id(&self.order("load", json!({ "digest": digest })))
    }

    /// Saves an object that was kept, with these fields.
    pub(crate) fn save(&self, held: i64, fields: Value) {
        self.order("save", with(fields, json!({ "held": held })));
    }

    /// Runs statements past the ORM, all on one connection; gives the rows of the last.
    pub(crate) fn sql(&self, statements: &[&str]) -> Vec<Vec<Value>> {
        let rows = list(self.order("sql", json!({ "statements": statements })));
        rows.into_iter().map(list).collect()
    }

    /// Asks the site who sends this `Authorization`, in its own process and so by its clock.
    pub(crate) fn whoami(&self, authorization: Option<&[u8]>) -> Answer {
        self.request("GET", "/whoami", authorization)
    }

    /// One request through Django's whole stack, in its own process and so by its clock.
    pub(crate) fn request(&self, method: &str, path: &str, authorization: Option<&[u8]>) -> Answer {
        // Latin-1, as WSGI hands over what it was sent.
        let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let authorization = authorization.map(text);
        let request = json!({ "method": method, "path": path, "authorization": authorization });
        let answer = self.order("request", request);
        let mut headers = HeaderMap::new();
        for field in list(answer["headers"].clone()) {
            let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let status = u16::try_from(id(&answer["status"])).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let body = answer["body"].as_str().unwrap().to_owned();
        Answer { status, headers, body, rejection: None }
    }

    /// Stops the clock of Django's process, though not of a server that it started.
    pub(crate) fn stop_clock(&self, now: DateTime<Utc>) {
        let now = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        self.order("clock", json!({ "now": now }));
    }

    /// Sets knox's settings in Django's process, durations in seconds; the rest have their defaults.
    pub(crate) fn set_knox(&self, settings: Value) {
        self.order("knox", settings);
    }

    /// Serves the site by gunicorn with two workers, until it is dropped; gives the port.
    pub(crate) fn serve(&self) -> u16 {
        u16::try_from(id(&self.order("serve", json!({})))).unwrap()
    }

    /// Serves it with other settings of knox's.
    pub(crate) fn serve_with(&self, knox: Value) -> u16 {
        let mut arguments = json!({});
        arguments["knox"] = knox;
        u16::try_from(id(&self.order("serve", arguments))).unwrap()
    }

    /// Gives any order of `oracle/control.py`.
    pub(crate) fn order(&self, name: &str, arguments: Value) -> Value {
        self.refused(name, arguments).unwrap_or_else(|refused| panic!("{name}: {refused}"))
    }

    /// Gives an order that Django may refuse.
    pub(crate) fn refused(&self, name: &str, arguments: Value) -> Result<Value, Refused> {
        let mut order = json!({ "do": name });
        order["with"] = arguments;
        let mut lines = self.lines.lock().unwrap();
        let orders = lines.orders.as_mut().expect("it runs until it is dropped");
        writeln!(orders, "{order}").unwrap();
        lines.answer()
    }
}

impl Lines {
    fn answer(&mut self) -> Result<Value, Refused> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("Django's process has ended");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match answer.get_mut("ok") {
            Some(value) => Ok(value.take()),
            None => {
                Err(Refused { kind: text(&answer["error"]), message: text(&answer["message"]) })
            }
        }
    }
}

impl Drop for Django {
    /// Waits for it to take its database away.
    fn drop(&mut self) {
        self.lines.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).orders = None;
        let ended = self.process.wait();
        assert!(thread::panicking() || ended.unwrap().success(), "Django's process failed");
    }
}

impl Issued {
    /// What its client sends.
    pub(crate) fn authorization(&self) -> String {
        format!("Token {}", self.token)
    }
}

/// Without token and digest, and so without its row.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

fn named(variable: &str, missing: &str) -> Option<String> {
    let value = env::var(variable).ok();
    if value.is_none() {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        println!("SKIPPED {test}: {variable} names {missing}");
    }
    value
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let server = rest.split(['/', '?']).next().expect("there is always a first part");
    format!("{scheme}://{server}/{name}")
}

fn with(mut fields: Value, more: Value) -> Value {
    let (Value::Object(all), Value::Object(more)) = (&mut fields, more) else {
        panic!("fields have names")
    };
    all.extend(more);
    fields
}

fn issued(mut answer: Value) -> Issued {
    let row = answer["row"].take();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Issued { token: text(&answer["token"]), digest: text(&row["digest"]), row }
}

fn id(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

fn list(value: Value) -> Vec<Value> {
    let Value::Array(list) = value else { panic!("no list") };
    list
}
