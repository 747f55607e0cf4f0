//! What holds beside a Django with real knox, or with Smarter's tables, on each of its databases.

mod fixture;
