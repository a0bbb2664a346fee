//! What happens to a running line, for a person in words and for a log as JSON.
//!
//! One line of the log is one object: `time` (RFC 3339, UTC), `level` (`info`, `warn`, `error`), `event`, `line` (the line's
//! name), `message` in words, and what the event has to say. docs/METRICS.md lists the events.
//!
//! Invariant: read on the thread that watches the line, from what its loops show anyway.

use std::time::{Duration, SystemTime};

use hopline::clock::Clock;
use hopline::control::What;
use hopline::stage::State;
use hopline::topology::{Heard, Report, Running};
use serde_json::{Map, Value, json};

use crate::exit::Exit;

/// For how long nothing is said of a line that dies and comes back, so that one on a starved host does not flicker.
const QUIET: Duration = Duration::from_secs(1);

/// How serious it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) level: Level,
    pub(crate) event: &'static str,
    /// What it has to say, by name.
    pub(crate) fields: Map<String, Value>,
    /// The same in words.
    pub(crate) words: String,
}

impl News {
    /// `fields` is an object.
    pub(crate) fn new(
        level: Level,
        event: &'static str,
        fields: Value,
        words: impl Into<String>,
    ) -> News {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        News {
            level,
            event,
            fields,
            words: words.into(),
        }
    }

    /// Whether a person wants to read it while the line runs: what is only the course of its life is for a log.
    pub(crate) fn is_for_people(&self) -> bool {
        !matches!(self.event, "state" | "rung")
    }

    fn heard(heard: &Heard) -> News {
        let complaint = &heard.complaint;
        let (on, kept_back) = (&heard.on, complaint.kept_back);
        let (level, fields) = match complaint.what {
            What::SheddingEnded { shed, lasted_ns } => (
                Level::Info,
                json!({"hop": on, "shed": shed, "lasted_ns": lasted_ns, "kept_back": kept_back}),
            ),
            What::HungUp { why, times } => {
                let why = hopline::base::Reason::name(why);
                let fields =
                    json!({"node": on, "why": why, "times": times, "kept_back": kept_back});
                (Level::Warn, fields)
            }
            What::Failed => (Level::Error, json!({"node": on, "kept_back": kept_back})),
            _ => (Level::Warn, json!({"hop": on, "kept_back": kept_back})),
        };
        News::new(level, complaint.what.name(), fields, heard.words.clone())
    }

    /// Where a line is, once a second.
    pub(crate) fn status(report: &Report, words: String) -> News {
        let whole = &report.end_to_end.sojourn_ns;
        let fields = json!({
            "elapsed_ns": report.line.elapsed_ns,
            "count": whole.count,
            "p50_ns": whole.p50,
            "p99_ns": whole.p99,
            "max_ns": whole.max,
            "shed": report.ledger.shed,
            "discarded": report.ledger.discarded,
            "culprit": report.culprit().map(|culprit| culprit.why.clone()),
        });
        News::new(Level::Info, "status", fields, words)
    }

    /// How a run came to its end.
    pub(crate) fn ended(report: &Report, exit: Exit) -> News {
        let drain = report.drain.as_ref();
        let cause = drain.map_or("", |drain| drain.cause);
        let ledger = &report.ledger;
        let fields = json!({
            "cause": cause,
            "elapsed_ns": report.line.elapsed_ns,
            "drain_ns": drain.map_or(0, |drain| drain.elapsed_ns),
            "drain_complete": drain.is_some_and(|drain| drain.complete),
            "ledger_closed": ledger.closed,
            "breaches": ledger.breaches,
            "losses": ledger.losses,
            "faults": report.faults,
            "exit": exit.code(),
        });
        let level = match exit {
            Exit::Good => Level::Info,
            _ => Level::Error,
        };
        let closed = if ledger.closed {
            "closed"
        } else {
            "not closed"
        };
        News::new(
            level,
            "ended",
            fields,
            format!("ended: {cause}; ledger {closed}"),
        )
    }

    /// A line of the log, of the line of that name.
    pub(crate) fn json(&self, line: &str) -> String {
        let since = Duration::from_nanos(Clock::os().wall_ns());
        let time = humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since);
        let mut object = Map::new();
        object.insert("time".into(), time.to_string().into());
        object.insert("level".into(), self.level.name().into());
        object.insert("event".into(), self.event.into());
        object.insert("line".into(), line.into());
        object.extend(self.fields.clone());
        object.insert("message".into(), self.words.clone().into());
        Value::Object(object).to_string()
    }
}

