//! Room `feed`.
