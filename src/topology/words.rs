//! What a name and a depth may be.
//!
//! Invariant: what is refused here comes with what to write instead.

use crate::base::limits::{DEPTH_MAX, DEPTH_MIN, NAME_BYTES_MAX};

/// The node of `node` or `node.port`.
pub(super) fn node_of(from: &str) -> &str {
    from.split_once('.').map_or(from, |(node, _)| node)
}

/// Whether a ring can have that many slots; else what is wrong, and what to write instead.
pub(crate) fn depth_is_right(depth: usize) -> Result<(), (String, String)> {
    if !(DEPTH_MIN..=DEPTH_MAX).contains(&depth) {
        return Err((
            format!("a depth of {depth} is out of bounds"),
            format!("write a power of two from {DEPTH_MIN} to {DEPTH_MAX}"),
        ));
    }
    if !depth.is_power_of_two() {
        let (below, above) = (depth.next_power_of_two() / 2, depth.next_power_of_two());
        return Err((
            format!("a depth of {depth} is not a power of two"),
            format!("write depth = {below} or depth = {above}"),
        ));
    }
    Ok(())
}

/// Names become columns, JSON keys and words on the command line.
pub(crate) fn name_is_right(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("write 1 to {NAME_BYTES_MAX} characters"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.chars().all(fits) {
        return Err("write only letters, digits, - and _".to_owned());
    }
    Ok(())
}
