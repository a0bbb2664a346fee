//! The settings of a hop that say what happens when there is too much.
//!
//! Invariant: reads settings into a policy and judges only what one of them says by itself; what contradicts another is the
//! policy's own to say.

use std::path::PathBuf;

use crate::base::limits::{CONFLATE_KEYS_MAX, DEPTH_MAX, OVERFLOW_FILE_BYTES_DEFAULT};
use crate::overload::sample::ONE_IN_MAX;
use crate::overload::{Policy, WhenFull};
use crate::topology::OverflowFile;
use crate::topology::{Hop, Params, Problems};

use super::line::noted;

/// Keys of a hop that say what happens when there is too much.
pub const POLICY_KEYS: &[&str] = &[
    "when_full",
    "block_timeout",
    "then",
    "overflow_to",
    "overflow_file",
    "overflow_file_most",
    "most_keys",
    "deadline",
    "codel",
    "codel_interval",
    "sample",
    "sample_above",
    "rate",
    "burst",
    "high",
    "low",
    "degrade_high",
    "degrade_low",
    "protected",
    "rank",
];

/// A setting that does nothing by itself: whether it does on a hop, and what makes it act.
type Acts = (&'static str, fn(&Hop) -> bool, &'static str);

/// Those settings.
const ACTS: &[Acts] = &[
    (
        "then",
        |hop| hop.policy.block_timeout_ns > 0,
        "block_timeout",
    ),
    (
        "overflow_to",
        |hop| hop.policy.spills(),
        "when_full = \"overflow\"",
    ),
    (
        "overflow_file",
        |hop| hop.policy.spills(),
        "when_full = \"overflow\"",
    ),
    (
        "overflow_file_most",
        |hop| hop.overflow_file.is_some(),
        "overflow_file",
    ),
    (
        "most_keys",
        |hop| hop.policy.conflates() || hop.policy.degrade_high_ns > 0,
        "when_full = \"conflate\" or degrade_high",
    ),
    (
        "codel_interval",
        |hop| hop.policy.codel_target_ns > 0,
        "codel",
    ),
    ("sample_above", |hop| hop.policy.sample > 1, "sample"),
    ("burst", |hop| hop.policy.rate_per_s > 0, "rate"),
    ("low", |hop| hop.policy.high > 0, "high"),
    (
        "degrade_low",
        |hop| hop.policy.degrade_high_ns > 0,
        "degrade_high",
    ),
    (
        "protected",
        |hop| hop.policy.degrade_high_ns > 0,
        "degrade_high",
    ),
];

/// Says which of the settings have no effect on any of the hops for which they are given.
pub(super) fn without_effect<'h>(
    params: &Params,
    hops: impl Iterator<Item = &'h Hop> + Clone,
    problems: &mut Problems,
) {
    for (key, acts, with) in ACTS {
        if params.has(key) && !hops.clone().any(acts) {
            let what = format!("\"{key}\" has no effect without {with}");
            let help = format!("write {with} beside it, or remove it");
            problems.push(params.problem(key, what, help));
        }
    }
}

/// Reads what is set, over what `hop` has already.
pub(super) fn read(params: &mut Params, hop: &mut Hop, problems: &mut Problems) {
    let mut policy = hop.policy;
    let words = WhenFull::ALL.map(WhenFull::name);
    let mut word = |params: &mut Params, key, to: &mut WhenFull| {
        let read = params.word(key, &words, WhenFull::parse);
        if let Some(Some(word)) = noted(read, problems) {
            *to = word;
        }
    };
    word(params, "when_full", &mut policy.when_full);
    word(params, "then", &mut policy.then);
    let mut span = |params: &mut Params, key, to: &mut u64| {
        if let Some(Some(ns)) = noted(params.span_ns(key), problems) {
            *to = ns;
        }
    };
    span(params, "block_timeout", &mut policy.block_timeout_ns);
    span(params, "deadline", &mut policy.deadline_ns);
    span(params, "codel", &mut policy.codel_target_ns);
    if params.has("codel") && !params.has("codel_interval") {
        // A target that names no interval gets one that goes with it.
        let least_ns = Policy::codel_interval_of(policy.codel_target_ns);
        policy.codel_interval_ns = policy.codel_interval_ns.max(least_ns);
    }
    span(params, "codel_interval", &mut policy.codel_interval_ns);
    span(params, "degrade_high", &mut policy.degrade_high_ns);
    if params.has("degrade_high") && !params.has("degrade_low") {
        policy.degrade_low_ns = policy.degrade_high_ns / 2;
    }
    span(params, "degrade_low", &mut policy.degrade_low_ns);
    let mut count = |params: &mut Params, key, from: u64, bounds, to: &mut dyn FnMut(u64)| {
        if let Some(count) = noted(params.count(key, from, bounds), problems) {
            to(count);
        }
    };
    let most = u64::from(ONE_IN_MAX);
    count(params, "sample", policy.sample.into(), 0..=most, &mut |n| {
        policy.sample = n as u32
    });
    let above = policy.sample_above.into();
    count(params, "sample_above", above, 0..=99, &mut |n| {
        policy.sample_above = n as u8
    });
    count(params, "high", policy.high.into(), 0..=100, &mut |n| {
        policy.high = n as u8
    });
    let low = if policy.low == 0 {
        policy.high / 2
    } else {
        policy.low
    };
    count(params, "low", low.into(), 0..=100, &mut |n| {
        policy.low = n as u8
    });
    let keys = 1..=CONFLATE_KEYS_MAX as u64;
    let most_keys = hop.most_keys as u64;
    count(params, "most_keys", most_keys, keys, &mut |n| {
        hop.most_keys = n as usize
    });
    count(params, "rank", hop.rank.into(), 0..=255, &mut |n| {
        hop.rank = n as u8
    });
    if let Some(Some(rate)) = noted(params.rate("rate"), problems) {
        policy.rate_per_s = (rate.ceil() as u64).max(1);
        // A millisecond of it: what a source brings at once.
        policy.burst = (policy.rate_per_s / 1_000).clamp(1, DEPTH_MAX as u64) as u32;
    }
    let burst = 0..=DEPTH_MAX as u64;
    let mut count = |params: &mut Params, key, from: u64, bounds, to: &mut dyn FnMut(u64)| {
        if let Some(count) = noted(params.count(key, from, bounds), problems) {
            to(count);
        }
    };
    count(params, "burst", policy.burst.into(), burst, &mut |n| {
        policy.burst = n as u32
    });
    let protected = params.flag("protected", policy.protected);
    policy.protected = noted(protected, problems).unwrap_or_default();
    if let Some(Some(to)) = noted(params.text("overflow_to"), problems) {
        hop.overflow_to = Some(to);
    }
    if let Some(Some(path)) = noted(params.text("overflow_file"), problems) {
        let file = hop.overflow_file.get_or_insert_with(|| OverflowFile {
            path: PathBuf::new(),
            bytes_max: OVERFLOW_FILE_BYTES_DEFAULT,
        });
        file.path = path.into();
    }
    let most = noted(params.bytes("overflow_file_most"), problems).flatten();
    if let (Some(file), Some(bytes_max)) = (&mut hop.overflow_file, most) {
        file.bytes_max = bytes_max;
    }
    hop.policy = policy;
}
