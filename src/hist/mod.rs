//! Room `hist`.
