//! The stage `aggregate`: metrics summed up by key and window.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `window` | `"10s"` | length of a window |
//! | `late_windows` | 1 | windows that stay open behind the current one, for events that come late; 0 to 5 |
//! | `keys` | 16384 | most keys at once; the one that no open window has seen for the longest makes room for a new one |
//! | `key_bytes` | 256 | most bytes of a key: name, field and tags |
//! | `histograms` | 1024 | histograms in reserve, one for each timer, histogram and distribution of each open window |
//! | `sets` | 256 | sets in reserve, one for each set of each open window |
//! | `set_members` | 1024 | members that a set tells apart |
//! | `tag_order` | `"sorted"` | which tags are the same: `"sorted"`, in any order, or `"as_sent"`, which is cheaper |
//! | `signs` | `"changes"` | what the sign of a gauge is: `"changes"` of it, as in StatsD, or `"numbers"`, as in DogStatsD |
//! | `seed` | 0 | where hashes start |
//! | `takes` | 0 | works so long on each metric before it sums it up, as the stage `work` does |
//!
//! What it does with windows, and what is lost why, is in [`aggregate`](crate::feed::aggregate). A metric that is
//! summed up is `absorbed{aggregated}`; events and service checks are passed on as they are.
//!
//! A metric belongs to the window of its event time where its sender gives one, else to that of its intended time on the
//! line, which for a socket is its receipt. A window is sealed by a timer when the last of the late ones is over, and
//! leaves row by row, as many of them a turn as one message may have frames. A drain seals all of them, the current one too.
//!
//! What it counts beside that, as the report and the page of metrics show it (`counts`), is that of
//! [`Counts`](crate::feed::aggregate::Counts): samples given, those lost by reason, rows handed out, keys added and evicted, and
//! what was taken in part.
//!
//! Invariant: nothing is allocated after the start; rows leave in the order of their windows; what waits for room is in the
//! windows and nowhere else.

use crate::base::Reason;
use crate::base::limits::METRIC_LINE_BYTES_MAX;
use crate::clock::WallMap;
use crate::feed::aggregate::{Aggregate, Lost, Row, Settings, Signs, TagOrder};
use crate::feed::metric::{
    Metric, Notice, Telemetry, TelemetryView, TextPart, TextStore, metric_frames_max,
};
use crate::feed::summary::{Summaries, Summary, SummedUp, summary_frames_max};
use crate::frame::Frame;
use crate::stage::{Context, Count, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::work::work_for;

const OUT: Out<Summaries> = Out::at(0);

/// Most frames that leave at once: those of the longest notice, which is passed on whole.
const EMIT_MAX: usize = metric_frames_max(METRIC_LINE_BYTES_MAX);

const _: () = assert!(summary_frames_max(crate::base::limits::METRIC_KEY_BYTES_MAX) < EMIT_MAX);

crate::reasons! {
    /// Why a metric ends here.
    pub enum Why {
        /// It is in a window: what this stage is for.
        Aggregated = "aggregated",
        /// Some fields of its line are in a window, and others were lost.
        InPart = "aggregated_in_part",
        /// Its line has no field that is a number.
        NoNumber = "no_number",
        /// It belongs to a window that was sealed.
        Late = "late",
        /// It belongs to a window too far ahead, or sealed ones were not handed out in time.
        Ahead = "ahead",
        /// Its key is new, and all keys that there may be are in open windows.
        NoRoom = "no_room",
        /// Its key has more bytes, or more tags to sort, than a key may have.
        KeyTooLong = "key_too_long",
        /// The sum of its window would be beyond the largest double.
        BeyondScale = "beyond_scale",
        /// Its fragments do not make a line.
        Malformed = "malformed",
    }
}

impl From<Lost> for Why {
    fn from(lost: Lost) -> Why {
        match lost {
            Lost::Late => Why::Late,
            Lost::Ahead => Why::Ahead,
            Lost::NoRoom => Why::NoRoom,
            Lost::KeyTooLong => Why::KeyTooLong,
            Lost::BeyondScale => Why::BeyondScale,
        }
    }
}

/// The settings of an aggregate from those of its node; this file's head lists them.
///
/// # Errors
/// A setting of the wrong type or out of its bounds.
pub fn settings_from_params(params: &mut Params) -> Result<Settings, Problem> {
    let unset = Settings::default();
    let any = 0..=u64::from(u32::MAX);
    // All are asked for before one of them fails, or the others would be called unknown.
    let window_ns = params.span_ns("window");
    let mut count = |key, unset: usize| params.count(key, unset as u64, any.clone());
    let counts = [
        count("late_windows", unset.late_windows),
        count("keys", unset.keys),
        count("key_bytes", unset.key_bytes),
        count("histograms", unset.histograms),
        count("sets", unset.sets),
        count("set_members", unset.set_members),
    ];
    let seed = params.count("seed", unset.seed, 0..=i64::MAX as u64);
    let tag_order = params.word("tag_order", &["sorted", "as_sent"], |word| match word {
        "sorted" => Some(TagOrder::Sorted),
        "as_sent" => Some(TagOrder::AsSent),
        _ => None,
    });
    let signs = params.word("signs", &["changes", "numbers"], |word| match word {
        "changes" => Some(Signs::Changes),
        "numbers" => Some(Signs::Numbers),
        _ => None,
    });
    let mut numbers = [0; 6];
    for (number, count) in numbers.iter_mut().zip(counts) {
        *number = count? as usize;
    }
    let [late_windows, keys, key_bytes, histograms, sets, set_members] = numbers;
    let settings = Settings {
        window_ns: window_ns?.unwrap_or(unset.window_ns),
        late_windows,
        keys,
        key_bytes,
        histograms,
        sets,
        set_members,
        tag_order: tag_order?.unwrap_or_default(),
        signs: signs?.unwrap_or_default(),
        seed: seed?,
        ..unset
    };
    settings.check().map_err(|error| {
        let key = match error.name {
            "window_ns" => "window",
            name => name,
        };
        let what = format!("\"{key}\": {error}");
        params.problem(key, what, "write a number within these bounds")
    })?;
    Ok(settings)
}

/// Sums metrics up; see this file's head.
#[derive(Debug)]
pub struct Sums {
    aggregate: Aggregate,
    /// Where the text of a line in fragments is put together, and its head.
    text: TextStore,
    head: Option<Head>,
    /// The wall clock on the line's, from the first frame on.
    wall: Option<WallMap>,
    /// Rows of the longest key that leave at once.
    rows_max: usize,
    /// How long it works on each metric, in nanoseconds.
    takes_ns: u64,
    /// Whether windows were sealed of which the counts have not been told.
    owes_counts: bool,
    is_draining: bool,
    is_drained: bool,
}

/// The first fragment of the line in hand.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one of them, in place, for the time of a message"
)]
enum Head {
    Metric(Metric),
    Notice(Notice),
}

