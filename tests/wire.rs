//! The protocols of `wire` in virtual time: cut at every byte, against independent implementations,
//! against what peers get wrong, and mutated.
//!
//! `HOPLINE_FUZZ_INPUTS` says how many mutated inputs each decoder gets.

#[path = "wire/client.rs"]
mod client;
#[path = "wire/cuts.rs"]
mod cuts;
#[path = "wire/fuzz.rs"]
mod fuzz;
#[path = "wire/http.rs"]
mod http;
#[path = "wire/ndjson.rs"]
mod ndjson;
#[path = "wire/rivals.rs"]
mod rivals;
#[path = "wire/session.rs"]
mod session;
#[path = "wire/sse.rs"]
mod sse;
#[path = "wire/websocket.rs"]
mod websocket;
