//! Holds a report against an account: every count of the ledger, each computed anew from what the parts wrote down.
//!
//! Invariant: no method of the report that adds up is asked; an equation is checked by its terms.

use hopline::base::Shed;
use hopline::budget::report::{ByReason, HopReport, SourceReport, StageReport};
use hopline::overload::WhenFull;
use hopline::topology::Report;

use crate::account::{Account, Counts, Tally, count};
use crate::on_ring::Ring;
use crate::parts::KEYS;
use crate::plan::{CLASSES, NodePlan, Plan, RingPlan};

/// A node's name in its line.
pub(crate) fn name(plan: &Plan, node: usize) -> String {
    let letter = match plan.nodes[node] {
        NodePlan::Source(_) => "source",
        NodePlan::Stage(_) => "stage",
        NodePlan::Sink(_) => "sink",
    };
    format!("{letter}{node}")
}

/// What a hop's `from` says.
pub(crate) fn from(plan: &Plan, ring: &RingPlan) -> String {
    match ring.port {
        0 => name(plan, ring.from),
        _ => format!("{}.extra", name(plan, ring.from)),
    }
}

/// The name of a ring's hop to a consumer.
pub(crate) fn hop_name(plan: &Plan, ring: &RingPlan, to: usize) -> String {
    let class = ring
        .class
        .map_or(String::new(), |class| format!("#{}", CLASSES[class].0));
    format!("{}->{}{class}", from(plan, ring), name(plan, to))
}

/// All in which the report and the account differ, in words.
pub(crate) fn differences(plan: &Plan, account: &Account, report: &Report) -> Vec<String> {
    let mut found = Found(account.wrong.clone());
    let complete = report.drain.as_ref().is_some_and(|drain| drain.complete);
    let mut names = 0;
    let (mut shed, mut discarded) = (0, 0);
    for (at, (ring, on)) in plan.rings.iter().zip(&account.rings).enumerate() {
        shed += on.shed.values().sum::<u64>();
        for (place, to) in ring.to.iter().enumerate() {
            let hop_name = hop_name(plan, ring, *to);
            let hop = report.hops.iter().find(|hop| hop.name == hop_name);
            let Some(hop) = hop else {
                found.0.push(format!("{hop_name} is not in the report"));
                continue;
            };
            names += 1;
            offering(&mut found, on, hop);
            overflowing(&mut found, plan, report, at, hop);
            discarded += sum(&hop.discarded);
            arriving(
                &mut found,
                ring,
                on,
                place,
                hop,
                &account.nodes[*to],
                complete,
            );
            if complete && !account.nodes[*to].failed {
                arrived(&mut found, ring, on, place, hop);
            }
        }
    }
    dividing(&mut found, plan, account, report);
    found.same("hops", report.hops.len(), names);
    if account.rings.iter().all(Ring::is_foretold) {
        found.same("ledger.shed", report.ledger.shed, shed);
    }
    found.same("ledger.discarded", report.ledger.discarded, discarded);
    found.same("nodes", report.stages.len(), plan.nodes.len());
    for (at, tally) in account.nodes.iter().enumerate() {
        let name = name(plan, at);
        let Some(node) = report.stages.iter().find(|node| node.name == name) else {
            found.0.push(format!("{name} is not in the report"));
            continue;
        };
        life(&mut found, node, tally, complete);
        found.same(&format!("{name}: emitted"), node.emitted, tally.emitted);
        match &plan.nodes[at] {
            NodePlan::Source(_) => match report.ledger.sources.get(&name) {
                Some(source) => receiving(&mut found, &name, source, tally, complete),
                None => found.0.push(format!("{name} is no source of the ledger")),
            },
            NodePlan::Stage(_) => {
                consuming(&mut found, node, tally);
                inputs(&mut found, plan, report, at, node);
            }
            NodePlan::Sink(_) => {
                consuming(&mut found, node, tally);
                inputs(&mut found, plan, report, at, node);
                let end = report.end_to_end.sinks.get(&name).map(|spans| spans.count);
                found.same(&format!("{name}: from end to end"), end, Some(tally.sent));
            }
        }
    }
    verdict(&mut found, plan, account, report, complete);
    found.0
}

struct Found(Vec<String>);

impl Found {
    fn same<T: PartialEq + core::fmt::Debug>(&mut self, what: &str, told: T, known: T) {
        if told != known {
            self.0.push(format!(
                "{what}: the report says {told:?}, it was {known:?}"
            ));
        }
    }

    fn counts(&mut self, what: &str, told: &ByReason, known: &Counts) {
        let same = told.len() == known.len()
            && told
                .iter()
                .zip(known)
                .all(|((a, m), (b, n))| a == b && m == n);
        if !same {
            self.0.push(format!(
                "{what}: the report says {told:?}, it was {known:?}"
            ));
        }
    }

    fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }
}

fn sum(counts: &ByReason) -> u64 {
    counts.values().sum()
}

/// offered = accepted + shed{reason}, each as it was; nothing waits at the end.
fn offering(found: &mut Found, on: &Ring, hop: &HopReport) {
    let name = &hop.name;
    let more = hop.offered.checked_sub(on.offered);
    found.holds(
        &format!(
            "{name}: offered {}, of {} and perhaps {}",
            hop.offered, on.offered, on.perhaps
        ),
        more.is_some_and(|more| more <= on.perhaps),
    );
    found.same(&format!("{name}: waiting"), hop.waiting, 0);
    found.holds(
        &format!("{name}: offered is not accepted and shed: {hop:?}"),
        hop.offered == hop.accepted + sum(&hop.shed),
    );
    let by_kind: u64 = hop.shed_by_kind.values().map(sum).sum();
    found.same(&format!("{name}: shed by kind"), by_kind, sum(&hop.shed));
    for (why, shed) in &hop.shed {
        let counts = hop.shed_by_kind.values();
        let by_kind: u64 = counts.filter_map(|counts| counts.get(why)).sum();
        found.same(&format!("{name}: shed {why} by kind"), by_kind, *shed);
    }
    if on.is_foretold() {
        found.same(&format!("{name}: accepted"), hop.accepted, on.accepted);
        found.counts(&format!("{name}: shed"), &hop.shed, &on.shed);
        found.same(
            &format!("{name}: kinds that were shed"),
            hop.shed_by_kind.len(),
            on.shed_by_kind.len(),
        );
        for (kind, known) in &on.shed_by_kind {
            let none = ByReason::new();
            let told = hop.shed_by_kind.get(*kind).unwrap_or(&none);
            found.counts(&format!("{name}: shed of {kind}"), told, known);
        }
        return;
    }
    // Some of what was offered may have been accepted or not: it is in one of the reasons that the policy knows.
    let more = hop.accepted.checked_sub(on.accepted);
    found.holds(
        &format!(
            "{name}: accepted {}, of {} and perhaps {}",
            hop.accepted, on.accepted, on.maybe
        ),
        more.is_some_and(|more| more <= on.maybe + on.perhaps),
    );
    let mut reasons: Vec<&str> = on.rules().sheds.iter().map(|shed| name_of(*shed)).collect();
    if on.perhaps > 0 {
        reasons.extend(["closed", "oversize"]);
    }
    for (why, told) in &hop.shed {
        let known = on.shed.get(why.as_str()).copied().unwrap_or(0);
        found.holds(
            &format!("{name}: shed {why} {told}, it was {known}"),
            *told == known || (reasons.contains(&why.as_str()) && *told > known),
        );
    }
    for (why, known) in &on.shed {
        let told = hop.shed.get(*why).copied().unwrap_or(0);
        found.holds(
            &format!("{name}: shed {why} {told}, it was {known}"),
            told >= *known,
        );
    }
}

/// What a hop gets that takes what others have no room for is what they say that they passed on.
fn overflowing(found: &mut Found, plan: &Plan, report: &Report, at: usize, hop: &HopReport) {
    let of = plan.spilling_to(at);
    if of.is_empty() {
        return;
    }
    let overflowed = |ring: &usize| {
        let ring = &plan.rings[*ring];
        let name = hop_name(plan, ring, ring.to[0]);
        let hop = report.hops.iter().find(|hop| hop.name == name)?;
        hop.shed.get("overflowed").copied()
    };
    let overflowed: Vec<u64> = of.iter().filter_map(overflowed).collect();
    let (most, least) = (
        overflowed.iter().sum(),
        overflowed.iter().max().copied().unwrap_or(0),
    );
    // What several have no room for comes once.
    found.holds(
        &format!(
            "{}: offered {}, others passed on {overflowed:?}",
            hop.name, hop.offered
        ),
        (least..=most).contains(&hop.offered),
    );
}

/// Each message of a split was offered to one of its hops.
fn dividing(found: &mut Found, plan: &Plan, account: &Account, report: &Report) {
    for (first, offered) in &account.divided {
        let rings = plan.list_of(*first);
        let names = rings.iter().map(|at| {
            let ring = &plan.rings[*at];
            hop_name(plan, ring, ring.to[0])
        });
        let names: Vec<String> = names.collect();
        let hops = report.hops.iter().filter(|hop| names.contains(&hop.name));
        let told: u64 = hops.map(|hop| hop.offered).sum();
        found.same(&format!("{}: offered", names.join(" + ")), told, *offered);
    }
}

