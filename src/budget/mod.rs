//! Room `budget`.