/// Who listens to a running line.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    is_dead: bool,
    quiet_until: Duration,
    faults: usize,
    states: Vec<State>,
    rungs: Vec<&'static str>,
}

impl Ear {
    /// What is new: faults first, then complaints, life, states and rungs.
    pub(crate) fn hear(&mut self, running: &mut Running) -> Vec<News> {
        let mut news = Vec::new();
        for (node, fault) in running.faults().skip(self.faults) {
            let fields = json!({"node": node, "fault": fault});
            let words = format!("fault: {node}: {fault}");
            news.push(News::new(Level::Error, "fault", fields, words));
        }
        self.faults += news.len();
        // A failure is a fault, which has its own words.
        let complaints = running.complaints().into_iter();
        let complaints = complaints.filter(|one| one.complaint.what != What::Failed);
        news.extend(complaints.map(|one| News::heard(&one)));
        let health = running.health();
        let now = running.elapsed();
        if !running.has_failed() && now >= self.quiet_until {
            let why_not = health.why_not();
            if self.is_dead == why_not.is_empty() {
                self.is_dead = !self.is_dead;
                self.quiet_until = now + QUIET;
                news.push(match self.is_dead {
                    true => {
                        let words = format!("not alive: {}", why_not.join("; "));
                        News::new(
                            Level::Error,
                            "not_alive",
                            json!({"why_not": why_not}),
                            words,
                        )
                    }
                    false => News::new(Level::Info, "alive", json!({}), "alive again"),
                });
            }
        }
        self.states.resize(health.nodes.len(), State::Boot);
        for (known, node) in self.states.iter_mut().zip(&health.nodes) {
            let from = std::mem::replace(known, node.state);
            if from != node.state {
                let (from, to) = (from.name(), node.state.name());
                let fields = json!({"node": node.name, "from": from, "to": to});
                let words = format!("{}: {from} -> {to}", node.name);
                news.push(News::new(Level::Info, "state", fields, words));
            }
        }
        for (at, (hop, rung)) in running.rungs().enumerate() {
            if self.rungs.len() == at {
                self.rungs.push("none");
            }
            let from = std::mem::replace(&mut self.rungs[at], rung);
            if from != rung {
                let fields = json!({"hop": hop, "from": from, "to": rung});
                let words = format!("{hop}: rung {from} -> {rung}");
                news.push(News::new(Level::Warn, "rung", fields, words));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use hopline::base::Hangup;
    use hopline::control::Complaint;

    use super::*;

    fn of(what: What) -> Value {
        let heard = Heard {
            complaint: Complaint {
                what,
                at: 1,
                at_ns: 5,
                kept_back: 2,
            },
            on: "a->b".to_owned(),
            words: "some \"words\"\nof it".to_owned(),
        };
        let line = News::heard(&heard).json("small");
        assert!(!line.contains('\n'), "one line: {line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn complaints_are_lines_of_json_with_all_they_say() {
        let began = of(What::SheddingBegan);
        for (key, value) in [
            ("level", json!("warn")),
            ("event", json!("shedding_began")),
            ("line", json!("small")),
            ("hop", json!("a->b")),
            ("kept_back", json!(2)),
            ("message", json!("some \"words\"\nof it")),
        ] {
            assert_eq!(began[key], value, "{key}");
        }
        let time = began["time"].as_str().unwrap();
        assert!(
            humantime::parse_rfc3339(time).is_ok() && time.ends_with('Z'),
            "{time}"
        );
        let ended = of(What::SheddingEnded {
            shed: 7,
            lasted_ns: 9,
        });
        assert_eq!(
            (&ended["shed"], &ended["lasted_ns"]),
            (&json!(7), &json!(9))
        );
        assert_eq!(ended["level"], "info");
        let hung_up = of(What::HungUp {
            why: Hangup::Reset,
            times: 3,
        });
        assert_eq!(hung_up["node"], "a->b");
        assert_eq!(
            (&hung_up["why"], &hung_up["times"]),
            (&json!("reset"), &json!(3))
        );
        assert_eq!(of(What::Failed)["level"], "error");
        assert_eq!(of(What::CutOff)["event"], "cut_off");
    }
}
