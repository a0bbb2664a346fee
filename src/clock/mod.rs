//! Room `clock`.