impl Sums {
    /// A stage with no window open. Allocates all that it ever needs.
    ///
    /// # Errors
    /// A setting is beyond its bounds.
    pub fn new(settings: Settings) -> Result<Sums, Problem> {
        let rows_max = EMIT_MAX / summary_frames_max(settings.key_bytes).max(1);
        let aggregate = Aggregate::new(settings);
        let aggregate = aggregate.map_err(|error| {
            Problem::new(error.to_string(), "keep to the bounds of that setting")
        })?;
        Ok(Sums {
            aggregate,
            text: TextStore::new(METRIC_LINE_BYTES_MAX),
            head: None,
            wall: None,
            rows_max: rows_max.max(1),
            takes_ns: 0,
            owes_counts: false,
            is_draining: false,
            is_drained: false,
        })
    }

    /// The same, working so long on each metric, in nanoseconds: a stand-in for work that others have to do.
    #[must_use]
    pub fn takes_ns(self, takes_ns: u64) -> Sums {
        Sums { takes_ns, ..self }
    }

    /// What it did so far.
    #[must_use]
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    /// Samples that are in no window, for that reason.
    fn lost(&self, why: Lost) -> u64 {
        self.aggregate.counts().lost[why.index()]
    }

    /// The wall time of a time of the line. The first call sets the timer.
    #[inline]
    fn wall_ns(&mut self, line_ns: u64, cx: &mut Context<'_>) -> u64 {
        let now_ns = cx.now_ns();
        let wall = match &mut self.wall {
            Some(wall) => wall,
            unset => {
                let wall = unset.insert(WallMap::new(cx.clock(), 0));
                wake_at_the_next_window(wall, self.aggregate.settings().window_ns, now_ns, cx);
                wall
            }
        };
        wall.refresh_if_due(cx.clock(), now_ns);
        wall.wall_ns(line_ns)
    }

    /// Takes all samples of a metric.
    #[inline]
    fn take(aggregate: &mut Aggregate, metric: &Metric, text: &[u8], at_ns: u64) -> Outcome<Why> {
        let (mut taken, mut lost) = (0_u32, None);
        for sample in metric.samples(text) {
            match aggregate.add(&sample, at_ns) {
                Ok(()) => taken += 1,
                Err(why) => lost = lost.or(Some(why)),
            }
        }
        match (taken, lost) {
            (0, None) => Outcome::absorbed(Why::NoNumber),
            (0, Some(why)) => Outcome::rejected(why.into()),
            (_, None) => Outcome::absorbed(Why::Aggregated),
            (_, Some(_)) => Outcome::absorbed(Why::InPart),
        }
    }

    /// The last fragment of a line has come, or its only one.
    fn whole(&mut self, cx: &mut Context<'_>) -> Outcome<Why> {
        match self.head.take() {
            Some(Head::Metric(metric)) => {
                let at_ns = self.wall_ns(cx.t_intended_ns(), cx);
                match self.text.whole() {
                    Some(text) => Sums::take(&mut self.aggregate, &metric, text, at_ns),
                    None => Outcome::rejected(Why::Malformed),
                }
            }
            Some(Head::Notice(notice)) => {
                let line = self.text.whole();
                match line.and_then(|line| Notice::of(line, notice.is_check)) {
                    Some(framed) => {
                        cx.emit_with(OUT, &framed.head, framed.parts());
                        Outcome::done()
                    }
                    None => Outcome::rejected(Why::Malformed),
                }
            }
            None => Outcome::rejected(Why::Malformed),
        }
    }

