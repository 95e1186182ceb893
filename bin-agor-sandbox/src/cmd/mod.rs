//! One file for each verb.

pub(crate) mod denials;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod learn;
pub(crate) mod run;
