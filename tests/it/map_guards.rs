//! I11 in the source: no guard of a concurrent map can be held across an await, as none leaves the
//! file that makes it. (That no closure calls a map under a guard is checked where maps are called,
//! in debug builds, and so by all of these tests.)

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where `dashmap` may be named.
const ROOMS: [&str; 2] = ["state/cache/map.rs", "state/store/memory.rs"];
/// What `map.rs` may answer with: none of these can hold a guard, as `R` is the caller's and made
/// before the guard's lifetime is known to it, and `V` a value that was taken out.
const ANSWERS: [&str; 4] = ["Self", "R", "Option<R>", "Option<V>"];

/// Seen to fail with a `use dashmap` in `table.rs`.
#[test]
fn maps_are_made_in_one_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 20);
    for file in files {
        let room = file.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        let code = code(&file);
        let names_it = code.contains("dashmap") || code.contains("DashMap");
        assert!(!names_it || ROOMS.contains(&room.as_str()), "{room} names dashmap");
    }
}

/// Seen to fail with a method of `ConcurrentMap` that returns dashmap's `Ref`.
#[test]
fn no_guard_leaves_the_map() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(ROOMS[0]);
    let code = code(&file);
    assert!(!code.contains("async") && !code.contains("await"));
    let mut functions = 0;
    for function in code.split("fn ").skip(1) {
        let Some((signature, _)) = function.split_once('{') else { continue };
        // Bounds such as `FnOnce(&V) -> R` lie inside the parentheses of the arguments.
        let Some((_, answer)) = signature.rsplit_once(") -> ") else { continue };
        assert!(ANSWERS.contains(&answer.trim()), "a function answers with {answer}");
        functions += 1;
    }
    assert!(functions >= 10, "only {functions} functions were understood");
}

/// A file without its comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
