//! Samples summed up by key and window, within bounds that are set once.
//!
//! ```text
//!   sample ──→ window by its event time, else by receive time
//!          └─→ key: class, format, name, field, tags ──→ cell of that window and key
//!                                                        ├─ a histogram from the reserve: timers, …
//!                                                        └─ a set from the reserve
//! ```
//! What becomes of each class in a window:
//!
//! | class | sum | more |
//! |---|---|---|
//! | counter | each value over its rate | |
//! | gauge | of its levels | the last level; changes are made to the level that outlived the last window |
//! | timer, histogram, distribution | by weight, one over the rate | a histogram of two digits |
//! | set | | how many members are different |
//!
//! Least and largest value are exact. A whole number is exact up to 2^53, so that counters sent as
//! such add up in any order to the same total.
//!
//! **Windows** are neighbours of one length: the current one by receive time, one ahead of it for
//! senders whose clocks are ahead, and as many behind it as stay open for what is late. A window that
//! is too old is sealed; it is handed out a bounded number of rows at a time, so that no turn takes
//! long, and frees its place when the last one is out.
//!
//! **Keys** are bounded. The one that no open window has seen for the longest makes room for a new
//! one, at the grain of a window; its gauge's level is forgotten. If all are in open windows, the new
//! one finds no room.
//!
//! **What is lost or lessened is counted**: [`Lost`] says why a sample was not taken at all, and
//! [`Counts`] says what was taken in part. The values of a line are taken all or none.
//!
//! Invariant: nothing is allocated after [`Aggregate::new`]; samples = taken + lost by reason.

mod keys;
mod row;
mod sets;
mod settings;
mod windows;

pub use row::Row;
pub use settings::{Settings, SettingsError, Signs, TagOrder};

use crate::base::Reason;
use crate::base::limits::METRIC_TAGS_MAX;
use crate::feed::sample::{Class, Sample, TagForm, TagSet};
use crate::hist::Tally;
use keys::{Keys, NONE, NoKey, Parts};
use sets::{Put, Sets};
use windows::{Cell, Handed, NoWindow, Windows};

crate::reasons! {
    /// Why a sample is in no window.
    pub enum Lost {
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
    }
}

/// What an aggregate did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples that it was given.
    pub samples: u64,
    /// Samples of them that are in no window, by [`Lost`].
    pub lost: [u64; Lost::ALL.len()],
    /// Rows that were handed out.
    pub rows: u64,
    /// Keys that were added.
    pub keys_added: u64,
    /// Keys that made room for another.
    pub keys_evicted: u64,
    /// Times that a key had no histogram in a window, and so no quantiles.
    pub without_histogram: u64,
    /// Times that a key had no set in a window.
    pub without_set: u64,
    /// Members that a set had no room for; one that comes again counts again.
    pub set_full: u64,
    /// Values that lie outside of their histogram and were counted at its end.
    pub clamped: u64,
}

impl Counts {
    /// Samples that are in a window.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.samples - self.lost.iter().sum::<u64>()
    }
}

/// Windows of metrics.
///
/// ```
/// use hopline::feed::aggregate::{Aggregate, Settings};
/// use hopline::feed::statsd::{self, Line};
/// let mut aggregate = Aggregate::new(Settings::default())?;
/// let now_ns = 1_700_000_000_000_000_000;
/// for line in [&b"hits:1|c|@0.1"[..], b"hits:2|c"] {
///     if let Ok(Line::Metric(metric)) = statsd::parse(line) {
///         aggregate.add(&metric.sample(), now_ns).unwrap();
///     }
/// }
/// let mut hits = 0.0;
/// aggregate.close_all(100, |row| hits += row.sum);
/// assert_eq!(hits, 12.0);
/// # Ok::<(), hopline::feed::aggregate::SettingsError>(())
/// ```
#[derive(Debug)]
pub struct Aggregate {
    settings: Settings,
    keys: Keys,
    windows: Windows,
    tallies: Box<[Tally]>,
    tallies_free: Vec<u32>,
    sets: Sets,
    /// Where tags are put in order.
    sorted: Box<[u8]>,
    counts: Counts,
}

