//! The summary of a run: what stays on the screen, or goes into a file.

use hopline::base::units::Span;
use hopline::budget::culprit::Cause;
use hopline::budget::report::StageReport;
use hopline::host::Wish;
use hopline::topology::Report;

use super::around;
use super::captures;
use super::rows::{self, Detail, Since};
use super::text::{Paint, Tone, bytes, grouped, limit, rate, seconds, share, wrap};
use crate::report::RunReport;

/// Width of the words that lead the lines below the tables.
const LEAD: usize = 10;

/// Lines of text under a lead.
pub(crate) struct Lines<'a> {
    pub(crate) out: &'a mut Vec<String>,
    pub(crate) width: usize,
    pub(crate) paint: Paint,
    /// Columns of the leads.
    pub(crate) lead: usize,
}

impl Lines<'_> {
    /// A line that begins with `lead`; what does not fit goes on below it.
    pub(crate) fn add(&mut self, lead: &str, text: &str, tone: Tone) {
        let columns = self.lead;
        let room = self.width.saturating_sub(columns + 2).max(20);
        for (at, line) in wrap(text, room).iter().enumerate() {
            let lead = if at == 0 { lead } else { "" };
            let lead = self.paint.paint(&format!("{lead:<columns$}"), Tone::Dim);
            self.out
                .push(format!("  {lead}{}", self.paint.paint(line, tone)));
        }
    }
}

/// Everything about a run in lines of at most `width` columns.
pub(crate) fn lines(run: &RunReport, next: &[String], width: usize, paint: Paint) -> Vec<String> {
    let report = &run.report;
    let since = Since {
        before: None,
        span_ns: report.line.elapsed_ns,
    };
    let mut out = vec![String::new(), title(report, paint), String::new()];
    let mut hops = rows::hops(report, run.clean.as_ref(), since, Detail::Full);
    if let Some(edge) = &run.edge {
        super::edge::hops(&mut hops, &edge.hops);
    }
    let tables = [
        hops,
        rows::stages(report, since, Detail::Full),
        rows::sources(&report.ledger.sources),
        around::senders(&run.senders),
        around::exchanges(&run.exchange),
        around::listeners(run),
        rows::threads(report),
    ];
    for table in tables {
        if !table.is_empty() {
            out.extend(table.lines(width, paint));
            out.push(String::new());
        }
    }
    let mut lines = Lines {
        out: &mut out,
        width,
        paint,
        lead: LEAD,
    };
    jitter(&mut lines, run);
    clean(&mut lines, run);
    ledger(&mut lines, report);
    if let Some(culprit) = report.culprit() {
        let lost = culprit.lost > 0 || matches!(culprit.cause, Cause::Hangs | Cause::Drain);
        let tone = if lost { Tone::Bad } else { Tone::Warn };
        lines.add("culprit:", &culprit.why, tone);
    }
    if let Some(edge) = &run.edge {
        super::edge::lines(&mut lines, edge);
    }
    splits(&mut lines, report);
    overflow_files(&mut lines, report);
    drain(&mut lines, report);
    panics(&mut lines, report);
    for fault in &report.faults {
        lines.add("fault:", fault, Tone::Bad);
    }
    memory(&mut lines, run);
    for record in &report.records {
        lines.add("record:", &captures::recorded(record), Tone::Plain);
    }
    for note in &run.notes {
        lines.add("note:", note, Tone::Plain);
    }
    lines.add("verdict:", &verdict(run), Tone::Plain);
    for (at, hint) in next.iter().enumerate() {
        let lead = if at == 0 { "next:" } else { "" };
        lines.add(lead, hint, Tone::Plain);
    }
    out
}

fn title(report: &Report, paint: Paint) -> String {
    let messages: u64 = report
        .ledger
        .sources
        .values()
        .map(|source| source.received)
        .sum();
    let elapsed_ns = report.line.elapsed_ns;
    let per_s = messages as f64 * 1e9 / elapsed_ns.max(1) as f64;
    let threads = match report.placement.as_slice() {
        [one] if one.planned.placement == "inline" => "inline, on virtual time".to_owned(),
        [_] => "on 1 thread".to_owned(),
        many => format!("on {} threads", many.len()),
    };
    format!(
        "  {}  {} messages in {} ({}/s), {threads}",
        paint.paint(&report.line.name, Tone::Strong),
        grouped(messages),
        seconds(elapsed_ns),
        rate(per_s),
    )
}

