//! The live view: the same lines drawn over each other five times a second.
//!
//! A frame is one write: the cursor goes up to the first line, each line is written over the old
//! one and cleared behind, so nothing is ever blank. The terminal is told to show it at once where
//! it knows how (synchronized output). Raw mode is never entered, so Ctrl-C stays a signal.
//!
//! Invariant: the cursor is hidden only while [`Live`] lives, and comes back on every way out:
//! drop, unwinding, and a second signal.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, MoveToColumn, MoveUp, Show};
use crossterm::queue;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate,
};
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::topology::{CleanReport, Report};

use super::rows::{self, Detail, Since};
use super::text::{Paint, Tone, grouped, seconds, wrap};

/// Time between two frames.
pub(crate) const FRAME: Duration = Duration::from_millis(200);

/// How long a culprit stays in sight after a frame that had it, in nanoseconds: bursts come and go between frames, and people
/// read slower than that.
const IN_SIGHT_NS: u64 = 1_500_000_000;

/// Complaints that the view keeps: the last few, so that one stays long enough to be read.
const HEARD: usize = 3;

/// Columns of the progress bar.
const BAR: usize = 24;

/// Whether the cursor is hidden, for those who end the process without unwinding.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Whether somebody has written below the last frame, so that it must not be drawn over.
static WRITTEN_BELOW: AtomicBool = AtomicBool::new(false);

/// Lets somebody else write to the terminal, such as the words of a panic: the next frame begins
/// below them.
pub(crate) fn make_way() {
    if HIDDEN.load(Ordering::Relaxed) {
        let mut out = io::stdout();
        // As below: nobody is left to tell that this failed.
        let _ = queue!(out, EnableLineWrap).and_then(|()| out.flush());
        WRITTEN_BELOW.store(true, Ordering::Relaxed);
    }
}

/// Gives the terminal its cursor back if a live view has taken it.
pub(crate) fn restore_terminal() {
    // Relaxed: the flag publishes nothing but itself.
    if HIDDEN.swap(false, Ordering::Relaxed) {
        let mut out = io::stdout();
        // Nobody is left to tell that this failed.
        let _ = queue!(out, EndSynchronizedUpdate, EnableLineWrap, Show).and_then(|()| out.flush());
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) elapsed_ns: u64,
    /// When it ends at the latest.
    pub(crate) most_ns: Option<u64>,
    /// Sources that have ended, and all of them.
    pub(crate) sources: (usize, usize),
    /// A signal has asked for the end.
    pub(crate) draining: bool,
}

/// A live view on standard output.
#[derive(Debug)]
pub(crate) struct Live {
    paint: Paint,
    size: (u16, u16),
    drawn: u16,
    last: Option<Report>,
    /// The culprit of the last frame that had one, and when that was.
    culprit: Option<(String, u64)>,
    /// What was complained of last, oldest first.
    heard: VecDeque<String>,
}

impl Live {
    /// Takes the cursor.
    pub(crate) fn begin(paint: Paint) -> Live {
        HIDDEN.store(true, Ordering::Relaxed);
        let mut out = io::stdout();
        // A terminal that went away shows itself when the summary is printed.
        let _ = queue!(out, Hide, DisableLineWrap).and_then(|()| out.flush());
        Live {
            paint,
            size: (0, 0),
            drawn: 0,
            last: None,
            culprit: None,
            heard: VecDeque::with_capacity(HEARD),
        }
    }

