//! Helpers for the suites that need more than one tool.