fn jitter(lines: &mut Lines<'_>, run: &RunReport) {
    let whole = &run.report.end_to_end;
    if whole.sojourn_ns.count == 0 {
        return;
    }
    let mut text = format!("{} from end to end (p99 - p50)", Span(whole.jitter_ns));
    let mut tone = Tone::Plain;
    if let Some(budget_ns) = run.jitter_budget_ns {
        text += &format!(", budget {}", limit(budget_ns));
        if whole.jitter_ns > budget_ns {
            tone = Tone::Warn;
        }
    }
    if let Some(budget_ns) = run.ipdv_budget_ns {
        text += &format!("; ipdv: budget {}, gate judges it", limit(budget_ns));
    }
    lines.add("jitter:", &text, tone);
}

/// What the host touched, and what of it is not known.
fn clean(lines: &mut Lines<'_>, run: &RunReport) {
    let Some(clean) = &run.clean else {
        return;
    };
    let whole = &clean.end_to_end;
    if whole.judged() > 0 {
        let text = format!(
            "the host touched {} of the messages; the figures of the others stand under clean",
            share(whole.tainted, whole.judged())
        );
        lines.add("clean:", &text, Tone::Plain);
    }
    if let Some(text) = super::clean::doubts(clean) {
        lines.add("", &text, Tone::Warn);
    }
}

fn ledger(lines: &mut Lines<'_>, report: &Report) {
    let ledger = &report.ledger;
    let rejected: u64 = ledger
        .sources
        .values()
        .flat_map(|source| source.rejected.values())
        .sum();
    let kernel_dropped: u64 = ledger
        .sources
        .values()
        .map(|source| source.kernel_dropped)
        .sum();
    let feeds = ledger.sources.values();
    let lost_on_feeds: u64 = feeds
        .filter_map(|source| source.sequenced.as_ref())
        .map(|feed| feed.lost)
        .sum();
    let sinks = report.stages.iter().filter(|stage| stage.role == "sink");
    let refused: u64 = sinks.flat_map(|sink| sink.rejected.values()).sum();
    let stages = report.stages.iter().filter(|stage| stage.role == "stage");
    let panicked: u64 = stages
        .filter_map(|stage| stage.rejected.get("panicked"))
        .sum();
    let losses = [
        ("shed", ledger.shed),
        ("discarded", ledger.discarded),
        ("rejected", rejected),
        ("refused by sinks", refused),
        ("lost to panics", panicked),
        ("dropped by the kernel", kernel_dropped),
        ("lost by feeds", lost_on_feeds),
    ];
    let lost: Vec<String> = losses
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{} {word}", grouped(*count)))
        .collect();
    let lost = if lost.is_empty() {
        "every message accounted for, none lost".to_owned()
    } else {
        format!("every message accounted for: {}", lost.join(", "))
    };
    if ledger.closed {
        lines.add("ledger:", &format!("closed; {lost}"), Tone::Good);
    } else {
        lines.add("ledger:", "OPEN", Tone::Bad);
        for breach in &ledger.breaches {
            lines.add("", breach, Tone::Bad);
        }
    }
    for loss in &ledger.losses {
        lines.add("loss:", loss, Tone::Bad);
    }
}

/// What was divided, and the keys that had more than their part of it.
fn splits(lines: &mut Lines<'_>, report: &Report) {
    for split in &report.splits {
        let mut text = format!("by {}: {}", split.split, split.hops.join(", "));
        let mut tone = Tone::Plain;
        for (at, hot) in split.hot_keys.iter().enumerate() {
            let lead = if at == 0 { "; hot keys: " } else { ", " };
            text += &format!("{lead}{} (up to {:.0} %)", hot.key, 100.0 * hot.share_max);
            tone = Tone::Warn;
        }
        if split.isolate {
            text += &format!(
                "; moved {} times, {} messages kept apart",
                grouped(split.moves),
                grouped(split.isolated)
            );
            if split.stays > 0 {
                text += &format!(", {} times in vain", grouped(split.stays));
            }
        }
        lines.add("split:", &text, tone);
    }
}

