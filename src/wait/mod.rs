//! What an idle loop does, and how a neighbour wakes it: decisions only.
//!
//! [`Idle`] answers each turn without work by what to do next ([`Rest`]); the loop does it, and the
//! only way to really sleep is its driver's poll. [`announce`] makes sure that a loop which is about
//! to sleep is seen by its producers, and that an awake one costs them no system call.
//!
//! Invariant: no clock, no thread, no operating system here.

pub mod announce;
mod idle;

pub use announce::{Alarm, Sleeper};
pub use idle::{Idle, Rest, Rung, Strategy};
