//! Room `overload`.
