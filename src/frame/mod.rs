//! Room `frame`.