/// A line for each file into which a hop overflows.
fn overflow_files(lines: &mut Lines<'_>, report: &Report) {
    for file in &report.overflow_files {
        let mut text = format!(
            "{} into {}: {} messages written, {} of {}",
            file.hop,
            file.file,
            grouped(file.written),
            bytes(file.bytes),
            bytes(file.bytes_max)
        );
        let mut tone = Tone::Plain;
        for (what, by) in [("failed", &file.failed), ("no room for", &file.refused)] {
            for (reason, count) in by {
                text += &format!("; {what} {} ({reason})", grouped(*count));
                tone = Tone::Warn;
            }
        }
        if file.pending > 0 {
            text += &format!("; {} to be written", grouped(file.pending));
        }
        lines.add("overflow:", &text, tone);
    }
}

/// A line for each stage that panicked and has a policy for that.
fn panics(lines: &mut Lines<'_>, report: &Report) {
    let with_policy = |stage: &&StageReport| stage.panics > 0 && stage.on_panic != "stop";
    for stage in report.stages.iter().filter(with_policy) {
        let mut text = format!("{}: {} panics", stage.name, grouped(stage.panics));
        if stage.on_panic == "restart" {
            text += &format!(
                ", made anew {} times, away for {} in all",
                grouped(stage.restarts),
                Span(stage.away_ns)
            );
        }
        text += &format!(
            "; {} in the report's quarantine",
            grouped(stage.quarantined)
        );
        if stage.quarantine_lost > 0 {
            text += &format!(", no room for {}", grouped(stage.quarantine_lost));
        }
        let first = report.quarantine.iter().find(|one| one.node == stage.name);
        if let Some(first) = first {
            text += &format!("; the first: {}", first.words);
        }
        lines.add("panics:", &text, Tone::Warn);
    }
}

fn drain(lines: &mut Lines<'_>, report: &Report) {
    let Some(drain) = &report.drain else {
        return;
    };
    let why = match drain.cause {
        "finished" => "the sources had ended",
        "duration" => "the time was over",
        "signal" => "a signal asked for it",
        "fault" => "a node failed",
        "stalled" => "a loop hung",
        other => other,
    };
    if drain.complete {
        let text = format!("complete in {} ({why})", Span(drain.elapsed_ns));
        lines.add("drain:", &text, Tone::Plain);
        return;
    }
    let text = format!(
        "given up after {} ({why}); it may take {}",
        Span(drain.elapsed_ns),
        Span(drain.deadline_ns)
    );
    lines.add("drain:", &text, Tone::Bad);
    for left in &drain.left {
        let text = format!(
            "{}: {} messages left, held by {}",
            left.hop,
            grouped(left.messages),
            left.held_by
        );
        lines.add("", &text, Tone::Bad);
    }
    for stuck in &drain.stuck {
        let text = format!("{stuck}: its handler did not return");
        lines.add("", &text, Tone::Bad);
    }
}

fn memory(lines: &mut Lines<'_>, run: &RunReport) {
    let line = &run.report.line;
    let planned = bytes(line.planned_bytes as u64);
    let text = match line.resident_bytes {
        Some(resident) => format!(
            "{planned} planned for the line, {} resident in all",
            bytes(resident)
        ),
        None => format!("{planned} planned for the line"),
    };
    lines.add("memory:", &text, Tone::Plain);
    for (name, granted) in line.memory.wishes() {
        if granted.asked == Wish::Off {
            continue;
        }
        let text = match &granted.note {
            None => format!("{name}: granted, {}", bytes(granted.bytes)),
            Some(why) if granted.bytes > 0 => {
                format!("{name}: granted in part, {}: {why}", bytes(granted.bytes))
            }
            Some(why) => format!("{name}: not granted: {why}"),
        };
        lines.add("", &text, Tone::Plain);
    }
}

