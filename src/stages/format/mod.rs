//! The stage `format`: what a window has to say, as the text that leaves the line.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `as` | `"ndjson"` | which text: `"ndjson"`, `"influx"` or `"graphite"` |
//!
//! A summary becomes one message of whole lines, each with its line feed, so that sinks of datagrams,
//! connections and files write it as it is:
//! ```text
//! {"window_start_ns":1700000000000000000,"window_ns":10000000000,"name":"hits","class":"counter","tags":["env:prod"],"values":3,"sum":12}
//! hits,env=prod sum=12 1700000000000000000
//! hits.sum;env=prod 12 1700000000
//! ```
//! | class | statistics |
//! |---|---|
//! | counter | `sum` |
//! | gauge | `last`, `min`, `max`, `mean` |
//! | timer, histogram, distribution | `count`, `sum`, `min`, `max`, `mean`; with a histogram `p50`, `p90`, `p95`, `p99`, `p99_9` |
//! | set | `members` |
//!
//! - The time is when the window began.
//! - A field of Influx stands between: `user` of `cpu` is `user_last` there, and `cpu.user.last` in Graphite.
//! - What a format cannot say is made sayable: Influx escapes it, or has `_` for a backslash at an end,
//!   Graphite has `_` for it; a tag without a value has the value `true` in both, as Telegraf writes it, and one without a key the key `_`.
//! - An event is `{"event":{"title":…,"text":…,"sections":…}}`, a service check
//!   `{"service_check":{"name":…,"status":…,"sections":…}}`; in Influx they are points of `event` and
//!   `service_check` without a time; in Graphite they are absorbed.
//! - What the aggregate did is `{"aggregate":{…}}`, and a point or paths of `hopline_aggregate`.
//!
//! Invariant: a message is whole lines, or is refused; nothing is allocated after the start.

mod lines;
mod text;

use crate::base::limits::{METRIC_KEY_BYTES_MAX, METRIC_LINE_BYTES_MAX};
use crate::base::text::Text;
use crate::feed::datagram::{Datagram, Datagrams, datagram_frames, parts};
use crate::feed::metric::TextStore;
use crate::feed::statsd::{self, Line};
use crate::feed::summary::{Quantiles, Summaries, SummariesView, Summary, SummedUp};
use crate::stage::{Context, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

const OUT: Out<Datagrams> = Out::at(0);

/// Longest message, in bytes.
pub const FORMAT_BYTES_MAX: usize = METRIC_LINE_BYTES_MAX;

const TEXT_BYTES_MAX: usize = if METRIC_KEY_BYTES_MAX > METRIC_LINE_BYTES_MAX {
    METRIC_KEY_BYTES_MAX
} else {
    METRIC_LINE_BYTES_MAX
};

crate::reasons! {
    /// Why something leaves in no line.
    pub enum Why {
        /// Its text would be longer than a message.
        TooLong = "too_long",
        /// Its fragments do not make a message.
        Malformed = "malformed",
        /// The format has nothing for it.
        NoForm = "no_form",
    }
}

/// Which text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFormat {
    /// One JSON value a line.
    #[default]
    Ndjson,
    /// Influx line protocol.
    Influx,
    /// Graphite's plaintext protocol, a line for each statistic.
    Graphite,
}

impl TextFormat {
    /// Their words in a case.
    pub const WORDS: [(&'static str, TextFormat); 3] = [
        ("ndjson", TextFormat::Ndjson),
        ("influx", TextFormat::Influx),
        ("graphite", TextFormat::Graphite),
    ];

    /// From the setting `as`.
    ///
    /// # Errors
    /// A word that is none of them.
    pub fn from_params(params: &mut Params) -> Result<TextFormat, Problem> {
        let words = TextFormat::WORDS.map(|(word, _)| word);
        let of_word = |given: &str| {
            let mut known = TextFormat::WORDS.into_iter();
            known.find_map(|(word, format)| (word == given).then_some(format))
        };
        Ok(params.word("as", &words, of_word)?.unwrap_or_default())
    }
}

/// The message in hand.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one of them, in place, for the time of a message"
)]
enum Head {
    Nothing,
    Summary(Summary, Option<Quantiles>),
    Notice,
}

