//! Why a database could not be opened: a line that says what to do, and what lies behind it.

use std::{error::Error, fmt};

#[derive(Debug)]
pub(super) struct OpenError {
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl OpenError {
    pub(super) fn new(message: String, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { message, source: source.into() }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
