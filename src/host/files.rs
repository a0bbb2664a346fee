//! How many files and sockets this process may have open.
//!
//! Source: `getrlimit(2)`.
//!
//! Invariant: the limit is only raised, and never above what the system grants without privileges.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files that this process may have open to `wanted`, if it is lower, as far as the hard limit lets it, and
/// says how many it may have now. Nobody can be told more than `u64::MAX`, which stands for no limit.
///
/// Call it before the sockets are opened: those that are open stay so.
///
/// ```
/// let now = hopline::host::allow_files(64);
/// assert!(hopline::host::allow_files(1) >= now.min(64), "it is never lowered");
/// ```
pub fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return now;
    }
    let most = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
    let raised = Rlimit {
        current: Some(most),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_to_what_is_wanted_or_to_what_is_granted_and_never_falls() {
        let before = getrlimit(Resource::Nofile);
        let soft = before.current.unwrap_or(u64::MAX);
        assert_eq!(allow_files(0), soft);
        let hard = before.maximum.unwrap_or(soft);
        assert_eq!(allow_files(hard), hard);
        assert_eq!(allow_files(1), hard);
        if before.maximum.is_some() {
            let more = hard.saturating_add(1);
            assert_eq!(allow_files(more), hard, "no more than there is");
        }
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
    }
}
