//! The edge without sockets: requests in, events out, cut wherever a connection can be cut.

#[path = "edge/asked.rs"]
mod asked;
#[path = "edge/end.rs"]
mod end;
#[path = "edge/resumed.rs"]
mod resumed;
#[path = "edge/sampled.rs"]
mod sampled;
#[path = "edge/slow.rs"]
mod slow;
#[path = "edge/turned.rs"]
mod turned;
