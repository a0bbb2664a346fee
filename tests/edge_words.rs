//! The words of the edge, through its public interface: what the server says against what JavaScript would make of it, what
//! clients say against serde_json, and requests.
//!
//! `HOPLINE_FUZZ_INPUTS` says how many mutated messages and requests are tried.

#[path = "edge_words/events.rs"]
mod events;
#[path = "edge_words/messages.rs"]
mod messages;
#[path = "edge_words/mutated.rs"]
mod mutated;
#[path = "edge_words/requests.rs"]
mod requests;
#[path = "edge_words/script.rs"]
mod script;
#[path = "edge_words/sums.rs"]
mod sums;
