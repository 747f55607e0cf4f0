//! The house rules: the floor plan, the names that belong to one room, and the repository's shape.
//!
//! The checks are pure functions over a path and a text. The control is in this file: every rule is
//! also run on a planted snippet that breaks it, and must speak up.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What of a store the cache may name: its contract, never an implementation.
const CONTRACT: [&str; 7] =
    ["contract", "erased", "error", "DynStore", "KeyStore", "KeyUse", "StoreError"];

/// Names that only some rooms may speak: the tokens, and the path prefixes that may.
const RESTRICTED: [(&[&str], &[&str]); 11] = [
    (&["sqlx"], SQL_STORES),
    (&["dashmap"], &["src/state/cache", "src/state/store/memory"]),
    (&["spawn"], SPAWNERS),
    (&["spawn_blocking"], SPAWNERS),
    (&["spawn_local"], SPAWNERS),
    (&["Instant", "::", "now"], CLOCK),
    (&["SystemTime", "::", "now"], CLOCK),
    (&["Utc", "::", "now"], CLOCK),
    (&["Local", "::", "now"], CLOCK),
    // One shim each, so that no `cfg` of theirs is anywhere else.
    (&["metrics", "::"], &["src/value/meter"]),
    (&["tracing", "::"], &["src/value/trace.rs"]),
];
const SQL_STORES: &[&str] = &[
    "src/state/store/sql/",
    "src/state/store/sqlite",
    "src/state/store/postgres",
    "src/state/store/knox",
];
const SPAWNERS: &[&str] = &[
    "src/usecase/access",
    "src/usecase/revocation",
    "src/usecase/maintenance",
    "src/usecase/sliding",
    "src/state/cache/flight",
    "src/state/cache/batch",
];
const CLOCK: &[&str] = &["src/value/clock/"];

/// The room of prose, and the words that nothing but code begins with.
const GUIDE: &str = "src/guide/";
const CODE: [&str; 12] = [
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "use",
];

/// How many invariants there are; the table of them is in `main.rs`.
const INVARIANTS: u32 = 16;

/// Lines a source file may have before its tests.
const CEILING: usize = 250;
/// Lines an example may have.
const EXAMPLE_CEILING: usize = 80;
/// What the top level may hold beside dotfiles and licences.
const TOP_LEVEL: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "examples",
    "benches",
    "README.md",
    "CHANGELOG.md",
];

