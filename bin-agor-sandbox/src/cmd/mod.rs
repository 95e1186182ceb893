//! One file for each verb.

pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod run;
