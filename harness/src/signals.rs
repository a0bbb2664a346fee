//! Ctrl-C and SIGTERM: the first asks for a drain, the second ends the process at once.
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
    let refused =
        |error: std::io::Error| Failure::io(format!("cannot listen to signals: {error}"), "");
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
    let flag = Arc::new(AtomicBool::new(false));
    let raised = flag.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let clock = Clock::os();
            let mut first_ns = None;
            for signal in signals.forever() {
                // Relaxed: the flag publishes nothing but itself.
                raised.store(true, Ordering::Relaxed);
                let now_ns = clock.now_ns();
                if now_ns - *first_ns.get_or_insert(now_ns) > DOUBLED_NS {
                    end(signal);
                }
            }
        })
        .map_err(refused)?;
    Ok(flag)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a second signal means that waiting for main is what the user no longer wants"
)]
fn end(signal: i32) -> ! {
    live::restore_terminal();
    let exit = if signal == SIGTERM {
        Exit::Terminated
    } else {
        Exit::Interrupted
    };
    std::process::exit(i32::from(exit.code()))
}
