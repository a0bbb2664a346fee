//! Ctrl-C and SIGTERM: the first asks for a drain, the second ends the process at once. And a parent that is gone.
//!
//! Invariant: a second signal ends the process whatever hangs, because a thread of its own waits
//! for it.

use std::sync::Arc;

use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::clock::Clock;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Exit, Failure};
use crate::view::live;

/// Signals that follow within that time are the same wish, delivered twice: a shell, or `timeout`,
/// sends one to the process and one to its group. No hand is that fast.
const DOUBLED_NS: u64 = 20_000_000;

/// A flag that the first SIGINT or SIGTERM raises. From then on a second one ends the process with
/// 130 or 143, after the terminal has its cursor back.
pub(crate) fn watch() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    // Relaxed: the flag publishes nothing but itself.
    each(move |_| raised.store(true, Ordering::Relaxed))?;
    Ok(flag)
}

/// Calls `tell` with each SIGINT and SIGTERM, on a thread of its own; a second one ends the process
/// as in [`watch`].
pub(crate) fn each(mut tell: impl FnMut(i32) + Send + 'static) -> Result<(), Failure> {
    let refused =
        |error: std::io::Error| Failure::io(format!("cannot listen to signals: {error}"), "");
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let clock = Clock::os();
            let mut first_ns = None;
            for signal in signals.forever() {
                tell(signal);
                let now_ns = clock.now_ns();
                if now_ns - *first_ns.get_or_insert(now_ns) > DOUBLED_NS {
                    end(signal);
                }
            }
        })
        .map(drop)
        .map_err(refused)
}

/// Set for a process whose standard input is a pipe that its parent holds open until it has ended.
pub(crate) const HELD: &str = "HOPLINE_HELD_BY_STDIN";

/// Ends this process when its parent is gone, however that went, if the parent asked for it by [`HELD`]: nobody is left to read
/// what it measures, and it would keep cores busy.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    if std::env::var_os(HELD).is_none() {
        return Ok(());
    }
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(|| {
            // Nothing is ever written to it: it ends with the parent.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            end(SIGTERM);
        })
        .map(drop)
        .map_err(|error| Failure::io(format!("cannot watch the parent: {error}"), ""))
}

#[allow(
    clippy::disallowed_methods,
    reason = "who asks twice, or is gone, does not wait for main"
)]
fn end(signal: i32) -> ! {
    live::restore_terminal();
    std::process::exit(i32::from(ended_by(signal).code()))
}

/// How a command that a signal ended ends.
pub(crate) const fn ended_by(signal: i32) -> Exit {
    if signal == SIGTERM {
        Exit::Terminated
    } else {
        Exit::Interrupted
    }
}
