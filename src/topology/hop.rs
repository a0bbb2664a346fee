//! A hop as wished for: its ring's depth, what happens when that is full, its budget, and who shares it.

use std::path::PathBuf;

use crate::base::limits::{CONFLATE_KEYS_DEFAULT, DEPTH_DEFAULT};
use crate::budget::{Budget, BudgetError, Quantile};
use crate::overload::{Policy, Slow, Split, WhenFull};

use super::draft::Names;
use super::record::Record;

/// A ring's depth, policy and budget.
///
/// ```
/// use hopline::overload::WhenFull;
/// use hopline::topology::{Hop, p99};
/// let hop = Hop::depth(1024).when_full(WhenFull::DropNewest).budget(p99("20us"));
/// assert_eq!(hop.depth, 1024);
/// ```
#[derive(Clone, Debug)]
pub struct Hop {
    /// Slots; a power of two.
    pub depth: usize,
    /// What happens when there is too much.
    pub policy: Policy,
    /// Where [`WhenFull::Overflow`] sends what it has no room for: a node that another hop of the same port leads to, which
    /// then gets nothing else.
    pub overflow_to: Option<String>,
    /// The file into which [`WhenFull::Overflow`] writes what it has no room for, instead of another hop.
    pub overflow_file: Option<OverflowFile>,
    /// Keys of the table of [`WhenFull::Conflate`] at most.
    pub most_keys: usize,
    /// Inputs of a lower rank come first at the consumer; those of one rank take turns.
    pub rank: u8,
    /// Which of the port's kinds it carries, where the port's messages are divided into classes.
    pub class: Option<Class>,
    /// What it owes.
    pub budget: Option<Budget>,
    /// Of several consumers those that wait for others, with the others.
    pub after: Vec<(String, Vec<String>)>,
    /// How messages are divided among several consumers; all of them get all without.
    pub split: Option<Split>,
    /// Whether hot keys move to the last one of them.
    pub isolate: bool,
    /// Of several consumers of all messages those that have a ring of their own, since they may be slow.
    pub slow: Vec<(String, Slow)>,
    /// The file that what it delivers is recorded to.
    pub record: Option<Record>,
    /// Whether the consumer is cut off where it has held the producer back for the policy's `block_timeout_ns`.
    pub(crate) disconnects: bool,
    pub(crate) budget_error: Option<BudgetError>,
}

impl Default for Hop {
    fn default() -> Hop {
        Hop::depth(DEPTH_DEFAULT)
    }
}

impl Hop {
    /// A hop of that many slots that holds its producer back when it is full.
    #[must_use]
    pub fn depth(depth: usize) -> Hop {
        Hop {
            depth,
            policy: Policy::of(WhenFull::Block),
            overflow_to: None,
            overflow_file: None,
            most_keys: CONFLATE_KEYS_DEFAULT,
            rank: 0,
            class: None,
            budget: None,
            after: Vec::new(),
            split: None,
            isolate: false,
            slow: Vec::new(),
            record: None,
            disconnects: false,
            budget_error: None,
        }
    }

    /// The same, and what it delivers is recorded to that file, of at most `bytes_max` bytes. The recorder is a lossy copy on a
    /// thread of its own: it can hold nothing up, and what it has no room for is counted. See `docs/CAPTURES.md`.
    ///
    /// ```
    /// use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).record("btc.cap", 1 << 30);
    /// assert_eq!(hop.record.unwrap().bytes_max, 1 << 30);
    /// ```
    #[must_use]
    pub fn record(mut self, path: impl AsRef<std::path::Path>, bytes_max: u64) -> Hop {
        self.record = Some(Record {
            path: path.as_ref().to_owned(),
            bytes_max,
        });
        self
    }