/// Whether the last message of each key has to come by a hop whose consumer took all that it was given: its table had room for
/// each key, and nothing but room was wanting.
pub(crate) fn keeps_the_last(ring: &RingPlan, hop: &HopReport) -> bool {
    let had_room = ring.most_keys as u64 >= KEYS;
    let may_be = |why: &String| why == "conflated" || (why == "full" && had_room);
    ring.policy.when_full == WhenFull::Conflate
        && hop.discarded.is_empty()
        && hop.shed.keys().all(may_be)
}

/// What there is to say of a hop whose consumer took all that it was given.
fn arrived(found: &mut Found, ring: &RingPlan, on: &Ring, place: usize, hop: &HopReport) {
    let reader = &on.readers[place];
    if !hop.discarded.is_empty() {
        return;
    }
    if on.perhaps == 0 {
        for (kind, offered) in &on.offered_by_kind {
            let shed = hop.shed_by_kind.get(*kind).map_or(0, sum);
            let came = reader.by_kind.get(kind).copied().unwrap_or(0);
            found.same(
                &format!("{}: {kind} came or were shed", hop.name),
                came + shed,
                *offered,
            );
        }
    }
    if keeps_the_last(ring, hop) {
        for (key, seq) in &on.last_of {
            found.holds(
                &format!("{}: {seq}, the last of key {key}, did not come", hop.name),
                reader.done.contains(seq),
            );
        }
    }
}

fn name_of(shed: Shed) -> &'static str {
    hopline::base::Reason::name(shed)
}

/// accepted = delivered + in flight + discarded{reason}, each as it was.
fn arriving(
    found: &mut Found,
    ring: &RingPlan,
    on: &Ring,
    place: usize,
    hop: &HopReport,
    to: &Tally,
    complete: bool,
) {
    let name = &hop.name;
    let reader = &on.readers[place];
    found.same(
        &format!("{name}: delivered"),
        hop.delivered,
        reader.delivered,
    );
    found.same(&format!("{name}: in flight"), hop.in_flight, 0);
    found.holds(
        &format!("{name}: accepted is not delivered and discarded: {hop:?}"),
        hop.accepted == hop.delivered + hop.in_flight + sum(&hop.discarded),
    );
    for (why, discarded) in &hop.discarded {
        let counts = hop.discarded_by_kind.values();
        let by_kind: u64 = counts.filter_map(|counts| counts.get(why)).sum();
        found.same(
            &format!("{name}: discarded {why} by kind"),
            by_kind,
            *discarded,
        );
    }
    found.same(
        &format!("{name}: recorded"),
        hop.sojourn_ns.count,
        reader.delivered,
    );
    found.holds(
        &format!("{name}: deeper than it is"),
        hop.depth_max <= ring.depth as u64,
    );
    let malformed = hop.discarded.get("malformed").copied().unwrap_or(0);
    let least = reader.malformed;
    let most = least + reader.maybe_malformed + on.aliens_left(place);
    let own = &on.rules().discards;
    let ended = complete && !to.failed && on.is_foretold() && own.is_empty();
    found.holds(
        &format!("{name}: malformed {malformed}, from {least} to {most}"),
        (if ended { most } else { least }..=most).contains(&malformed),
    );
    let by_policy: u64 = own.iter().filter_map(|why| hop.discarded.get(*why)).sum();
    let rest = hop
        .accepted
        .saturating_sub(hop.delivered + malformed + by_policy);
    let mut known = Counts::new();
    count(&mut known, "malformed", malformed);
    own.iter().for_each(|why| {
        count(
            &mut known,
            why,
            hop.discarded.get(*why).copied().unwrap_or(0),
        )
    });
    match (to.failed, complete) {
        (true, _) => count(&mut known, "stage_failed", rest),
        (false, false) => count(&mut known, "drain_deadline", rest),
        (false, true) => found.same(&format!("{name}: lost without a reason"), rest, 0),
    }
    found.counts(&format!("{name}: discarded"), &hop.discarded, &known);
}

/// consumed = forwarded + absorbed{reason} + rejected{reason} + held, each as it was.
fn consuming(found: &mut Found, node: &StageReport, tally: &Tally) {
    let name = &node.name;
    found.same(&format!("{name}: consumed"), node.consumed, tally.consumed);
    found.same(
        &format!("{name}: forwarded"),
        node.forwarded,
        tally.forwarded,
    );
    let mut absorbed = tally.absorbed.clone();
    count(&mut absorbed, "undeclared", tally.undeclared);
    found.counts(&format!("{name}: absorbed"), &node.absorbed, &absorbed);
    let (mut rejected, mut held) = (tally.rejected.clone(), tally.held);
    if node.state == "aborted" {
        count(&mut rejected, "line_ended", core::mem::take(&mut held));
    }
    found.counts(&format!("{name}: rejected"), &node.rejected, &rejected);
    found.same(&format!("{name}: held"), node.held, held);
    let disposed = node.forwarded + sum(&node.absorbed) + sum(&node.rejected) + node.held;
    found.same(&format!("{name}: disposed of"), disposed, node.consumed);
}

