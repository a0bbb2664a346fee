//! What the outside asks of a loop's nodes: a bounded queue that the loop takes from with its housekeeping.
//!
//! Invariant: who asks is told at once when there is no room; a loop takes a bounded few at a time.

use crossbeam_queue::ArrayQueue;

use crate::base::limits::REQUESTS_DEPTH;

/// What a loop is asked to do with one of its nodes, by its place on the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A source takes no more messages: they stay where they are.
    Pause(u16),
    /// It goes on.
    Resume(u16),
    /// A stage that is away after a panic waits no longer for its next instance.
    Restart(u16),
}

/// The loop has not yet taken what it was asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The queue of one loop: any thread asks, the loop takes.
///
/// ```
/// use hopline::control::{Request, Requests};
/// let requests = Requests::default();
/// requests.ask(Request::Pause(0))?;
/// assert_eq!(requests.take(), Some(Request::Pause(0)));
/// assert_eq!(requests.take(), None);
/// # Ok::<(), hopline::control::Full>(())
/// ```
#[derive(Debug)]
pub struct Requests {
    queue: ArrayQueue<Request>,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            queue: ArrayQueue::new(REQUESTS_DEPTH),
        }
    }
}

impl Requests {
    /// Asks; the loop's next housekeeping does it. A loop that sleeps has to be woken.
    ///
    /// # Errors
    /// [`Full`] if [`REQUESTS_DEPTH`] requests wait already: the loop makes no turns, or is asked faster than it takes.
    pub fn ask(&self, request: Request) -> Result<(), Full> {
        self.queue.push(request).map_err(|_| Full)
    }

    /// The oldest request that nobody has taken. The loop's own; where there is none, it costs three loads and a fence.
    #[must_use]
    pub fn take(&self) -> Option<Request> {
        self.queue.pop()
    }

    /// Whether nothing waits to be taken; it may have been asked a moment ago.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_order_and_one_too_many_is_refused() {
        let requests = Requests::default();
        for node in 0..REQUESTS_DEPTH as u16 {
            assert_eq!(requests.ask(Request::Pause(node)), Ok(()));
        }
        assert_eq!(requests.ask(Request::Resume(0)), Err(Full));
        for node in 0..REQUESTS_DEPTH as u16 {
            assert_eq!(requests.take(), Some(Request::Pause(node)));
        }
        assert!(requests.is_empty());
        assert_eq!(requests.take(), None);
    }
}