impl Aggregate {
    /// An empty one. Allocates all that it ever needs, [`Settings::memory_bytes`].
    ///
    /// # Errors
    /// A setting is beyond its bounds.
    pub fn new(settings: Settings) -> Result<Aggregate, SettingsError> {
        settings.check()?;
        let histograms = settings.histograms as u32;
        Ok(Aggregate {
            keys: Keys::new(settings.keys, settings.key_bytes, settings.seed),
            windows: Windows::new(settings.window_ns, settings.late_windows, settings.keys),
            tallies: (0..histograms).map(|_| Tally::new()).collect(),
            tallies_free: (0..histograms).rev().collect(),
            sets: Sets::new(settings.sets, settings.set_members),
            sorted: vec![0; settings.key_bytes].into_boxed_slice(),
            counts: Counts::default(),
            settings,
        })
    }

    /// What it was built for.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            keys_added: self.keys.added,
            keys_evicted: self.keys.evicted,
            ..self.counts
        }
    }

    /// Keys that it knows.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Places of the key table that were looked at: what a search costs, but for the time.
    #[must_use]
    pub fn probes(&self) -> u64 {
        self.keys.probes
    }

    /// Takes a sample that was received at `now_ns`, in nanoseconds since 1970.
    ///
    /// # Errors
    /// Why it is in no window; it is counted, and nothing else has changed.
    #[inline]
    pub fn add(&mut self, sample: &Sample<'_>, now_ns: u64) -> Result<(), Lost> {
        self.counts.samples += 1;
        let taken = self.take(sample, now_ns);
        if let Err(lost) = taken {
            self.counts.lost[lost.index()] += 1;
        }
        taken
    }

    #[inline]
    fn take(&mut self, sample: &Sample<'_>, now_ns: u64) -> Result<(), Lost> {
        let place = match self.windows.place(sample.at_ns, now_ns) {
            Ok(place) => place,
            Err(NoWindow::Late) => return Err(Lost::Late),
            Err(NoWindow::Ahead) => return Err(Lost::Ahead),
        };
        let key = self.key(sample)?;
        let taken = match sample.class {
            Class::Set => {
                self.take_member(place, key, sample.member);
                Ok(())
            }
            Class::Gauge => self.take_levels(place, key, sample, sample.at_ns.unwrap_or(now_ns)),
            _ => self.take_values(place, key, sample, sample.at_ns.unwrap_or(now_ns)),
        };
        if taken.is_err() {
            // A new key that nothing was taken for must not stay for good.
            self.keys.rest(key);
        }
        taken
    }

    /// The number of a sample's key.
    #[inline]
    fn key(&mut self, sample: &Sample<'_>) -> Result<u32, Lost> {
        let form = sample.tags.form;
        let bytes = match self.settings.tag_order {
            TagOrder::Sorted if !is_sorted(sample.tags) => sort(sample.tags, &mut self.sorted)?,
            _ => sample.tags.bytes,
        };
        let parts = Parts {
            name: sample.name,
            field: sample.field,
            tags: TagSet { bytes, form },
            class: sample.class,
        };
        self.keys.find_or_add(&parts).map_err(|why| match why {
            NoKey::TooLong => Lost::KeyTooLong,
            NoKey::NoRoom => Lost::NoRoom,
        })
    }

    /// The cell of a key, which is begun if the window has not seen it.
    #[inline]
    fn cell(&mut self, place: usize, key: u32, class: Class) -> &mut Cell {
        if self.windows.cell(place, key).values == 0 {
            self.begin(place, key, class);
        }
        self.windows.cell(place, key)
    }

    fn begin(&mut self, place: usize, key: u32, class: Class) {
        let extra = match class {
            Class::Counter | Class::Gauge => NONE,
            Class::Timer | Class::Histogram | Class::Distribution => {
                let tally = self.tallies_free.pop().unwrap_or(NONE);
                self.counts.without_histogram += u64::from(tally == NONE);
                tally
            }
            Class::Set => {
                let set = self.sets.take();
                self.counts.without_set += u64::from(set == NONE);
                set
            }
        };
        self.keys.open(key);
        self.windows.note(place, key);
        self.windows.cell(place, key).extra = extra;
    }

    /// Counters and distributions.
    #[inline]
    fn take_values(
        &mut self,
        place: usize,
        key: u32,
        sample: &Sample<'_>,
        at_ns: u64,
    ) -> Result<(), Lost> {
        let (mut values, mut sum, mut last) = (0_u64, 0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in sample.values {
            values += 1;
            sum += number.value;
            min = number.value.min(min);
            max = number.value.max(max);
            last = number.value;
        }
        let mut weight = values as f64;
        if sample.rate != 1.0 {
            weight /= sample.rate;
            sum /= sample.rate;
        }
        let before = self.windows.cell(place, key);
        if !((before.sum + sum).is_finite() && (before.weight + weight).is_finite()) || values == 0
        {
            return Err(Lost::BeyondScale);
        }
        let cell = self.cell(place, key, sample.class);
        cell.values += values;
        cell.weight += weight;
        cell.sum += sum;
        cell.min = cell.min.min(min);
        cell.max = cell.max.max(max);
        if at_ns >= cell.last_at_ns {
            (cell.last, cell.last_at_ns) = (last, at_ns);
        }
        let tally = cell.extra;
        if tally != NONE {
            self.place_values(tally, sample);
        }
        Ok(())
    }

    /// Puts values into their histogram.
    #[inline]
    fn place_values(&mut self, tally: u32, sample: &Sample<'_>) {
        let units = self.units(sample.class);
        let tally = &mut self.tallies[tally as usize];
        // Both casts end at the bounds of their type.
        let times = if sample.rate == 1.0 {
            1
        } else {
            (1.0 / sample.rate).round() as u32
        };
        for number in sample.values {
            let fits = tally.add((number.value * units + 0.5) as u64, times);
            self.counts.clamped += u64::from(!fits || number.value < 0.0);
        }
    }

    /// Units of a histogram that make one of a class's values.
    #[inline]
    fn units(&self, class: Class) -> f64 {
        match class {
            Class::Timer => self.settings.timer_units,
            _ => self.settings.value_units,
        }
    }

    /// Gauges.
    #[inline]
    fn take_levels(
        &mut self,
        place: usize,
        key: u32,
        sample: &Sample<'_>,
        at_ns: u64,
    ) -> Result<(), Lost> {
        let changes = self.settings.signs == Signs::Changes;
        let mut level = *self.keys.level(key);
        let mut last = level.value;
        let (mut values, mut sum) = (0_u64, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for number in sample.values {
            if number.signed && changes {
                // A change is one whenever it comes.
                level.value += number.value;
                last = level.value;
                level.at_ns = level.at_ns.max(at_ns);
            } else {
                last = number.value;
                if at_ns >= level.at_ns {
                    level.value = number.value;
                    level.at_ns = at_ns;
                }
            }
            values += 1;
            sum += last;
            min = last.min(min);
            max = last.max(max);
        }
        let before = self.windows.cell(place, key);
        if !((before.sum + sum).is_finite() && level.value.is_finite()) || values == 0 {
            return Err(Lost::BeyondScale);
        }
        *self.keys.level(key) = level;
        let cell = self.cell(place, key, Class::Gauge);
        cell.values += values;
        cell.weight += values as f64;
        cell.sum += sum;
        cell.min = cell.min.min(min);
        cell.max = cell.max.max(max);
        if at_ns >= cell.last_at_ns {
            (cell.last, cell.last_at_ns) = (last, at_ns);
        }
        Ok(())
    }

    /// Sets.
    fn take_member(&mut self, place: usize, key: u32, member: &[u8]) {
        let hash = self.keys.hash_member(member);
        let cell = self.cell(place, key, Class::Set);
        cell.values += 1;
        cell.weight += 1.0;
        let set = cell.extra;
        if set == NONE {
            cell.incomplete = true;
        } else if self.sets.put(set, hash) == Put::Full {
            self.counts.set_full += 1;
            self.windows.cell(place, key).incomplete = true;
        }
    }

    /// Seals the windows that are due at `now_ns` and hands out up to `rows_max` of their rows; says
    /// how many. Fewer than that are all.
    ///
    /// For each turn of a loop, before samples are added: while rows are left, their window keeps its
    /// place.
    pub fn close_due(&mut self, now_ns: u64, rows_max: usize, each: impl FnMut(&Row<'_>)) -> usize {
        self.windows.seal(now_ns);
        self.hand_out(rows_max, each)
    }

    /// Seals all windows, the current one included, and hands out up to `rows_max` rows; says how
    /// many. For the end of a run; what is added later finds its window sealed or begins one ahead.
    pub fn close_all(&mut self, rows_max: usize, each: impl FnMut(&Row<'_>)) -> usize {
        self.windows.seal_all();
        self.hand_out(rows_max, each)
    }

    /// Whether a sealed window may have rows that were not handed out.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.windows.is_due()
    }

    fn hand_out(&mut self, rows_max: usize, mut each: impl FnMut(&Row<'_>)) -> usize {
        let mut rows = 0;
        while rows < rows_max {
            let Some(handed) = self.windows.hand_out() else {
                break;
            };
            each(&self.row(&handed));
            self.let_go(&handed);
            rows += 1;
        }
        self.counts.rows += rows as u64;
        rows
    }

    fn row(&self, handed: &Handed) -> Row<'_> {
        let parts = self.keys.parts(handed.key);
        let cell = &handed.cell;
        let is_set = parts.class == Class::Set;
        let extra = (cell.extra != NONE).then_some(cell.extra);
        let set = extra.filter(|_| is_set);
        Row {
            window_start_ns: handed.start_ns,
            window_ns: self.settings.window_ns,
            name: parts.name,
            field: parts.field,
            tags: parts.tags,
            class: parts.class,
            values: cell.values,
            weight: cell.weight,
            sum: cell.sum,
            min: if is_set { 0.0 } else { cell.min },
            max: if is_set { 0.0 } else { cell.max },
            last: cell.last,
            members: set.map_or(0, |set| self.sets.len(set)),
            members_incomplete: cell.incomplete,
            tally: extra
                .filter(|_| !is_set)
                .map(|tally| &self.tallies[tally as usize]),
            units_per_one: self.units(parts.class),
        }
    }

    /// Takes back what a row held.
    fn let_go(&mut self, handed: &Handed) {
        let extra = handed.cell.extra;
        if extra != NONE {
            match self.keys.parts(handed.key).class {
                Class::Set => self.sets.give_back(extra),
                _ => {
                    self.tallies[extra as usize].clear();
                    self.tallies_free.push(extra);
                }
            }
        }
        self.keys.close(handed.key);
    }
}

/// Whether tags are in order and each of them once.
#[inline]
fn is_sorted(tags: TagSet<'_>) -> bool {
    let mut before: &[u8] = b"";
    tags.iter().all(|tag| {
        let in_order = before < tag.bytes;
        before = tag.bytes;
        in_order
    })
}

/// Writes the tags in order, each once.
#[cold]
fn sort<'s>(tags: TagSet<'_>, sorted: &'s mut [u8]) -> Result<&'s [u8], Lost> {
    let mut places: [&[u8]; METRIC_TAGS_MAX] = [b""; METRIC_TAGS_MAX];
    let mut count = 0;
    for tag in tags {
        *places.get_mut(count).ok_or(Lost::KeyTooLong)? = tag.bytes;
        count += 1;
    }
    let places = &mut places[..count];
    places.sort_unstable();
    let separator = match tags.form {
        TagForm::Semicolon => b';',
        TagForm::Colon | TagForm::Escaped => b',',
    };
    let mut len = 0;
    let mut before: &[u8] = b"";
    for tag in places.iter().copied() {
        if tag == before {
            continue;
        }
        if !before.is_empty() {
            *sorted.get_mut(len).ok_or(Lost::KeyTooLong)? = separator;
            len += 1;
        }
        let place = sorted.get_mut(len..len + tag.len());
        place.ok_or(Lost::KeyTooLong)?.copy_from_slice(tag);
        len += tag.len();
        before = tag;
    }
    Ok(&sorted[..len])
}

#[cfg(test)]
mod tests;
