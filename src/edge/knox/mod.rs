//! What a service beside django-rest-knox is set up with, where it is to answer as that does.

mod settings;

pub use settings::KnoxSettings;
