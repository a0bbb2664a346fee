//! What a run changes of a case: where sources get their messages from, and single settings.
//!
//! A source whose messages come by another way gets another kind and keeps the settings of its
//! decoder, which say what the messages are. Which settings those are the decoder itself says (see
//! [`Registry::decode_settings`]); all others belong to the way (`bind`, `share`, …) and go with it.
//!
//! Invariant: changes the draft of one run, never the case.

use std::path::{Path, PathBuf};

use crate::feed::{Arrivals, Shape};
use crate::host::Pin;
use crate::overload::{Policy, WhenFull};
use crate::stage::Port;
use crate::topology::draft::DraftHop;
use crate::topology::words::depth_is_right;
use crate::topology::{Hop, Params, Problem, Problems, Registry, Value};
use crate::wait::Strategy;

use super::input::{Input, Way, way};
use super::line::NodeSpec;
use super::load::{Content, Feed, Load, Via, meant};
use super::owed::no_such_hop;
use super::policy;

/// Who feeds the sources for which no input is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeedMode {
    /// `load.toml`: with `via = "direct"` sources become `synthetic`, with `via = "udp"` or
    /// `"websocket"` they stay and somebody must send to them. Without a `load.toml` they stay.
    #[default]
    Load,
    /// Nobody here: sources stay as they are.
    Live,
}

/// Another depth, or other settings of its policy, for a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopSetting {
    /// The hop's name, or `*` for all hops of `line.toml`. Of a tap (`slow`) the latter leaves alone what happens when it is full.
    pub hop: String,
    /// Another depth.
    pub depth: Option<usize>,
    /// Another hard limit.
    pub when_full: Option<WhenFull>,
    /// Other settings of its policy, as `line.toml` names them ([`POLICY_KEYS`](super::POLICY_KEYS)).
    pub settings: Vec<(String, String)>,
    /// How the user gave it, such as `--hop btc->book:depth=16`: what problems name instead of a
    /// place in a file. Empty where code gave it.
    pub given: String,
}

impl HopSetting {
    /// The settings as a file has them.
    fn params(&self) -> Params {
        let mut params = Params::new(None);
        for (key, value) in &self.settings {
            let value = match (value.parse(), value.parse()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(flag)) => Value::Bool(flag),
                _ => Value::Text(value.clone()),
            };
            params.set(key, value, None);
        }
        params
    }

    /// Changes a hop's policy by the settings.
    fn apply(&self, hop: &mut Hop, problems: &mut Problems) {
        let mut params = self.params();
        let mut found = Problems::default();
        policy::read(&mut params, hop, &mut found);
        found.0.extend(params.unknown().0);
        self.blame(found, problems);
    }

    /// Notes the problems with what it is to blame for.
    fn blame(&self, found: Problems, problems: &mut Problems) {
        for mut problem in found.0 {
            problem.what = format!("{}: {}", self.words(), problem.what);
            if !problems.0.contains(&problem) {
                problems.push(problem);
            }
        }
    }

    /// What problems call it.
    fn words(&self) -> String {
        if self.given.is_empty() {
            format!("the setting for hop {}", self.hop)
        } else {
            self.given.clone()
        }
    }
}

/// What a run changes of a case. The default is a run as `load.toml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Recordings to replay. Such a source becomes kind `replay`, `capture` or `pcap` by what the file is, unless
    /// messages come by [`Via::Udp`] or [`Via::WebSocket`]: then the sender or the exchange replays.
    pub inputs: Vec<Input>,
    /// How fast captures are replayed; `Some(None)` is flat out, `None` leaves it to the source.
    pub speed: Option<Option<f64>>,
    /// The recorded time that is the start for all captures, in nanoseconds since 1970.
    pub epoch_ns: Option<u64>,
    /// Where to log the messages that leave the first stage that has a port `log`.
    pub sink_log: Option<PathBuf>,
    /// Who feeds the sources without an input.
    pub feed: FeedMode,
    /// How messages get to the sources, instead of what `load.toml` says.
    pub via: Option<Via>,
    /// Whether UDP sources that do not say it have the kernel stamp what arrives, so that messages are dated from their arrival
    /// and not from when the loop got to them.
    pub arrival_stamps: bool,
    /// Other depths and policies; later ones win.
    pub hops: Vec<HopSetting>,
    /// Another way to pin.
    pub pin: Option<Pin>,
    /// What idle loops do instead.
    pub wait: Option<Strategy>,
    /// Most threads instead.
    pub threads: Option<usize>,
}