    fn begin(&mut self, head: Head) {
        match &head {
            Head::Metric(metric) => self.text.begin(metric.text_bytes(), metric.as_slice()),
            Head::Notice(notice) => self
                .text
                .begin(usize::from(notice.total), notice.as_slice()),
        }
        self.head = Some(head);
    }

    /// Lets as many rows go as may leave at once; whether none are left.
    fn let_go(&mut self, at_ns: u64, cx: &mut Context<'_>) -> bool {
        let rows_max = self.rows_max;
        let each = |row: &Row<'_>| emit(row, cx);
        let rows = match self.is_draining {
            true => self.aggregate.close_all(rows_max, each),
            false => self.aggregate.close_due(at_ns, rows_max, each),
        };
        self.owes_counts |= rows > 0;
        if rows == rows_max {
            return false;
        }
        // Rows and these together may be more than what has room.
        if rows == 0 && core::mem::take(&mut self.owes_counts) {
            cx.emit(OUT, &SummedUp::of(&self.aggregate, at_ns));
        }
        !self.owes_counts
    }
}

/// Sets the timer to the end of the window that `now_ns` of the line's clock is in.
fn wake_at_the_next_window(wall: &WallMap, window_ns: u64, now_ns: u64, cx: &mut Context<'_>) {
    let into_ns = wall.wall_ns(now_ns) % window_ns.max(1);
    cx.wake_at(now_ns.saturating_add(window_ns - into_ns));
}

fn emit(row: &Row<'_>, cx: &mut Context<'_>) {
    let (head, quantiles, parts) = Summary::of(row);
    let frames = 1 + usize::from(quantiles.is_some()) + parts.len();
    let mut message = cx.message(OUT, Summary::SCHEMA, frames);
    message.push(&head);
    if let Some(quantiles) = &quantiles {
        message.push(quantiles);
    }
    for part in parts {
        message.push(&part);
    }
    message.send();
}

impl Stage for Sums {
    type In = Telemetry;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Summaries>("out")];
    const MAX_EMIT: usize = EMIT_MAX;
    const COUNTS: &'static [Count<Sums>] = &[
        ("samples", |sums| sums.aggregate.counts().samples),
        ("late", |sums| sums.lost(Lost::Late)),
        ("ahead", |sums| sums.lost(Lost::Ahead)),
        ("no_room", |sums| sums.lost(Lost::NoRoom)),
        ("key_too_long", |sums| sums.lost(Lost::KeyTooLong)),
        ("beyond_scale", |sums| sums.lost(Lost::BeyondScale)),
        ("rows", |sums| sums.aggregate.counts().rows),
        ("keys_added", |sums| sums.aggregate.counts().keys_added),
        ("keys_evicted", |sums| sums.aggregate.counts().keys_evicted),
        ("without_histogram", |sums| {
            sums.aggregate.counts().without_histogram
        }),
        ("without_set", |sums| sums.aggregate.counts().without_set),
        ("set_full", |sums| sums.aggregate.counts().set_full),
        ("clamped", |sums| sums.aggregate.counts().clamped),
    ];

    fn memory_bytes(&self) -> usize {
        self.aggregate.settings().memory_bytes() + METRIC_LINE_BYTES_MAX
    }

    #[inline]
    fn on_frame(&mut self, frame: TelemetryView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        let flags = cx.flags();
        if self.takes_ns > 0 && flags.is_last() {
            work_for(self.takes_ns, cx);
        }
        match frame {
            TelemetryView::Metric(metric) if flags.is_whole() => {
                let metric = metric.to_owned();
                let at_ns = self.wall_ns(cx.t_intended_ns(), cx);
                return Sums::take(&mut self.aggregate, &metric, metric.as_slice(), at_ns);
            }
            TelemetryView::Metric(metric) => self.begin(Head::Metric(metric.to_owned())),
            TelemetryView::Notice(notice) => self.begin(Head::Notice(notice.to_owned())),
            TelemetryView::Part(part) => {
                let part: TextPart = part.to_owned();
                self.text.add(&part);
            }
        }
        if flags.is_last() {
            self.whole(cx)
        } else {
            Outcome::held()
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let now_ns = cx.now_ns();
        let at_ns = self.wall_ns(now_ns, cx);
        if !self.let_go(at_ns, cx) {
            // The rest has its turn as soon as there is room.
            return cx.wake_at(now_ns);
        }
        if let Some(wall) = &self.wall {
            wake_at_the_next_window(wall, self.aggregate.settings().window_ns, now_ns, cx);
        }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        self.is_draining = true;
        let at_ns = self.wall_ns(cx.now_ns(), cx);
        self.is_drained = self.let_go(at_ns, cx);
    }

    fn is_drained(&self) -> bool {
        self.is_drained
    }
}
