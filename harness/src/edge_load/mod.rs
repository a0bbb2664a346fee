//! A load of clients on an edge: thousands of WebSockets and streams, in an open loop, that check all that they get.
//!
//! | file | what it knows |
//! |---|---|
//! | [`command`] | the command line, what is wrong with it, and what is printed |
//! | [`plan`] | what each client is |
//! | [`turns`] | the loop: sockets, times, cuts |
//! | [`client`] | one client: what it says, hears, and when it comes back |
//! | [`via`] | a connection without its socket: WebSocket, server-sent events, lines of JSON |
//! | [`message`] | how a text of the server is taken apart |
//! | [`known`] | texts that all clients get, read once |
//! | [`check`] | whether a client gets what it is owed |
//! | [`world`], [`counts`] | what all clients share: counts, spans, the draws of chance |
//! | [`server`] | the memory and time of the server's process |
//! | [`report`] | what came of it |
//!
//! Invariant: the load does not wait for the server: what each client does is due at a time that no answer moves, and spans count
//! from it. Memory is bounded for each client, whatever the server says.

mod check;
mod client;
pub(crate) mod command;
mod counts;
mod known;
mod message;
mod plan;
mod report;
mod server;
mod turns;
mod via;
mod world;
