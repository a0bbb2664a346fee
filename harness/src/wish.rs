//! What a command line wants to be different on a hop.
//!
//! Invariant: a wish names settings that a hop has; what they say is the case's to judge.

use hopline::config::POLICY_KEYS;
use hopline::overload::WhenFull;
use hopline::topology::problem::{closest, list};

/// What is to be different on a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HopWish {
    pub(crate) name: String,
    pub(crate) depth: Option<usize>,
    pub(crate) when_full: Option<WhenFull>,
    pub(crate) settings: Vec<(String, String)>,
    /// The flag as it was given, for problems.
    pub(crate) given: String,
}

pub(crate) fn parse_hop(text: &str) -> Result<HopWish, String> {
    const EXPECTED: &str =
        "write the hop and its settings, such as 'btc->book:depth=16,when_full=drop_newest'";
    let (name, settings) = text.split_once(':').ok_or(EXPECTED)?;
    let mut wish = HopWish {
        name: name.to_owned(),
        depth: None,
        when_full: None,
        settings: Vec::new(),
        given: format!("--hop '{text}'"),
    };
    if name.is_empty() || settings.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    for setting in settings.split(',') {
        let (key, value) = setting.split_once('=').ok_or(EXPECTED)?;
        match key {
            "depth" => {
                let depth = value.parse();
                wish.depth = Some(depth.map_err(|_| {
                    format!("depth=\"{value}\" is no whole number; write a power of two")
                })?);
            }
            "when_full" => {
                let policy = WhenFull::parse(value);
                wish.when_full = Some(policy.ok_or_else(|| {
                    let words = list(WhenFull::ALL.iter().map(|policy| policy.name()));
                    format!("when_full does not know \"{value}\"; write {words}")
                })?);
            }
            _ if POLICY_KEYS.contains(&key) => {
                wish.settings.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                let keys = || core::iter::once("depth").chain(POLICY_KEYS.iter().copied());
                let help = match closest(key, keys()) {
                    Some(key) => format!("did you mean {key}?"),
                    None => format!("it has {}", list(keys())),
                };
                return Err(format!("a hop has no setting \"{key}\"; {help}"));
            }
        }
    }
    Ok(wish)
}