/// How a source is fed instead of by its own kind.
pub(super) struct Instead {
    pub(super) kind: &'static str,
    /// The set of recorded frames that it decodes, instead of by its own decoder.
    frames: Option<&'static str>,
    settings: Vec<(&'static str, Value)>,
}

impl Overrides {
    /// Notes inputs for sources that do not exist, and several for one.
    pub(super) fn check_inputs(&self, sources: &[&str], problems: &mut Problems) {
        for (at, input) in self.inputs.iter().enumerate() {
            let (source, given) = (&input.source, input.words());
            if !sources.contains(&source.as_str()) {
                let what = format!("{given}: \"{source}\" is no source of this line");
                problems.push(Problem::new(what, meant(source, sources)));
            } else if self.inputs[..at]
                .iter()
                .any(|other| other.source == *source)
            {
                let what = format!("{given}: \"{source}\" has an input already");
                problems.push(Problem::new(what, "give one file for each source"));
            }
        }
    }

    /// How a source is fed instead, if it does not stay as it is. It has those ports.
    pub(super) fn instead(
        &self,
        source: &NodeSpec,
        ports: &[Port],
        load: Option<&Load>,
    ) -> Result<Option<Instead>, Problem> {
        let load = load.filter(|_| self.feed == FeedMode::Load);
        let via = self.via.or(load.map(|load| load.via));
        if via.is_some_and(Via::is_outside) {
            return Ok(None);
        }
        let name = &source.name;
        if let Some(input) = self.inputs.iter().find(|input| input.source == *name) {
            return self.replay(input, way(input, source, ports)?).map(Some);
        }
        Ok(load.and_then(|load| load.feed(name)).map(synthetic))
    }

    fn replay(&self, input: &Input, way: Way) -> Result<Instead, Problem> {
        let mut settings = way.settings;
        settings.push(("file", path(&input.file)?));
        if let Some(speed) = self.speed {
            let speed = speed.map_or_else(|| "max".to_owned(), |speed| format!("{speed}x"));
            settings.push(("speed", Value::Text(speed)));
        }
        if let Some(epoch_ns) = self.epoch_ns {
            settings.push(("epoch_ns", whole(epoch_ns)));
        }
        Ok(Instead {
            kind: way.kind,
            frames: way.frames,
            settings,
        })
    }

