//! What came of a load: one value for machines, a table for people, and the code to end with.
//!
//! Invariant: what was not checked is not said to be good.

use hopline::base::units::Span;
use hopline::budget::report::Percentiles;
use hopline::host::ProcessUse;
use serde::Serialize;

use super::check::Checks;
use super::counts::{Beats, ByName, Counts, SpanReport};
use super::plan::Via;
use super::server::ServerReport;
use super::turns::Ending;
use super::world::{CutReport, World};
use crate::exit::Exit;
use crate::view::summary::Lines;
use crate::view::table::{Cell, Table, numbers, words};
use crate::view::text::{Paint, Tone, bytes, grouped, rate, seconds, share};

/// Columns of what stands before a finding.
const LEAD: usize = 16;

/// The clients of a load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClientsReport {
    asked: u32,
    ws: u32,
    sse: u32,
    ndjson: u32,
    slow: u32,
    flood: u32,
    /// Clients whose time to connect had not come at the end.
    not_begun: u32,
    /// Clients that were to be live at the end: all but the slow ones and those that were told not to come back.
    expected: u32,
    /// Clients that were live at the end, of those.
    live: u32,
    /// Clients that were live at any time.
    been_live: u32,
}

/// What came, in all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FlowReport {
    /// Events.
    events: u64,
    events_per_s: f64,
    bytes_per_s: f64,
}

/// What the tool itself took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ToolReport {
    /// Processor time, in nanoseconds, to the kernel's 10 ms.
    cpu_ns: Option<u64>,
    resident_bytes: Option<u64>,
    files_max: u64,
}

/// What came of a load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EdgeLoadReport {
    url: String,
    elapsed_ns: u64,
    /// A signal ended it.
    signalled: bool,
    /// Nobody answered for so long that it ended.
    gave_up: bool,
    clients: ClientsReport,
    connections: Counts,
    flow: FlowReport,
    checks: Checks,
    heartbeats: Beats,
    cuts: Vec<CutReport>,
    #[serde(flatten)]
    spans: SpanReport,
    tool: ToolReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerReport>,
    /// What to do about what did not go well.
    notes: Vec<String>,
}

impl EdgeLoadReport {
    pub(super) fn new(
        url: &str,
        world: World,
        ending: Ending,
        files_max: u64,
        server: Option<ServerReport>,
    ) -> EdgeLoadReport {
        let (plan, counts) = (&world.plan, &world.counts);
        let events = world.checks.events + world.checks.unnumbered;
        let per_s = |count: u64| count as f64 * 1e9 / ending.elapsed_ns.max(1) as f64;
        let used = ProcessUse::now();
        let given_up = counts.given_up as u32;
        let mut report = EdgeLoadReport {
            url: url.to_owned(),
            elapsed_ns: ending.elapsed_ns,
            signalled: ending.signalled,
            gave_up: ending.gave_up,
            clients: ClientsReport {
                asked: plan.clients,
                ws: plan.count(Via::WebSocket),
                sse: plan.count(Via::Sse),
                ndjson: plan.count(Via::Ndjson),
                slow: plan.slow,
                flood: plan.flood,
                not_begun: ending.not_begun,
                expected: (plan.clients - plan.slow).saturating_sub(given_up),
                live: world.live,
                been_live: world.been_live,
            },
            flow: FlowReport {
                events,
                events_per_s: per_s(events),
                bytes_per_s: per_s(counts.bytes),
            },
            spans: SpanReport::from(&world.spans),
            connections: world.counts,
            checks: world.checks,
            heartbeats: world.beats,
            cuts: world.cuts,
            tool: ToolReport {
                cpu_ns: used.cpu_ns,
                resident_bytes: used.resident_bytes,
                files_max,
            },
            server,
            notes: Vec::new(),
        };
        report.notes = report.notes();
        report
    }