    /// The same with another hard limit.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Hop {
        self.policy.when_full = when_full;
        self
    }

    /// The same with another policy: hard and soft limits.
    ///
    /// ```
    /// use hopline::overload::{Policy, WhenFull};
    /// use hopline::topology::Hop;
    /// let policy = Policy {
    ///     deadline_ns: 500_000,
    ///     ..Policy::of(WhenFull::DropNewest)
    /// };
    /// assert_eq!(Hop::depth(1024).policy(policy).policy.deadline_ns, 500_000);
    /// ```
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Hop {
        self.policy = policy;
        self
    }

    /// The same with a node that gets what it has no room for, under [`WhenFull::Overflow`]. Another hop must lead there from the
    /// same port; it carries nothing else.
    #[must_use]
    pub fn overflow_to(mut self, node: &str) -> Hop {
        self.overflow_to = Some(node.to_owned());
        self
    }

    /// The same with a file of at most `bytes_max` that gets what it has no room for, under [`WhenFull::Overflow`]: a capture, written
    /// by a thread beside the line's loops. The line does not start where that file holds messages of an earlier run.
    ///
    /// ```
    /// use hopline::overload::WhenFull;
    /// use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).when_full(WhenFull::Overflow);
    /// let hop = hop.overflow_file("overflow.cap", 64 << 20);
    /// assert_eq!(hop.overflow_file.unwrap().bytes_max, 64 << 20);
    /// ```
    #[must_use]
    pub fn overflow_file(mut self, path: impl Into<PathBuf>, bytes_max: u64) -> Hop {
        self.overflow_file = Some(OverflowFile {
            path: path.into(),
            bytes_max,
        });
        self
    }

    /// The same for the frames of these kinds alone, by their names, under the name `from->to#class`. A port whose messages are
    /// divided is connected once for each class, in the order of their importance: the consumer takes from the first one that has
    /// something, and a guard keeps the others from starving. The last class also carries what no other names.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// let depth = Hop::depth(1024).class("book", ["depthUpdate", "snapshot"]);
    /// let rest = Hop::depth(64).class("rest", [""; 0]);
    /// assert_eq!(depth.class.unwrap().kinds.len(), 2);
    /// # let _ = rest;
    /// ```
    #[must_use]
    pub fn class(mut self, name: &str, kinds: impl Names) -> Hop {
        self.class = Some(Class {
            name: name.to_owned(),
            kinds: kinds.names(),
        });
        self
    }

    /// The same with an order among its consumers: `consumer` gets a message only after all of `others` are
    /// done with it. For a hop that leads to several nodes.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// let hop = Hop::depth(1024).after("publish", ["log", "replicate"]);
    /// assert_eq!(hop.after[0].1, ["log", "replicate"]);
    /// ```
    #[must_use]
    pub fn after(mut self, consumer: &str, others: impl Names) -> Hop {
        self.after.push((consumer.to_owned(), others.names()));
        self
    }

    /// The same with its messages divided among its consumers: each has a ring of its own, and each message goes to one of them.
    /// For a hop that leads to several nodes.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// use hopline::overload::Split;
    /// let hop = Hop::depth(256).split(Split::ByKey).isolate();
    /// assert!(hop.isolate);
    /// ```
    #[must_use]
    pub fn split(mut self, split: Split) -> Hop {
        self.split = Some(split);
        self
    }

    /// The same with hot keys moved to the last consumer, which gets nothing else, where messages are
    /// [divided](Hop::split) by key. Each producer knows its own hot keys, so only one may isolate them among the same consumers.
    #[must_use]
    pub fn isolate(mut self) -> Hop {
        self.isolate = true;
        self
    }

    /// The same with what happens if `consumer` is slower than the others: for a hop that leads to several nodes, of which each
    /// gets all messages. [`Slow::Disconnect`] needs a policy with a `block_timeout_ns`, which is then for those that are
    /// disconnected alone, and with `then` as [`Policy::of`] has it.
    ///
    /// ```
    /// # use hopline::topology::Hop;
    /// use hopline::overload::Slow;
    /// let hop = Hop::depth(1024).slow("monitor", Slow::Tap);
    /// assert_eq!(hop.slow.len(), 1);
    /// ```
    #[must_use]
    pub fn slow(mut self, consumer: &str, slow: Slow) -> Hop {
        self.slow.push((consumer.to_owned(), slow));
        self
    }

    /// The same with a budget, such as [`p99("20us")`](p99). A wrong one is reported when the
    /// line is built.
    #[must_use]
    pub fn budget(mut self, budget: Result<Budget, BudgetError>) -> Hop {
        match budget {
            Ok(budget) => self.budget = Some(budget),
            Err(error) => self.budget_error = Some(error),
        }
        self
    }
}

/// A file for what a hop has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverflowFile {
    /// Where it lies; a relative path starts at the folder that the process is in.
    pub path: PathBuf,
    /// Most bytes of it, from [`OVERFLOW_FILE_BYTES_MIN`](crate::base::limits::OVERFLOW_FILE_BYTES_MIN) to
    /// [`OVERFLOW_FILE_BYTES_MAX`](crate::base::limits::OVERFLOW_FILE_BYTES_MAX).
    pub bytes_max: u64,
}

/// Some of the kinds of a port, as a class of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name, behind `#` in the hop's.
    pub name: String,
    /// Names of kinds; the last class of a port may name none.
    pub kinds: Vec<String>,
}

/// A budget on the median of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p50(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P50, span)
}

/// A budget on the 90th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p90(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P90, span)
}

/// A budget on the 99th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p99(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P99, span)
}

/// A budget on the 99.9th percentile of the sojourn.
///
/// # Errors
/// No span, zero, or too long.
pub fn p99_9(span: &str) -> Result<Budget, BudgetError> {
    Budget::default().limit(Quantile::P999, span)
}