fn verdict(run: &RunReport) -> String {
    let mut text = format!(
        "{}: counts over budget are raw, a run on this machine judges nothing",
        run.report.verdict
    );
    if rows::reached_nothing(&run.report) {
        // Before anything else, or none over budget looks like all within.
        text = format!("{}: {}", rows::NOTHING_REACHED, text);
    }
    if run.warmup_ns > 0 {
        let warmup = Span(run.warmup_ns);
        text += &format!("; the first {warmup} are not in the percentiles");
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::hints::hints;
    use super::*;
    use crate::case;
    use crate::cli::Shape;
    use std::collections::BTreeMap;

    use hopline::budget::report::{BudgetReport, ByReason, Percentiles};
    use hopline::io::{Driver, Virtual};
    use hopline::topology::{
        HotKeyReport, Inline, OverflowReport, Quarantined, Registry, SplitReport,
    };

    /// A short run of the built-in case, without threads.
    pub(crate) fn a_run() -> RunReport {
        let registry = hopline::stages::register(hopline::adapter::register(Registry::new()));
        let ready = case::load(&registry, &Shape::of(case::DEMONSTRATION), true).unwrap();
        let inline = Inline::new(Driver::from(Virtual::new())).stop_after_ns(200_000_000);
        let (report, _) = ready.line.run_inline(inline, None).unwrap();
        RunReport {
            report,
            sender_gaps: None,
            senders: Vec::new(),
            exchange: Vec::new(),
            listeners: Vec::new(),
            edge: None,
            clean: None,
            warmup_ns: 0,
            jitter_budget_ns: ready.jitter_ns,
            ipdv_budget_ns: ready.ipdv_ns,
            notes: Vec::new(),
        }
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        let run = a_run();
        let hints = hints(&run, "hopline", "tick-to-trade", true);
        for width in [80, 100, 120, 160] {
            for line in lines(&run, &hints, width, Paint(false)) {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let run = a_run();
        let plain = lines(&run, &[], 100, Paint(false)).join("\n");
        let coloured = lines(&run, &[], 100, Paint(true)).join("\n");
        assert!(coloured.contains("\x1b[") && !plain.contains('\x1b'));
        let mut bare = String::new();
        for (at, part) in coloured.split("\x1b[").enumerate() {
            let text = part.split_once('m').map_or("", |(_, text)| text);
            bare.push_str(if at == 0 { part } else { text });
        }
        assert_eq!(bare, plain);
    }

    #[test]
    fn panics_that_did_not_stop_the_line_have_a_line_each() {
        let mut run = a_run();
        assert!(
            !lines(&run, &[], 100, Paint(false))
                .join("\n")
                .contains("panics:")
        );
        let book = run
            .report
            .stages
            .iter_mut()
            .find(|stage| stage.name == "book");
        let book = book.unwrap();
        (book.on_panic, book.panics, book.restarts) = ("restart", 3, 2);
        (book.away_ns, book.quarantined, book.quarantine_lost) = (30_000_000, 2, 1);
        book.rejected.insert("panicked".to_owned(), 3);
        run.report.quarantine.push(Quarantined {
            node: "book".to_owned(),
            at_ns: 5,
            during: "timer",
            words: "an index\nis out of bounds".to_owned(),
            frame: None,
        });
        let text = lines(&run, &[], 200, Paint(false)).join("\n");
        let told = "panics:   book: 3 panics, made anew 2 times, away for 30.0ms in all; 2 in the report's quarantine, \
                    no room for 1; the first: an index is out of bounds";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("3 lost to panics"), "{text}");
    }

    #[test]
    fn a_split_names_its_hops_and_its_hot_keys() {
        let mut run = a_run();
        run.report.splits.push(SplitReport {
            hops: vec!["feed->one".to_owned(), "feed->two".to_owned()],
            split: "key",
            isolate: true,
            hot_keys: vec![HotKeyReport {
                key: 7,
                share: 0.0,
                share_max: 0.42,
            }],
            isolated: 1_234,
            moves: 2,
            stays: 1,
        });
        let text = lines(&run, &[], 200, Paint(false)).join("\n");
        let told = "split:    by key: feed->one, feed->two; hot keys: 7 (up to 42 %); moved 2 times, 1,234 messages kept apart, \
                    1 times in vain";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn a_file_into_which_a_hop_overflows_says_what_it_holds_and_what_it_does_not() {
        let mut run = a_run();
        let by = |reason: &str, count| [(reason.to_owned(), count)].into_iter().collect();
        run.report.overflow_files.push(OverflowReport {
            hop: "feed->book".to_owned(),
            file: "overflow.cap".to_owned(),
            handed: 12_350,
            refused: by("bound", 7),
            written: 12_340,
            failed: by("disk_full", 10),
            pending: 0,
            bytes: 3 << 20,
            bytes_max: 64 << 20,
            fault: None,
        });
        let text = lines(&run, &[], 200, Paint(false)).join("\n");
        let told = "overflow: feed->book into overflow.cap: 12,340 messages written, 3.0 MiB of 64.0 MiB; failed 10 (disk_full); \
                    no room for 7 (bound)";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn a_run_of_which_nothing_came_out_does_not_look_like_a_kept_budget() {
        let mut run = a_run();
        let text = |run: &RunReport| lines(run, &[], 200, Paint(false)).join("\n");
        assert!(!text(&run).contains(rows::NOTHING_REACHED));
        let whole = &mut run.report.end_to_end;
        assert!(whole.budget.is_some(), "the case has an objective");
        whole.sojourn_ns = Percentiles::default();
        whole.over_budget.clear();
        for stage in &mut run.report.stages {
            stage.forwarded = 0;
        }
        let text = text(&run);
        assert!(
            text.contains("verdict:  nothing reached the end: unjudged"),
            "{text}"
        );
        let row = text
            .lines()
            .find(|line| line.contains("end to end") && line.contains("p99"));
        let row = row.expect("a row of the whole");
        assert!(row.trim_end().ends_with('-'), "{row:?}");
    }

    #[test]
    fn a_hop_without_loss_counts_what_it_discards_and_its_ladder_is_told() {
        let mut run = a_run();
        let hop = &mut run.report.hops[0];
        let trade = |why: &str, count| {
            BTreeMap::from([(
                "trade".to_owned(),
                ByReason::from([(why.to_owned(), count)]),
            )])
        };
        hop.budget = Some(BudgetReport {
            lossless: true,
            ..BudgetReport::default()
        });
        hop.shed.insert("full".to_owned(), 983);
        hop.shed_by_kind = trade("full", 983);
        hop.discarded.insert("stale".to_owned(), 878_124);
        hop.discarded_by_kind = trade("stale", 878_124);
        hop.rung = "sample";
        hop.rungs = ByReason::from([("conflate".to_owned(), 3), ("sample".to_owned(), 2)]);
        hop.rungs_ns = ByReason::from([
            ("conflate".to_owned(), 5_000_000),
            ("sample".to_owned(), 40_000),
        ]);
        let since = Since {
            before: None,
            span_ns: run.report.line.elapsed_ns,
        };
        for detail in [Detail::Live, Detail::Full] {
            let table = rows::hops(&run.report, None, since, detail);
            let text = table.lines(200, Paint(false)).join("\n");
            let row = text.lines().find(|line| line.contains("no loss"));
            let row = row.unwrap_or_else(|| panic!("{text}"));
            assert!(row.contains("879,107"), "{row}");
            let ladder = "ladder: on sample now; conflate 3 times, 5.00ms; sample 2 times, 40.0us";
            assert!(text.contains(ladder), "{text}");
            let full = text.contains("discarded: trade (stale 878,124)");
            assert_eq!(full, detail == Detail::Full, "{text}");
        }
    }

    #[test]
    fn an_open_ledger_and_a_shedding_hop_are_named() {
        let mut run = a_run();
        assert!(
            lines(&run, &[], 100, Paint(false))
                .join("\n")
                .contains("closed; every")
        );
        run.report.ledger.closed = false;
        run.report.ledger.breaches = vec!["btc->book: 3 messages lost".to_owned()];
        run.report.hops[0].shed.insert("full".to_owned(), 3);
        let text = lines(&run, &[], 100, Paint(false)).join("\n");
        assert!(text.contains("ledger:   OPEN"), "{text}");
        assert!(text.contains("btc->book: 3 messages lost"), "{text}");
        let hints = hints(&run, "hopline", "mine", false).join("\n");
        assert!(hints.contains("--hop 'btc->book:depth=16384'"), "{hints}");
        assert!(!text.contains("culprit:"));
        run.report.culprit = Some(hopline::budget::Culprit {
            node: "book".to_owned(),
            hop: Some("btc->book".to_owned()),
            cause: Cause::Busy,
            why: "book was too slow for 3 messages".to_owned(),
            span_ns: 1,
            full_ns: 1,
            lost: 3,
            waiting: 0,
            busy_ns: 1,
            outside_ns: 0,
            thread_ns: 1,
        });
        let by = &mut run.report.stages[0].held_back_by_ns;
        by.insert("btc->book".to_owned(), 1_000);
        let text = lines(&run, &[], 100, Paint(false)).join("\n");
        assert!(
            text.contains("culprit:  book was too slow for 3 messages"),
            "{text}"
        );
        assert!(text.contains("held back by btc->book"), "{text}");
        let hints = super::super::hints::hints(&run, "hopline", "mine", false).join("\n");
        assert!(hints.contains("a deeper hop would only"), "{hints}");
    }
}
