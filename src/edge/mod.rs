//! The edge: a line's events for many clients in real time, by WebSocket, server-sent events and NDJSON.
//!
//! Words: a *channel* is a feed with a name, `dag/line`; its *events* are numbered by *offsets* without holes, from 1 on; an
//! *epoch* is the life of a server, so that an offset of another one is never taken for its own; a *position* is both of them,
//! and where a client resumes. A *state* channel has a current value for each *key*; an event that replaces one which a client has
//! not got yet takes its place, and says how many offsets were *skipped* with it.
//!
//! | file | what it knows |
//! |---|---|
//! | [`name`] | what a channel may be called |
//! | [`position`] | epochs, positions, and since when a client wants a channel |
//! | [`sum`] | the check sum of a state channel, which server and client both keep |
//! | [`json`] | the one way in which a value is written, so that both hash the same bytes |
//! | [`event`] | what the server says |
//! | [`message`] | what a client says |
//! | [`code`] | why a WebSocket is closed, and whether a client comes back |
//! | [`route`] | what a request wants: a channel by which transport, a page, health |
//! | [`accept`] | which of several types a client likes best (RFC 9110, section 12.5.1) |
//! | [`origin`] | which hosts are this server, and which pages may talk to it |
//! | [`problem`] | why a request is refused, as problem+json (RFC 9457) |
//!
//! All of these are functions of what they are given: no time, no socket, no memory of the last call. What remembers, from one event
//! to all connections:
//!
//! | file | what it knows |
//! |---|---|
//! | `published` | an event, numbered and encoded once for all |
//! | `channel` | the log and the values of a channel, and where a client begins in it |
//! | `hub` | all channels, and who follows which |
//! | `lanes` | how far one client is in each of its channels, and what is next for it |
//! | `run` | what is next for many clients at once |
//! | `session` | heartbeats, patience and floods of one client |
//! | `sampled`, `hops` | which events of a client are followed to its screen, and what that took |
//! | `client` | one connection: bytes and the time in, bytes out |
//! | `admission` | who is let in, and when the others may come back |
//! | `places`, `turns` | all connections on a driver, a turn at a time |
//! | `counts`, `report` | what came of everything, and whether it adds up |
//! | `serve` | the thread, and how others publish to it |
//!
//! Invariant: slow clients never hold back a line; what a client sends is bounded before it is looked at, and none of it makes
//! the edge panic.

pub mod accept;
mod admission;
mod channel;
mod client;
pub mod code;
mod counts;
pub mod event;
mod hops;
mod hub;
pub mod json;
mod lanes;
pub mod message;
pub mod name;
pub mod origin;
mod places;
pub mod position;
pub mod problem;
mod published;
mod report;
pub mod route;
mod run;
mod sampled;
mod serve;
mod session;
pub mod sum;
mod turns;

pub use accept::Accept;
pub use admission::{Admission, AdmissionLimits, Refused, TurnedAway};
pub use channel::{Channel, ChannelLimits, Joined, Lane, Missing, Next};
pub use client::{Client, ClientKey, Now, On, Rules, Said, Waits};
pub use code::Code;
pub use counts::{Counts, Ended};
pub use event::{Body, Kind, Place, State};
pub use hops::{Hops, Untaken};
pub use hub::{Hub, NoChannel};
pub use lanes::{ChannelId, LaneCounts, Lanes, NoSubscription, Out, TooSlow, Wish};
pub use message::{Fault, FaultCode, Message};
pub use name::{ChannelName, NameFault};
pub use origin::Access;
pub use position::{Epoch, Position, PositionFault, Since};
pub use problem::{Answer, Problem};
pub use published::{NotPublished, Outline, Published};
pub use report::{EdgeReport, Figures};
pub use route::{Asset, Router, Transport, Wanted};
pub use serve::{Asked, Event, NotServed, Publisher, Server, ServerConfig};
pub use session::{Due, Over, Session, SessionTimes};
pub use sum::Sum;
pub use turns::{Edge, EdgeConfig};

/// The version of what is said over a connection; `hello` tells it.
pub const VERSION: u64 = 1;

/// The WebSocket subprotocol of [`VERSION`]: JSON texts (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "hopline.v1.json";