#[test]
fn the_source_keeps_the_floor_plan() {
    let complaints: Vec<String> =
        files_under("src").iter().flat_map(|path| check_source(path, &read(path))).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_top_level_holds_what_it_may() {
    let complaints = check_top_level(&top_level());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_example_is_short_declared_and_listed() {
    let examples: Vec<(String, String)> = files_under("examples")
        .into_iter()
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
        .collect();
    let complaints = check_examples(&examples, &read("Cargo.toml"), &read("README.md"));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_invariant_is_named_by_its_tests() {
    let module = |name: &str| {
        let path = format!("tests/it/{name}.rs");
        let path =
            if root().join(&path).exists() { path } else { format!("tests/it/{name}/mod.rs") };
        root().join(&path).exists().then(|| read(&path))
    };
    let complaints = check_invariants(&read("tests/it/main.rs"), &module);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn control_an_invariant_that_nobody_names_is_found() {
    let row = |number: u32| format!("//! | I{number} | a rule | `a` |\n");
    let whole: String = (1..=INVARIANTS).map(row).collect();
    let named: String = (1..=INVARIANTS).map(|number| format!("I{number} ")).collect();
    let module = |name: &str| (name == "a").then(|| named.clone());
    assert_eq!(check_invariants(&whole, &module), Vec::<String>::new());
    for (table, word) in [
        (whole.replace("I16 |", "I17 |"), "I16: is in no row"),
        (
            whole.replace("I3 | a rule | `a`", "I3 | a rule | `a`, `b`"),
            "I3: there is no module `b`",
        ),
        (whole.replace("I3 | a rule | `a`", "I3 | a rule | "), "I3: no module shows it"),
    ] {
        assert_eq!(check_invariants(&table, &module), [word]);
    }
    let forgotten = |name: &str| module(name).map(|text| text.replace("I1 ", ""));
    assert_eq!(check_invariants(&whole, &forgotten), ["I1: `a` does not name it"]);
}

#[test]
fn control_planted_offences_are_found() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(CEILING));
    let planted = [
        ("src/value/a.rs", "//! A.\nuse crate::usecase::authenticator::Authenticator;", "upward"),
        ("src/value/a.rs", "//! A.\nfn f() { crate::state::store::error::g() }", "upward"),
        ("src/state/store/a.rs", "//! A.\nuse crate::{\n    state::cache::Fence,\n};", "upward"),
        ("src/state/store/a.rs", "//! A.\nuse super::super::cache;", "upward"),
        ("src/state/cache/a.rs", "//! A.\nuse crate::state::store::MemoryStore;", "contract"),
        ("src/state/cache/a.rs", "//! A.\nuse crate::state::store::{KeyUse, memory};", "contract"),
        ("src/state/cache/a.rs", "//! A.\nuse crate::state::store::*;", "contract"),
        ("src/usecase/a.rs", "//! A.\nuse crate::{edge::layer, value::key};", "upward"),
        ("src/usecase/a.rs", "//! A.\nuse crate::TokenAuthLayer;", "no floor"),
        ("src/elsewhere.rs", "//! A.", "no floor"),
        ("src/value/a.rs", "fn f() {}", "opens"),
        ("src/value/a.rs", &long, "lines"),
        ("src/usecase/a.rs", "//! A.\nuse sqlx::Row;", "sqlx"),
        ("src/usecase/a.rs", "//! A.\nuse dashmap::DashMap;", "dashmap"),
        ("src/state/store/sqlite/a.rs", "//! A.\nuse dashmap::DashMap;", "dashmap"),
        ("src/edge/a.rs", "//! A.\nfn f() { tokio::spawn(async {}); }", "spawn"),
        ("src/usecase/a.rs", "//! A.\nfn f() { Handle::current().spawn(async {}); }", "spawn"),
        ("src/usecase/a.rs", "//! A.\nfn f() { std::time::Instant::now(); }", "now"),
        ("src/usecase/a.rs", "//! A.\nfn f() { Utc::now(); }", "now"),
        ("src/value/a.rs", "//! A.\nfn f() { SystemTime::now(); }", "now"),
        ("src/usecase/a.rs", "//! A.\nfn f() { metrics::counter!(\"a\"); }", "metrics"),
        ("src/edge/a.rs", "//! A.\nfn f() { tracing::warn!(\"a\"); }", "tracing"),
        ("src/guide/mod.rs", "//! A.\npub mod a { pub fn f() {} }", "prose"),
        ("src/guide/a.rs", "//! A.\nuse crate::value::key;", "prose"),
    ];
    for (path, text, word) in planted {
        let complaints = check_source(path, text);
        assert_eq!(complaints.len(), 1, "{path}: {text}\n{complaints:?}");
        assert!(complaints[0].contains(word), "{word}: {complaints:?}");
    }
}

#[test]
fn control_what_is_allowed_passes() {
    let allowed = [
        ("src/lib.rs", "//! A.\npub use edge::layer::TokenAuthLayer;"),
        ("src/edge/a.rs", "//! A.\nuse crate::{state::store::StoreError, usecase::x, value::y};"),
        ("src/state/cache/a.rs", "//! A.\nuse crate::state::store::{DynStore, StoreError};"),
        ("src/state/cache/a.rs", "//! A.\nuse super::{fence::Fence, super::cache::slot};"),
        ("src/state/store/a.rs", "//! A.\n// See crate::usecase and tokio::spawn.\nfn f() {}"),
        ("src/value/a.rs", "//! A.\nconst C: &str = \"crate::usecase::x \\\" sqlx\";"),
        ("src/value/clock/tick.rs", "//! A.\nfn f() { Utc::now(); }"),
        (
            "src/value/a.rs",
            "//! A.\n#[cfg(all(test, not(loom)))]\nmod tests {\n    use sqlx::x;\n}",
        ),
        ("src/value/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use crate::usecase::x;\n}"),
        ("src/usecase/access/worker.rs", "//! A.\nfn f() { tokio::spawn(async {}); }"),
        ("src/state/store/sqlite/mod.rs", "//! A.\nuse sqlx::Row;\npub(crate) struct S;"),
        ("src/value/meter/on.rs", "//! A.\nuse metrics::counter;"),
        ("src/guide/mod.rs", "//! A.\n#[doc = include_str!(\"a.md\")]\npub mod metrics {}"),
    ];
    for (path, text) in allowed {
        let complaints = check_source(path, text);
        assert!(complaints.is_empty(), "{path}: {text}\n{complaints:?}");
    }
}

#[test]
fn control_a_stray_file_and_a_stray_example_are_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert!(check_top_level(&names(&["Cargo.toml", ".ci", "LICENSE-MIT", "src"])).is_empty());
    assert_eq!(check_top_level(&names(&["Cargo.toml", "docs", "notes.txt"])).len(), 2);

    let manifest = "[[example]]\nname = \"a\"\nrequired-features = [\"axum\"]\n";
    let good = [("examples/a.rs".to_owned(), "//! A.\n".to_owned())];
    assert!(check_examples(&good, manifest, "run `--example a`").is_empty());
    assert_eq!(check_examples(&good, manifest, "").len(), 1, "not in the README");
    assert_eq!(check_examples(&good, "", "--example a").len(), 1, "not declared");
    let bare = "[[example]]\nname = \"a\"\n";
    assert_eq!(check_examples(&good, bare, "--example a").len(), 1, "no required-features");
    let long = [("examples/a.rs".to_owned(), format!("//! A.\n{}", "\n".repeat(80)))];
    assert_eq!(check_examples(&long, manifest, "--example a").len(), 1, "too long");
    let nameless = [("examples/a.rs".to_owned(), "fn main() {}\n".to_owned())];
    assert_eq!(check_examples(&nameless, manifest, "--example a").len(), 1, "no opening sentence");
}

/// Everything that is wrong with one source file.
fn check_source(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.lines().any(|line| line.starts_with("//!")) || !text.starts_with("//!") {
        complaints.push(format!("{path}: opens without a `//!` sentence on its job"));
    }
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return complaints;
    }
    let code = before_tests(text);
    let lines = code.lines().count();
    if lines > CEILING {
        complaints
            .push(format!("{path}: {lines} lines before its tests, the ceiling is {CEILING}"));
    }
    let tokens = tokens(&code);
    for (name, rooms) in RESTRICTED {
        let spoken = tokens.windows(name.len()).any(|window| window == name);
        if spoken && !rooms.iter().any(|room| path.starts_with(room)) {
            complaints.push(format!("{path}: `{}` belongs to {}", name.concat(), rooms.join(", ")));
        }
    }
    if path == "src/lib.rs" {
        return complaints;
    }
    if path.starts_with(GUIDE) {
        let code = tokens.iter().find(|word| CODE.contains(&word.as_str()));
        complaints.extend(code.map(|word| format!("{path}: `{word}` in a room of prose alone")));
        return complaints;
    }
    let module = module_of(path);
    let Some(room) = Room::of(&module) else {
        complaints.push(format!("{path}: stands on no floor"));
        return complaints;
    };
    let named: BTreeSet<Vec<String>> = paths(&tokens, &module).into_iter().collect();
    complaints.extend(named.iter().filter_map(|named| {
        let shown = named.join("::");
        match Room::of(named) {
            // `super` in a folder's own root, such as `crate::state`, names no room yet.
            None if named.len() <= 1 && (named.is_empty() || named[0] == "state") => None,
            None => Some(format!("{path}: `crate::{shown}` names no floor; name the room itself")),
            Some(other) => {
                room.objection_to(other, named).map(|why| format!("{path}: `crate::{shown}` {why}"))
            }
        }
    }));
    complaints
}

