//! What a person sees: tables that fit, a live view, a summary, a plan.
//!
//! Invariant: drawing takes values and gives lines of text; only `live` touches the terminal.

pub(crate) mod around;
pub(crate) mod captures;
mod clean;
mod edge;
mod feeds;
pub(crate) mod hints;
mod link;
pub(crate) mod live;
pub(crate) mod plan;
pub(crate) mod rows;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod text;
