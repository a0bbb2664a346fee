//! Room `wait`.