/// A room of the floor plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Value,
    State,
    Store,
    Cache,
    UseCase,
    Edge,
}

impl Room {
    fn of(module: &[String]) -> Option<Self> {
        let mut names = module.iter().map(String::as_str);
        match (names.next()?, names.next()) {
            ("value", _) => Some(Self::Value),
            ("state", Some("store")) => Some(Self::Store),
            ("state", Some("cache")) => Some(Self::Cache),
            ("state", None) => Some(Self::State),
            ("usecase", _) => Some(Self::UseCase),
            ("edge", _) => Some(Self::Edge),
            _ => None,
        }
    }

    fn floor(self) -> u8 {
        match self {
            Self::Value => 0,
            Self::State | Self::Store | Self::Cache => 1,
            Self::UseCase => 2,
            Self::Edge => 3,
        }
    }

    fn objection_to(self, other: Self, named: &[String]) -> Option<&'static str> {
        if other.floor() > self.floor() || (self == Self::Store && other == Self::Cache) {
            return Some("looks upward");
        }
        let of_contract = named.get(2).is_some_and(|item| CONTRACT.contains(&item.as_str()));
        (self == Self::Cache && other == Self::Store && !of_contract)
            .then_some("is more of a store than its contract")
    }
}

/// `src/state/cache/flight.rs` is `state::cache::flight`, and a `mod.rs` is its folder.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').map(str::to_owned).collect()
}

/// The text before the file's test module.
fn before_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0].starts_with("#[cfg(") && pair[1].starts_with("mod tests"));
    lines[..tests.unwrap_or(lines.len())].join("\n")
}

/// Words, `::`, and single signs; comments and the insides of literals are left out.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string_len(rest)
        } else if first == '\'' && rest[1..].starts_with(['"', '/']) {
            3
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = &rest[..end.unwrap_or(rest.len())];
            tokens.push(word.to_owned());
            word.len()
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    tokens
}