/// What a node consumed is what its hops delivered.
fn inputs(found: &mut Found, plan: &Plan, report: &Report, at: usize, node: &StageReport) {
    let into = plan.rings.iter().filter(|ring| ring.to.contains(&at));
    let names = into.map(|ring| hop_name(plan, ring, at));
    let delivered = names.filter_map(|name| report.hops.iter().find(|hop| hop.name == name));
    let delivered: u64 = delivered.map(|hop| hop.delivered).sum();
    found.same(
        &format!("{}: consumed of its hops", node.name),
        node.consumed,
        delivered,
    );
}

/// received = ingested + shed + rejected{reason} + undeclared, each as it was.
fn receiving(found: &mut Found, name: &str, source: &SourceReport, tally: &Tally, complete: bool) {
    let received = tally.received + tally.in_hand;
    found.same(&format!("{name}: received"), source.received, received);
    found.same(&format!("{name}: bytes"), source.bytes, 8 * tally.received);
    found.same(
        &format!("{name}: ingested"),
        source.ingested,
        tally.ingested,
    );
    found.same(&format!("{name}: shed"), source.shed, tally.shed);
    found.same(
        &format!("{name}: undeclared"),
        source.undeclared,
        tally.undeclared,
    );
    let mut rejected = tally.rejected.clone();
    count(&mut rejected, "line_ended", tally.in_hand);
    found.counts(&format!("{name}: rejected"), &source.rejected, &rejected);
    found.same(
        &format!("{name}: received, and what became of it"),
        source.received,
        source.ingested + source.shed + source.undeclared + sum(&source.rejected),
    );
    if complete && !tally.failed {
        found.same(&format!("{name}: left in hand"), tally.in_hand, 0);
    }
}

/// How a node ended, and what it says of its faults.
fn life(found: &mut Found, node: &StageReport, tally: &Tally, complete: bool) {
    let name = &node.name;
    let state = match (tally.failed, complete) {
        (true, _) => node.state == "failed",
        (false, true) => node.state == "done",
        (false, false) => node.state == "done" || node.state == "aborted",
    };
    found.holds(&format!("{name}: is {}", node.state), state);
    if node.role == "stage" {
        found.same(&format!("{name}: panics"), node.panics, tally.panics);
        let restarts = node.restarts;
        found.holds(
            &format!("{name}: restarts {restarts}, of {}", tally.restarts),
            restarts == tally.restarts || (!complete && restarts < tally.restarts),
        );
        let kept = match node.on_panic {
            "stop" => 0,
            _ => tally.panics,
        };
        found.same(&format!("{name}: quarantined"), node.quarantined, kept);
    }
    let has_fault = tally.failed || tally.flush_failed;
    found.same(
        &format!("{name}: has a fault"),
        node.fault.is_some(),
        has_fault,
    );
}

/// What the report says of the whole run.
fn verdict(found: &mut Found, plan: &Plan, account: &Account, report: &Report, complete: bool) {
    let undeclared = account.nodes.iter().any(|node| node.undeclared > 0);
    // As many as is held against each node's account; what one that was given up held is disposed of.
    let held = report.stages.iter().any(|stage| stage.held > 0);
    let closed = !undeclared && !held;
    found.holds(
        &format!(
            "the ledger is closed: {}, breaches {:?}",
            report.ledger.closed, report.ledger.breaches
        ),
        report.ledger.closed == closed && report.ledger.breaches.is_empty() == closed,
    );
    found.holds(
        "a drain was given up, and no sink was stuck",
        complete || plan.may_give_up(),
    );
    found.same("losses", report.ledger.losses.is_empty(), complete);
    let failed = account
        .nodes
        .iter()
        .any(|node| node.failed || node.flush_failed);
    found.same("faults", !report.faults.is_empty(), failed);
    found.same("is good", report.is_good(), closed && complete && !failed);
    let kept: u64 = report.stages.iter().map(|node| node.quarantined).sum();
    found.same("the quarantine", report.quarantine.len() as u64, kept);
    let Some(drain) = &report.drain else {
        found.0.push("there is no word of how it ended".to_owned());
        return;
    };
    let left: u64 = drain.left.iter().map(|left| left.messages).sum();
    let lost = report
        .hops
        .iter()
        .filter_map(|hop| hop.discarded.get("drain_deadline"));
    let stages = report.stages.iter().filter(|stage| stage.role == "stage");
    let kept = stages.filter_map(|stage| stage.rejected.get("line_ended"));
    let lost = lost.chain(kept).sum::<u64>();
    found.same("left at the drain's deadline", left, lost);
}