    /// Gives hops other depths and policies. The first `given` of them are the file's own, and only
    /// those are meant by `*`: a log that is added to see what is lost must not lose anything.
    pub(super) fn apply_to_hops(
        &self,
        hops: &mut [DraftHop],
        given: usize,
        problems: &mut Problems,
    ) {
        let before = problems.0.len();
        let mut changed: Vec<(&HopSetting, Vec<usize>)> = Vec::new();
        for setting in &self.hops {
            if let Some(Err((what, help))) = setting.depth.map(depth_is_right) {
                problems.push(Problem::new(format!("{}: {what}", setting.words()), help));
                continue;
            }
            let all = setting.hop == "*";
            let mut found = all;
            let mut meant = Vec::new();
            // A ring with several consumers has one depth and one policy.
            let named = hops.iter().find(|hop| hop.name() == setting.hop);
            let ring = named.and_then(|hop| hop.ring);
            for (at, hop) in hops.iter_mut().enumerate() {
                let is_named = hop.name() == setting.hop || (ring.is_some() && hop.ring == ring);
                if !(all && at < given || is_named) {
                    continue;
                }
                found = true;
                meant.push(at);
                if let Some(depth) = setting.depth {
                    hop.hop.depth = depth;
                }
                let before = hop.hop.policy;
                let policy = &mut hop.hop.policy;
                policy.when_full = setting.when_full.unwrap_or(policy.when_full);
                setting.apply(&mut hop.hop, problems);
                if hop.is_tap() {
                    if is_named && hop.hop.policy.when_full == WhenFull::Block {
                        let what = format!("{}: \"{}\" is a tap", setting.words(), hop.to);
                        let help = "nobody waits for a tap: give it a when_full that sheds, such as drop_newest";
                        problems.push(Problem::new(what, help));
                    }
                    if all {
                        keep_tap(&mut hop.hop.policy, &before);
                    }
                }
                if setting.when_full.is_some() || !setting.settings.is_empty() {
                    hop.places.policy_by = Some(setting.words());
                }
                // Of several settings the one that sets the depth is to blame.
                if setting.depth.is_some() || hop.places.changed_by.is_none() {
                    hop.places.changed_by = Some(setting.words());
                }
            }
            if !found {
                let given = match setting.given.as_str() {
                    "" => String::new(),
                    given => format!("{given}: "),
                };
                let what = format!("{given}\"{}\" is no hop of this line", setting.hop);
                problems.push(Problem::new(what, no_such_hop(&setting.hop, hops)));
            }
            changed.push((setting, meant));
        }
        // A later one may be what makes an earlier one act.
        let is_read = problems.0.len() == before;
        for (setting, meant) in changed.iter().filter(|_| is_read) {
            let meant = meant.iter().map(|at| &hops[*at].hop);
            let mut found = Problems::default();
            policy::without_effect(&setting.params(), meant, &mut found);
            setting.blame(found, problems);
        }
    }
}

/// Takes back what was set for all hops and decides who waits for whom: nobody waits for a tap.
fn keep_tap(policy: &mut Policy, before: &Policy) {
    policy.when_full = before.when_full;
    policy.then = before.then;
    policy.block_timeout_ns = before.block_timeout_ns;
    (policy.high, policy.low) = (before.high, before.low);
}

impl Instead {
    /// The settings of the source that stands in for one with settings `given`.
    pub(super) fn params(self, given: &Params, registry: &Registry) -> Result<Params, Problem> {
        let mut params = match self.frames {
            None => registry.decode_settings(given)?,
            Some(word) => {
                let mut params = Params::new(given.place().cloned());
                params.set("decode", Value::Text("captured".to_owned()), None);
                params.set("frames", Value::Text(word.to_owned()), None);
                params
            }
        };
        for (key, value) in self.settings {
            params.set(key, value, None);
        }
        Ok(params)
    }
}

fn synthetic(feed: &Feed) -> Instead {
    let word = |word: &str| Value::Text(word.to_owned());
    let mut settings = vec![
        ("seed", whole(feed.seed)),
        ("content", word(feed.content.name())),
        ("arrivals", Value::Text(feed.shape.to_string())),
    ];
    if !feed.shape.has_own_rate() {
        settings.push(("rate", Value::Text(format!("{}/s", feed.rate_per_s))));
    }
    if let Shape::Of(Arrivals::Bursty { burst, intensity }) = feed.shape {
        settings.push(("burst", Value::Int(i64::from(burst))));
        settings.push(("intensity", Value::Int(i64::from(intensity))));
    }
    if let Content::Datagrams { bytes } = feed.content {
        settings.push(("bytes", whole(bytes as u64)));
    }
    Instead {
        kind: "synthetic",
        frames: None,
        settings,
    }
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A path as a setting.
pub(super) fn path(path: &Path) -> Result<Value, Problem> {
    let text = path.to_str().ok_or_else(|| {
        let what = format!("the path {} is not UTF-8", path.display());
        Problem::new(what, "rename the file, or give a link to it")
    })?;
    Ok(Value::Text(text.to_owned()))
}
