//! How long what a stage holds back may wait: as long as the tightest of its messages has time to spare.
//!
//! Invariant: no fixed delay; a message waits for what its deadline or its budget leaves, and for nothing else.

use crate::base::units::Span;
use crate::overload::bounds::{SPAN_MAX_NS, SPAN_MIN_NS};
use crate::overload::{Flush, FlushParams};
use crate::stage::{Context, Origin};
use crate::topology::{Params, Problem};

/// What the rest of the way takes where nothing is said: a send over loopback.
const REST_NS: u64 = 5_000;

/// How long messages may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlackSpec {
    /// By when a message without a deadline of its own has to be out of the line, in nanoseconds after its
    /// intended time.
    pub budget_ns: u64,
    /// What the rest of the way takes, in nanoseconds: held messages leave so much before they are due, or as
    /// much as letting them go was measured to take, if that is more.
    pub rest_ns: u64,
}

impl SlackSpec {
    /// The settings `budget` and `rest`.
    ///
    /// # Errors
    /// A setting of the wrong type, no budget, one that the rest of the way uses up, and spans that no policy
    /// may have.
    pub(super) fn from_params(params: &mut Params) -> Result<SlackSpec, Problem> {
        let (budget_ns, rest_ns) = (params.span_ns("budget")?, params.span_ns("rest")?);
        let Some(budget_ns) = budget_ns else {
            let help = "write by when messages have to be out, such as budget = \"500us\"";
            return Err(params.problem("budget", "\"budget\" is missing", help));
        };
        let rest_ns = rest_ns.unwrap_or(REST_NS);
        if rest_ns >= budget_ns {
            let what = format!(
                "the rest of the way takes {}, and a budget of {} leaves nothing to wait for",
                Span(rest_ns),
                Span(budget_ns)
            );
            let key = if params.has("rest") { "rest" } else { "budget" };
            return Err(params.problem(key, what, "write a larger budget, or a shorter rest"));
        }
        for (key, span_ns) in [("rest", rest_ns), ("budget", budget_ns)] {
            if !(SPAN_MIN_NS..=SPAN_MAX_NS).contains(&span_ns) {
                let what = format!("\"{key}\" = {} is out of bounds", Span(span_ns));
                let (least, most) = (Span(SPAN_MIN_NS), Span(SPAN_MAX_NS));
                let help = format!("write a span from {least} to {most}");
                return Err(params.problem(key, what, help));
            }
        }
        Ok(SlackSpec { budget_ns, rest_ns })
    }

    /// Nothing held yet, at most so many messages.
    pub(super) fn nothing_held(&self, most: usize) -> Flush {
        let bounded = |span_ns: u64| span_ns.clamp(SPAN_MIN_NS, SPAN_MAX_NS);
        // The budget bounds the wait already, but for a message whose own deadline is further away.
        let (rest_ns, budget_ns) = (bounded(self.rest_ns), bounded(self.budget_ns));
        Flush::new(FlushParams::new(most as u32, rest_ns, budget_ns).unwrap_or_default())
    }

    /// When a message is due, in nanoseconds of the line's clock.
    pub(super) fn due_ns(&self, origin: Origin) -> u64 {
        let budgeted_ns = origin.t_intended_ns().saturating_add(self.budget_ns);
        origin.deadline_at_ns().unwrap_or(budgeted_ns)
    }
}

/// Asks to be woken when what is held has to go, if anything is.
pub(super) fn wake_for(flush: &Flush, cx: &mut Context<'_>) {
    if let Some(at_ns) = flush.at_ns() {
        cx.wake_at(at_ns);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::Envelope;
    use crate::topology::Value;

    #[test]
    fn a_deadline_of_its_own_comes_before_the_budget() {
        let spec = SlackSpec {
            budget_ns: 500_000,
            rest_ns: 5_000,
        };
        let origin = |deadline_ns| {
            Origin::of(&Envelope {
                t_offer_ns: 1_000_000,
                origin_ns: 200_000,
                deadline_ns,
                ..Envelope::default()
            })
        };
        assert_eq!(spec.due_ns(origin(0)), 1_300_000);
        assert_eq!(spec.due_ns(origin(30_000)), 1_030_000);
        assert_eq!(spec.due_ns(origin(900_000)), 1_900_000);
    }

    #[test]
    fn a_budget_is_needed_and_has_to_leave_something() {
        let read = |settings: &[(&str, &str)]| {
            let mut params = Params::new(None);
            for (key, span) in settings {
                params.set(key, Value::Text((*span).to_owned()), None);
            }
            SlackSpec::from_params(&mut params).map_err(|problem| problem.to_string())
        };
        let spec = SlackSpec {
            budget_ns: 500_000,
            rest_ns: 5_000,
        };
        assert_eq!(read(&[("budget", "500us")]), Ok(spec));
        assert_eq!(
            read(&[]).unwrap_err(),
            "\"budget\" is missing\n  help: write by when messages have to be out, such as budget = \"500us\""
        );
        assert_eq!(
            read(&[("budget", "20us"), ("rest", "20us")]).unwrap_err(),
            "the rest of the way takes 20.0us, and a budget of 20.0us leaves nothing to wait for\n  \
             help: write a larger budget, or a shorter rest"
        );
        assert_eq!(
            read(&[("budget", "2min")]).unwrap_err(),
            "\"budget\" = 120s is out of bounds\n  help: write a span from 1.00us to 68.7s"
        );
        assert!(read(&[("budget", "1ms"), ("rest", "20ns")]).is_err());
    }
}