    /// Shows these words below the table from now on, until later ones take their place.
    pub(crate) fn hear(&mut self, words: String) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(words);
    }

    /// Draws a frame over the last one.
    pub(crate) fn draw(&mut self, report: Report, clean: Option<CleanReport>, progress: Progress) {
        let size = crossterm::terminal::size().unwrap_or((80, 24));
        if let Some(culprit) = report.culprit() {
            self.culprit = Some((culprit.why.clone(), progress.elapsed_ns));
        }
        let in_sight = |at: u64| progress.elapsed_ns.saturating_sub(at) <= IN_SIGHT_NS;
        self.culprit = self.culprit.take().filter(|(_, at)| in_sight(*at));
        let lines = frame(
            Seen {
                report: &report,
                culprit: self.culprit.as_ref().map(|(why, _)| why.as_str()),
                clean: clean.as_ref(),
                last: self.last.as_ref(),
                heard: self.heard.make_contiguous(),
            },
            progress,
            // Clearing behind a line that fills its last column would take that column away.
            (usize::from(size.0).saturating_sub(1), usize::from(size.1)),
            self.paint,
        );
        // As above: there is nobody to tell.
        let _ = self.put(&lines, size);
        self.last = Some(report);
    }

    fn put(&mut self, lines: &[String], size: (u16, u16)) -> io::Result<()> {
        let mut out = Vec::with_capacity(8 << 10);
        queue!(out, BeginSynchronizedUpdate)?;
        if WRITTEN_BELOW.swap(false, Ordering::Relaxed) {
            self.drawn = 0;
            queue!(out, DisableLineWrap)?;
        }
        if self.drawn > 0 && size != self.size {
            // The terminal has broken the old lines in its own way.
            queue!(out, Clear(ClearType::All), MoveTo(0, 0))?;
        } else if self.drawn > 0 {
            queue!(out, MoveUp(self.drawn), MoveToColumn(0))?;
        }
        for line in lines {
            out.extend_from_slice(line.as_bytes());
            queue!(out, Clear(ClearType::UntilNewLine))?;
            out.extend_from_slice(b"\r\n");
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.drawn = lines.len() as u16;
        self.size = size;
        let mut terminal = io::stdout().lock();
        terminal.write_all(&out)?;
        terminal.flush()
    }

    /// Wipes the view away, so that the summary stands in its place.
    pub(crate) fn wipe(&mut self) {
        let mut out = io::stdout();
        if self.drawn > 0 && !WRITTEN_BELOW.load(Ordering::Relaxed) {
            // As above.
            let _ = queue!(
                out,
                MoveUp(self.drawn),
                MoveToColumn(0),
                Clear(ClearType::FromCursorDown)
            );
            self.drawn = 0;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// What a frame shows.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    report: &'a Report,
    /// Who is to blame, in words.
    culprit: Option<&'a str>,
    clean: Option<&'a CleanReport>,
    /// The report of the last frame.
    last: Option<&'a Report>,
    /// What the line complained of.
    heard: &'a [String],
}

/// The lines of a frame: at most `size.1 - 1` of them, so that the terminal never scrolls.
fn frame(seen: Seen<'_>, progress: Progress, size: (usize, usize), paint: Paint) -> Vec<String> {
    let Seen {
        report,
        culprit,
        clean,
        last,
        heard,
    } = seen;
    let (width, height) = size;
    let before_ns = last.map_or(0, |last| last.line.elapsed_ns);
    let since = Since {
        before: last,
        span_ns: report.line.elapsed_ns.saturating_sub(before_ns),
    };
    let mut lines = vec![head(report, progress, width, paint)];
    lines.extend(blamed(culprit, width, paint));
    lines.extend(rows::hops(report, clean, since, Detail::Live).lines(width, paint));
    let mut doubts = clean.map_or_else(Vec::new, |clean| doubts(clean, width, paint));
    doubts.extend(heard.iter().flat_map(|words| warned(words, width, paint)));
    let stages = rows::stages(report, since, Detail::Live).lines(width, paint);
    let most = height.saturating_sub(1).max(1);
    if lines.len() + 1 + stages.len() + doubts.len() < most {
        lines.push(String::new());
        lines.extend(stages);
        lines.push(loss(report, paint));
    }
    lines.extend(doubts);
    if lines.len() > most {
        lines.truncate(most.saturating_sub(1));
        lines.push(paint.paint("  … the window is too low for the rest", Tone::Dim));
    }
    lines
}

fn received(report: &Report) -> u64 {
    let sources = report.ledger.sources.values();
    sources.map(|source| source.received).sum()
}

fn head(report: &Report, progress: Progress, width: usize, paint: Paint) -> String {
    let elapsed = seconds(progress.elapsed_ns);
    let name = paint.paint(&report.line.name, Tone::Strong);
    let messages = format!("{} messages", grouped(received(report)));
    let ended = match progress.sources {
        (0, _) => String::new(),
        (over, all) => format!(", {over} of {all} sources have ended"),
    };
    let state = if progress.draining { "  draining" } else { "" };
    match progress.most_ns {
        Some(most_ns) => {
            let share = progress.elapsed_ns as f64 / most_ns.max(1) as f64;
            let full = ((share * BAR as f64) as usize).min(BAR);
            let bar = format!("{}{}", "━".repeat(full), "─".repeat(BAR - full));
            let bar = if width >= 80 {
                format!("{}  ", paint.paint(&bar, Tone::Good))
            } else {
                String::new()
            };
            format!(
                "  {name}  {bar}{elapsed} of {}  {messages}{ended}{state}",
                seconds(most_ns)
            )
        }
        None => format!("  {name}  {elapsed}  {messages}{ended}{state}"),
    }
}

fn loss(report: &Report, paint: Paint) -> String {
    let rejected: u64 = report
        .ledger
        .sources
        .values()
        .flat_map(|source| source.rejected.values())
        .sum();
    let lost = report.ledger.shed + report.ledger.discarded + rejected;
    if lost == 0 {
        return paint.paint("  nothing shed; Ctrl-C drains and ends", Tone::Dim);
    }
    let text = format!(
        "  {} shed, {} rejected, {} discarded; Ctrl-C drains and ends",
        grouped(report.ledger.shed),
        grouped(rejected),
        grouped(report.ledger.discarded)
    );
    paint.paint(&text, Tone::Warn)
}

/// Who is to blame, in the place of the empty line below the head, so that nothing moves when that changes.
fn blamed(culprit: Option<&str>, width: usize, paint: Paint) -> Vec<String> {
    let Some(why) = culprit else {
        return vec![String::new()];
    };
    let lines = wrap(&format!("culprit: {why}"), width.saturating_sub(2)).into_iter();
    lines
        .map(|line| format!("  {}", paint.paint(&line, Tone::Bad)))
        .collect()
}

/// What the clean figures leave out.
fn doubts(clean: &CleanReport, width: usize, paint: Paint) -> Vec<String> {
    let text = super::clean::doubts(clean).unwrap_or_default();
    warned(&text, width, paint)
}

fn warned(text: &str, width: usize, paint: Paint) -> Vec<String> {
    let lines = wrap(text, width.saturating_sub(2)).into_iter();
    lines
        .map(|line| format!("  {}", paint.paint(&line, Tone::Warn)))
        .collect()
}

/// The same in one plain line, for a log.
pub(crate) fn status(report: &Report, progress: Progress) -> String {
    let whole = &report.end_to_end.sojourn_ns;
    let of = progress
        .most_ns
        .map(|most_ns| format!(" of {}", seconds(most_ns)));
    let span = |ns: u64| match whole.count {
        0 => "-".to_owned(),
        _ => hopline::base::units::Span(ns).to_string(),
    };
    format!(
        "{}: {}{}, {} messages, end to end p50 {} p99 {} max {}, shed {}{}{}",
        report.line.name,
        seconds(progress.elapsed_ns),
        of.unwrap_or_default(),
        grouped(received(report)),
        span(whole.p50),
        span(whole.p99),
        span(whole.max),
        grouped(report.ledger.shed),
        match report.ledger.discarded {
            0 => String::new(),
            discarded => format!(", discarded {}", grouped(discarded)),
        },
        report
            .culprit()
            .map(|culprit| format!("; culprit: {}", culprit.why))
            .unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use hopline::topology::clean::CleanSpan;

    use super::super::summary::tests::a_run;
    use super::*;

    const PROGRESS: Progress = Progress {
        elapsed_ns: 2_500_000_000,
        most_ns: Some(10_000_000_000),
        sources: (0, 2),
        draining: false,
    };

    fn seen(report: &Report) -> Seen<'_> {
        Seen {
            report,
            culprit: report.culprit().map(|culprit| culprit.why.as_str()),
            clean: None,
            last: None,
            heard: &[],
        }
    }

    #[test]
    fn a_frame_fits_its_terminal() {
        let report = a_run().report;
        for width in [80, 100, 160] {
            for height in [5, 10, 24, 40] {
                let lines = frame(seen(&report), PROGRESS, (width, height), Paint(false));
                assert!(lines.len() < height, "{} lines in {height}", lines.len());
                for line in lines {
                    assert!(line.chars().count() <= width, "{width}: {line:?}");
                }
            }
        }
    }

    /// All of a report's messages but every fifth, and doubts.
    fn told_apart(report: &Report) -> CleanReport {
        let span = |all: &hopline::budget::report::Percentiles| CleanSpan {
            clean: all.count - all.count / 5,
            tainted: all.count / 5,
            not_judged: 70,
            sojourn_ns: hopline::budget::report::Percentiles { p99: 1_230, ..*all },
            ..CleanSpan::default()
        };
        let hops = report.hops.iter();
        CleanReport {
            hops: hops
                .map(|hop| (hop.name.clone(), span(&hop.sojourn_ns)))
                .collect(),
            end_to_end: span(&report.end_to_end.sojourn_ns),
            lost: 3,
            overdue: 2,
            gaps_ns: 0,
            ..CleanReport::default()
        }
    }

    #[test]
    fn clean_figures_stand_beside_raw_ones_on_any_terminal_and_so_do_doubts() {
        let report = a_run().report;
        let clean = told_apart(&report);
        let both = Seen {
            clean: Some(&clean),
            ..seen(&report)
        };
        for (width, height) in [(79, 24), (119, 40), (200, 60)] {
            let lines = frame(both, PROGRESS, (width, height), Paint(false));
            assert!(lines.len() < height);
            assert!(lines.iter().all(|line| line.chars().count() <= width));
            let text = lines.join("\n");
            let hop = text.lines().find(|line| line.contains("btc->book"));
            let hop: Vec<&str> = hop.unwrap().split_whitespace().collect();
            assert!(
                hop.contains(&"1.23us") && hop.contains(&"80%"),
                "{width}: {hop:?}"
            );
            for words in [
                "clean p99",
                "kept",
                "70 messages not judged",
                "2 took over 250ms",
            ] {
                assert!(text.contains(words), "{width}: {words}: {text}");
            }
        }
        let raw = frame(seen(&report), PROGRESS, (119, 40), Paint(false)).join("\n");
        assert!(!raw.contains("clean") && !raw.contains("kept"));
    }

    #[test]
    fn a_culprit_stands_below_the_head_and_a_full_hop_has_its_share() {
        let mut report = a_run().report;
        let quiet = frame(seen(&report), PROGRESS, (119, 40), Paint(false));
        assert!(
            quiet[1].is_empty() && !quiet[2].contains("at full"),
            "{quiet:?}"
        );
        report.hops[0].full_ns = report.line.elapsed_ns / 4;
        let why = "book holds back btc for 25 % of the time; it works 98 % of its own, and that is all that it can do";
        let blames = Seen {
            culprit: Some(why),
            ..seen(&report)
        };
        for width in [79, 119] {
            let lines = frame(blames, PROGRESS, (width, 40), Paint(false));
            assert!(lines[1].starts_with("  culprit: book holds back btc"));
            assert!(lines.iter().all(|line| line.chars().count() <= width));
            let text = lines.join("\n");
            let title = text.lines().find(|line| line.contains(" hop "));
            assert!(
                title.is_some_and(|title| title.contains("at full")),
                "{text}"
            );
            let hop = text.lines().find(|line| line.contains("btc->book"));
            assert!(hop.is_some_and(|hop| hop.contains("25%")), "{text}");
        }
        let coloured = frame(blames, PROGRESS, (119, 40), Paint(true));
        assert!(coloured[1].contains("\x1b[1;31m"), "{coloured:?}");
    }

    #[test]
    fn a_line_that_sheds_millions_shows_them_whole_on_a_narrow_terminal() {
        let mut report = a_run().report;
        report.hops[0].full_ns = report.line.elapsed_ns / 2;
        report.hops[0].shed.insert("full".into(), 17_082_153);
        let clean = told_apart(&report);
        let both = Seen {
            clean: Some(&clean),
            ..seen(&report)
        };
        for width in [79, 100, 160] {
            let lines = frame(both, PROGRESS, (width, 40), Paint(false));
            assert!(lines.iter().all(|line| line.chars().count() <= width));
            let hop = lines.iter().find(|line| line.contains("btc->"));
            assert!(
                hop.is_some_and(|hop| hop.ends_with("17,082,153")),
                "{width}: {hop:?}"
            );
        }
    }

    #[test]
    fn the_last_complaints_stand_below_the_table_on_any_terminal() {
        let mut live = Live {
            paint: Paint(false),
            size: (0, 0),
            drawn: 0,
            last: None,
            culprit: None,
            heard: VecDeque::new(),
        };
        for at in 0..5 {
            live.hear(format!("hop-{at} sheds{}", " and sheds".repeat(10)));
        }
        let report = a_run().report;
        let both = Seen {
            heard: live.heard.make_contiguous(),
            ..seen(&report)
        };
        for (width, height) in [(79, 30), (200, 60)] {
            let lines = frame(both, PROGRESS, (width, height), Paint(false));
            assert!(lines.len() < height && lines.iter().all(|line| line.chars().count() <= width));
            let text = lines.join("\n");
            assert!(!text.contains("hop-1") && text.contains("hop-2") && text.contains("hop-4"));
        }
    }

    #[test]
    fn a_low_window_loses_the_stages_first() {
        let report = a_run().report;
        let low = frame(seen(&report), PROGRESS, (100, 14), Paint(false)).join("\n");
        assert!(low.contains("end to end") && !low.contains("held back"));
        let high = frame(seen(&report), PROGRESS, (100, 40), Paint(false)).join("\n");
        assert!(high.contains("end to end") && high.contains("held back"));
    }

    #[test]
    fn rates_are_those_since_the_last_frame() {
        let mut report = a_run().report;
        let last = report.clone();
        report.line.elapsed_ns += 100_000_000;
        report.hops[0].delivered += 50;
        let both = Seen {
            last: Some(&last),
            ..seen(&report)
        };
        let text = frame(both, PROGRESS, (160, 40), Paint(false)).join("\n");
        let line = text
            .lines()
            .find(|line| line.contains("btc->book"))
            .unwrap();
        assert!(line.split_whitespace().any(|word| word == "500"), "{line}");
    }
}
