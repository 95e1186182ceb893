//! Calls into SQLite's C interface that `rusqlite` has no words for: the only place with `unsafe`.

pub(crate) mod paced;