    /// The code to end with: loss first, since no fault of the connection excuses it.
    pub(super) fn exit(&self) -> Exit {
        let is_gone = self.gave_up || self.clients.been_live == 0 && self.clients.expected > 0;
        let all_told_off = self.connections.given_up > 0 && self.clients.been_live == 0;
        match () {
            () if !self.checks.are_good() => Exit::Loss,
            () if self.signalled => Exit::Good,
            () if is_gone || all_told_off => Exit::Io,
            () => Exit::Good,
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (counts, clients) = (&self.connections, &self.clients);
        let failed = |why| counts.failed.contains_key(why);
        if failed("too many open files or sockets") {
            notes.push("more files may be open with a higher `ulimit -n`".to_owned());
        }
        if failed("this machine has no such address") {
            notes.push(
                "no free port is left for so many connections to one address: `sysctl net.ipv4.ip_local_port_range` shows them"
                    .to_owned(),
            );
        }
        if counts.refused.contains_key("429") {
            notes.push(
                "429: as many of one address as may be are inside: --edge-per-address of the server raises that".to_owned(),
            );
        }
        if counts.refused.contains_key("401") || counts.refused.contains_key("3500 bad_auth") {
            notes.push("the server wants a token: --token FILE".to_owned());
        }
        if counts.errors.contains_key("no_channel") || counts.refused.contains_key("404") {
            notes.push(
                "the server has no such channel: --subscribe names those of its line".to_owned(),
            );
        }
        if clients.not_begun > 0 {
            notes.push(format!(
                "the time of {} clients to connect had not come: a longer --for, or more --connects a second",
                grouped(clients.not_begun.into())
            ));
        }
        if self.gave_up && counts.given_up < u64::from(clients.asked) {
            notes.push("nobody answered any more, for as long as --give-up says".to_owned());
        }
        if self.checks.sums_unsure > 0 {
            notes.push(format!(
                "{} check sums said nothing: events had been skipped for clients that were behind",
                grouped(self.checks.sums_unsure)
            ));
        }
        notes
    }

    /// The report for people, in lines of at most `width` columns.
    pub(super) fn lines(&self, width: usize, paint: Paint) -> Vec<String> {
        let mut out = vec![self.title(paint), String::new()];
        out.extend(self.table().lines(width, paint));
        out.push(String::new());
        let mut lines = Lines {
            out: &mut out,
            width,
            paint,
            lead: LEAD,
        };
        self.findings(&mut lines);
        for fault in &self.checks.faults {
            lines.add("fault:", fault, Tone::Bad);
        }
        for note in &self.notes {
            lines.add("note:", note, Tone::Plain);
        }
        out
    }

    fn title(&self, paint: Paint) -> String {
        let clients = &self.clients;
        let mut parts = Vec::new();
        for (count, word) in [
            (clients.ws, "ws"),
            (clients.sse, "sse"),
            (clients.ndjson, "ndjson"),
            (clients.slow, "of them slow"),
            (clients.flood, "of them flooding"),
        ] {
            if count > 0 {
                parts.push(format!("{} {word}", grouped(count.into())));
            }
        }
        format!(
            "  {}  {} clients ({}) for {}",
            paint.paint(&self.url, Tone::Strong),
            grouped(clients.asked.into()),
            parts.join(", "),
            seconds(self.elapsed_ns),
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new(vec![
            words("span"),
            numbers("count"),
            numbers("p50"),
            numbers("p90").may_go(2),
            numbers("p99"),
            numbers("p99.9").may_go(1),
            numbers("max"),
        ]);
        let spans = &self.spans;
        for (name, span) in [
            ("connected late by", &spans.connect_late_ns),
            ("to hello", &spans.hello_ns),
            ("to snapshot", &spans.snapshot_ns),
            ("to live", &spans.live_ns),
            ("to live again", &spans.live_again_ns),
            ("event delay", &spans.event_delay_ns),
            ("between events", &spans.between_ns),
            ("heartbeat late by", &spans.heartbeat_late_ns),
            ("ping to pong", &spans.pong_ns),
            ("turn of this tool", &spans.turn_ns),
        ] {
            if span.count > 0 {
                table.row(row(name, span));
            }
        }
        table
    }

    fn findings(&self, lines: &mut Lines<'_>) {
        let mut line =
            |what: &str, text: String, tone: Tone| lines.add(&format!("{what}:"), &text, tone);
        let (clients, counts, checks) = (&self.clients, &self.connections, &self.checks);
        let all_live = clients.live == clients.expected;
        let live = format!(
            "{} of {} at the end",
            grouped(clients.live.into()),
            grouped(clients.expected.into())
        );
        line("live", live, if all_live { Tone::Good } else { Tone::Bad });
        let flow = &self.flow;
        let events = format!(
            "{} ({}/s), {} ({}/s)",
            grouped(flow.events),
            rate(flow.events_per_s),
            bytes(counts.bytes),
            bytes(flow.bytes_per_s as u64)
        );
        line("events", events, Tone::Plain);
        let (verdict, tone) = self.verdict();
        line("checks", verdict, tone);
        let told = checks.skipped + checks.shed + checks.gaps.values().sum::<u64>();
        if told > 0 {
            let text = format!(
                "{} skipped, {} shed, gaps: {}",
                grouped(checks.skipped),
                grouped(checks.shed),
                by_name(
                    checks
                        .gaps
                        .iter()
                        .map(|(name, count)| (name.as_str(), *count))
                )
            );
            line("not sent", text, Tone::Plain);
        }
        let connections = format!(
            "{} begun, {} lost, {} cut",
            grouped(counts.begun),
            grouped(counts.lost),
            grouped(counts.cut)
        );
        line("connections", connections, Tone::Plain);
        if checks.resumed > 0 {
            let text = format!(
                "{} positions named, {} recovered ({})",
                grouped(checks.resumed),
                grouped(checks.recovered),
                share(checks.recovered, checks.resumed)
            );
            line("resumed", text, Tone::Plain);
        }
        for cut in &self.cuts {
            let (text, tone) = match cut.all_live_ns {
                Some(ns) => (
                    format!(
                        "{} cut, all live again after {}",
                        grouped(cut.cut as u64),
                        Span(ns)
                    ),
                    Tone::Good,
                ),
                None => (
                    format!(
                        "{} cut, {} not live again",
                        grouped(cut.cut as u64),
                        grouped(cut.away as u64)
                    ),
                    Tone::Bad,
                ),
            };
            let told = cut.told_ns.map_or_else(String::new, |ns| {
                let again = grouped(cut.told_again as u64);
                format!(", told to come by {}; {again} told twice", Span(ns))
            });
            let text = text + &told;
            line(&format!("cut at {}", Span(cut.at_ns)), text, tone);
        }
        for (what, by, tone) in [
            ("unconnected", &counts.failed, Tone::Bad),
            ("refused", &counts.refused, Tone::Warn),
            ("closed", &counts.closed, Tone::Plain),
            ("not done", &counts.errors, Tone::Warn),
        ] {
            if !by.is_empty() {
                line(what, counted(by), tone);
            }
        }
        let beats = &self.heartbeats;
        if beats.heard + beats.pings > 0 {
            let text = format!(
                "{} heard, {} late; {} pings, {} pongs, {} unanswered; {} silent",
                grouped(beats.heard),
                grouped(beats.late),
                grouped(beats.pings),
                grouped(beats.pongs),
                grouped(beats.unanswered),
                grouped(beats.silent)
            );
            let is_well = beats.late + beats.unanswered + beats.silent == 0;
            line(
                "heartbeats",
                text,
                if is_well { Tone::Good } else { Tone::Warn },
            );
        }
        if counts.acks + counts.flooded > 0 {
            let text = format!(
                "{} acks, {} pings of those that flood",
                grouped(counts.acks),
                grouped(counts.flooded)
            );
            line("said", text, Tone::Plain);
        }
        let cpu_ns = self.tool.cpu_ns.unwrap_or(0);
        let tool = format!(
            "{} of a core, {}",
            share(cpu_ns, self.elapsed_ns),
            bytes(self.tool.resident_bytes.unwrap_or(0))
        );
        line("this tool", tool, Tone::Dim);
        if let Some(server) = &self.server {
            let text = format!(
                "{} of a core; {} before, {} at most, {} after",
                share(server.cpu_ns, self.elapsed_ns),
                bytes(server.resident_before),
                bytes(server.resident_max),
                bytes(server.resident_after)
            );
            line("server", text, Tone::Plain);
        }
    }

    /// Whether what came was what was owed.
    fn verdict(&self) -> (String, Tone) {
        let checks = &self.checks;
        if checks.are_good() {
            let text = format!(
                "dense, none twice; {} sums right",
                grouped(checks.sums_right)
            );
            return match checks.events + checks.snapshots {
                0 => ("nothing came that could be checked".to_owned(), Tone::Warn),
                _ => (text, Tone::Good),
            };
        }
        let mut wrong = Vec::new();
        for (count, word) in [
            (checks.missing, "missing"),
            (checks.doubled, "doubled"),
            (checks.sums_wrong, "sums wrong"),
            (checks.differing, "unlike what others got"),
        ] {
            if count > 0 {
                wrong.push(format!("{} {word}", grouped(count)));
            }
        }
        let broken = checks.broken.iter().map(|(name, count)| (*name, *count));
        if !checks.broken.is_empty() {
            wrong.push(by_name(broken));
        }
        (wrong.join(", "), Tone::Bad)
    }
}

fn row(name: &str, span: &Percentiles) -> Vec<Cell> {
    let shown = [span.p50, span.p90, span.p99, span.p99_9, span.max];
    let mut cells = vec![Cell::new(name, Tone::Strong), grouped(span.count).into()];
    cells.extend(shown.map(|ns| Span(ns).to_string().into()));
    cells
}

fn counted(counts: &ByName) -> String {
    by_name(counts.iter().map(|(name, count)| (name.as_str(), *count)))
}

fn by_name<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let parts: Vec<String> = counts
        .map(|(name, count)| format!("{name}: {}", grouped(count)))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}
