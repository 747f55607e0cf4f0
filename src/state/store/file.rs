//! Which file a path names: by its identity in the file system, never by opening it.
//!
//! A file that this process has open through SQLite must not be opened past SQLite: closing it
//! would drop SQLite's own locks on it, as POSIX has it.

use std::{fs, path::Path};

/// A file's identity. Another file in its place has another one, while somebody has the first one
/// open: only then its number can't be given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(Identity);

#[cfg(unix)]
type Identity = (u64, u64);
/// Where a file that is open can't be replaced, the time at which it was made will do.
#[cfg(not(unix))]
type Identity = Option<std::time::SystemTime>;

impl FileId {
    /// The identity of the file at `path`; `None` if there is none to be seen.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self(identity(&metadata)))
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &fs::Metadata) -> Identity {
    metadata.created().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_its_place_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(FileId::of(&path), None);
        fs::write(&path, "a").unwrap();
        let first = FileId::of(&path);
        fs::write(&path, "changed").unwrap();
        assert!(first.is_some() && FileId::of(&path) == first);
        fs::write(&other, "b").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(FileId::of(&path), first);
    }
}
