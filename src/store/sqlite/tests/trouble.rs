//! When writing fails.
