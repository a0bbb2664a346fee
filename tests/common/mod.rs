//! What several test files share: `mod common;` in a test that reads captured data.

pub(crate) mod data;