/// Writes summaries as text; see this file's head.
#[derive(Debug)]
pub struct Format {
    format: TextFormat,
    head: Head,
    store: TextStore,
    text: Text,
}

impl Format {
    /// A stage that writes this. Allocates room for a message.
    #[must_use]
    pub fn new(format: TextFormat) -> Format {
        Format {
            format,
            head: Head::Nothing,
            store: TextStore::new(TEXT_BYTES_MAX),
            text: Text::new(FORMAT_BYTES_MAX),
        }
    }

    /// Writes the message in hand.
    fn write(&mut self) -> Result<(), Why> {
        self.text.clear();
        let (format, out) = (self.format, &mut self.text);
        let whole = self.store.whole().ok_or(Why::Malformed);
        match core::mem::replace(&mut self.head, Head::Nothing) {
            Head::Nothing => Err(Why::Malformed),
            Head::Summary(head, quantiles) => {
                let parted = head.parted(whole?).ok_or(Why::Malformed)?;
                let key = lines::Key::new(parted, head.form);
                lines::summary(format, &head, quantiles.as_ref(), &key, out);
                Ok(())
            }
            // It was parsed when it came in.
            Head::Notice => match statsd::parse(whole?) {
                Ok(Line::Event(_) | Line::Check(_)) if format == TextFormat::Graphite => {
                    Err(Why::NoForm)
                }
                Ok(Line::Event(event)) => {
                    lines::event(format, &event, out);
                    Ok(())
                }
                Ok(Line::Check(check)) => {
                    lines::check(format, &check, out);
                    Ok(())
                }
                _ => Err(Why::Malformed),
            },
        }
    }

    fn send(&self, cx: &mut Context<'_>) -> Outcome<Why> {
        let text = self.text.whole();
        match text.and_then(|text| Some((Datagram::of(None, text)?, text))) {
            Some((head, text)) => {
                cx.emit_with(OUT, &head, parts(text));
                Outcome::done()
            }
            None => Outcome::rejected(Why::TooLong),
        }
    }

    fn counts(&mut self, counts: &SummedUp, cx: &mut Context<'_>) -> Outcome<Why> {
        self.text.clear();
        lines::counts(self.format, counts, &mut self.text);
        self.send(cx)
    }
}

impl Stage for Format {
    type In = Summaries;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Datagrams>("text")];
    const MAX_EMIT: usize = datagram_frames(FORMAT_BYTES_MAX);

    fn memory_bytes(&self) -> usize {
        TEXT_BYTES_MAX + FORMAT_BYTES_MAX
    }

    fn on_frame(&mut self, frame: SummariesView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        match frame {
            SummariesView::Summary(head) => {
                let head = head.to_owned();
                self.store.begin(head.text_bytes(), b"");
                self.head = Head::Summary(head, None);
            }
            SummariesView::Quantiles(quantiles) => {
                if let Head::Summary(_, of_head) = &mut self.head {
                    *of_head = Some(quantiles.to_owned());
                }
            }
            SummariesView::Part(part) => self.store.add(&part.to_owned()),
            SummariesView::Notice(notice) => {
                let notice = notice.to_owned();
                self.store
                    .begin(usize::from(notice.total), notice.as_slice());
                self.head = Head::Notice;
            }
            SummariesView::SummedUp(counts) => return self.counts(&counts.to_owned(), cx),
        }
        if !cx.flags().is_last() {
            return Outcome::held();
        }
        match self.write() {
            Ok(()) => self.send(cx),
            Err(Why::NoForm) => Outcome::absorbed(Why::NoForm),
            Err(why) => Outcome::rejected(why),
        }
    }
}
