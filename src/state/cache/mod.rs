//! What is remembered of the store, and how a revocation outdates it.
