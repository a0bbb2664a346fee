//! What is said of each frame by itself: whether it is clean, and what made it take as long as it did.
//!
//! An analysis has sums. Whoever planted something and counts whether it is found needs every frame: `cargo bench --bench
//! planted`.
//!
//! Invariant: the same words as in the analysis of the same evidence, by the same code.

use hopline::budget::Evidence;
use hopline::budget::taint::Gaps;

use super::analyse::{Given, exposure, leaving};
use super::blame::Causes;
use super::touch::{Host, consumer_loop};
use hopline::budget::ways::Ways;

/// What is said of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether the host did nothing to it.
    pub is_clean: bool,
    /// The cause of what it took, as in [`SpanAnalysis::blame`](super::model::SpanAnalysis::blame).
    pub cause: String,
}

/// What is said of all frames of a run, those of the warm-up too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Each {
    /// On each hop, in the order of its passages.
    pub on_hops: Vec<Vec<Said>>,
    /// From end to end, in the order of the hops by which they left and of the passages there.
    pub end_to_end: Vec<Said>,
}

/// What an analysis says of each frame of a run; see [`analyse`](super::analyse::analyse).
///
/// ```
/// use hopline::budget::{Evidence, HopEvidence, Passage};
/// use hopline_harness::gate::{analyse::Given, each::each};
///
/// let left = Passage { t_offer_ns: 1_000, wait_ns: 100, service_ns: 300, flags: Passage::LEFT, ..Passage::default() };
/// let hop = HopEvidence { name: "in->out".to_owned(), passages: vec![left], lost: 0 };
/// let evidence = Evidence { hops: vec![hop], ..Evidence::default() };
/// let said = each(&evidence, &Given::default());
/// assert!(said.on_hops[0][0].is_clean);
/// assert_eq!(said.end_to_end[0].cause, "service");
/// ```
#[must_use]
pub fn each(evidence: &Evidence, given: &Given) -> Each {
    let from_ns = evidence.began_ns + given.warmup_ns;
    let gaps = Gaps::find(evidence, &given.generator_gaps);
    let exposure_ns = given
        .exposure_ns
        .unwrap_or_else(|| exposure(evidence, &gaps, from_ns));
    let host = Host::new(evidence, &gaps, exposure_ns, from_ns, given.usual_work_ns);
    let causes = Causes::new(evidence, &gaps);
    let on_hop = |(at, hop): (usize, &hopline::budget::HopEvidence)| {
        let consumer = consumer_loop(evidence, &hop.name);
        let passages = hop.passages.iter();
        let said = passages.map(|passage| Said {
            is_clean: host.touch(passage, passage.t_offer_ns, consumer).is_clean(),
            cause: causes.of(at, passage),
        });
        said.collect()
    };
    let ways = Ways::new(evidence);
    let left = leaving(evidence).map(|(hop, passage)| {
        let way = ways.of(hop, passage);
        let way = way.unwrap_or_else(|| vec![(hop, passage)]);
        Said {
            is_clean: host.touch(passage, passage.due_ns(), None).is_clean(),
            cause: causes.of_way(&way).0,
        }
    });
    Each {
        on_hops: evidence.hops.iter().enumerate().map(on_hop).collect(),
        end_to_end: left.collect(),
    }
}