/// The length of the string literal that `text` begins with, quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Every path into this crate that the tokens name, written from the crate's root.
fn paths(tokens: &[String], module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let begins = at == 0 || tokens[at - 1] != "::";
        if begins && matches!(tokens[at].as_str(), "crate" | "super" | "self") {
            expand(
                &mut tokens[at..].iter().map(String::as_str).peekable(),
                &[],
                module,
                &mut found,
            );
        }
    }
    found
}

/// Walks one path or use tree, and notes each of its leaves.
fn expand<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    prefix: &[String],
    module: &[String],
    found: &mut Vec<Vec<String>>,
) {
    let mut path = prefix.to_vec();
    let mut begun = !prefix.is_empty();
    while let Some(word) = tokens.next() {
        match word {
            "crate" => path.clear(),
            "self" if begun => {}
            "self" => path = module.to_vec(),
            "super" if begun => drop(path.pop()),
            "super" => path = module[..module.len() - 1].to_vec(),
            "{" => {
                while !matches!(tokens.peek(), None | Some(&"}")) {
                    expand(tokens, &path, module, found);
                    while matches!(tokens.peek(), Some(&"," | &"as" | &"_")) {
                        tokens.next();
                    }
                }
                tokens.next();
                return;
            }
            name => path.push(name.to_owned()),
        }
        begun = true;
        if tokens.peek() != Some(&"::") {
            // `x as y` inside a group: the new name is no path.
            if tokens.peek() == Some(&"as") {
                tokens.next();
                tokens.next();
            }
            break;
        }
        tokens.next();
    }
    found.push(path);
}

/// Which rows of the table of invariants are missing, and which modules in it do not name theirs.
fn check_invariants(table: &str, module: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in (1..=INVARIANTS).map(|number| format!("I{number}")) {
        let row = table.lines().find_map(|line| line.strip_prefix(&format!("//! | {name} |")));
        let Some(row) = row else {
            complaints.push(format!("{name}: is in no row"));
            continue;
        };
        // What stands between the first pair of backticks, the second, and so on.
        let modules: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        if modules.is_empty() {
            complaints.push(format!("{name}: no module shows it"));
        }
        for path in modules {
            let words = |text: &str| {
                text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name)
            };
            match module(path) {
                None => complaints.push(format!("{name}: there is no module `{path}`")),
                Some(text) if !words(&text) => {
                    complaints.push(format!("{name}: `{path}` does not name it"));
                }
                Some(_) => {}
            }
        }
    }
    complaints
}

/// What the top level holds and should not.
fn check_top_level(names: &BTreeSet<String>) -> Vec<String> {
    let fits = |name: &str| {
        TOP_LEVEL.contains(&name) || name.starts_with('.') || name.starts_with("LICENSE-")
    };
    names
        .iter()
        .filter(|name| !fits(name))
        .map(|name| format!("{name}: has no place at the top level"))
        .collect()
}

/// What is wrong with the examples: their length, their place in the manifest and in the README.
fn check_examples(examples: &[(String, String)], manifest: &str, readme: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in examples {
        // An example in a folder of its own is called as the folder is.
        let name = path.trim_start_matches("examples/").split('/').next().unwrap_or(path);
        let name = name.trim_end_matches(".rs");
        let lines = text.lines().count();
        if lines > EXAMPLE_CEILING {
            complaints.push(format!("{path}: {lines} lines, the ceiling is {EXAMPLE_CEILING}"));
        }
        if !text.starts_with("//!") {
            complaints.push(format!("{path}: opens without a `//!` sentence on its job"));
        }
        let declared = manifest.split("[[example]]").skip(1).any(|section| {
            let section = section.split("\n[").next().unwrap_or(section);
            section.contains(&format!("name = \"{name}\""))
                && section.contains("required-features = [\"")
        });
        if !declared {
            complaints.push(format!("{path}: needs an [[example]] with required-features"));
        }
        if !readme.contains(&format!("--example {name}")) {
            complaints.push(format!("{path}: the README does not say how to run it"));
        }
    }
    complaints
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files under a folder, as paths from the repository's root.
fn files_under(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(from_root(&path));
            }
        }
    }
    assert!(!files.is_empty(), "there are no Rust files under {folder}");
    files.sort();
    files
}

fn from_root(path: &Path) -> String {
    let parts: PathBuf = path.strip_prefix(root()).unwrap().to_owned();
    parts.components().map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/")
}

/// What is checked in at the top level; where there is no git, what lies there but is not ignored.
fn top_level() -> BTreeSet<String> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match listed {
        Ok(list) if !list.is_empty() => {
            list.lines().filter_map(|path| path.split('/').next()).map(str::to_owned).collect()
        }
        _ => fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "target" && !name.starts_with("token-auth.db"))
            .collect(),
    }
}
