//! The metrics of a running line: one page of text that a Prometheus server, or any other scraper, reads over HTTP.
//!
//! Words: a *family* is a metric with its name, kind, unit and labels ([`FAMILIES`] has them all, `docs/METRICS.md` explains
//! each); a *sample* is a value of it with values for its labels; a *page* has the samples of one moment; a *scrape* is a
//! request for it.
//!
//! ```text
//!   scraper ─ GET /metrics ─→ Server, a thread of its own ─ asks ─→ whoever holds the line: Server::answer
//!           ←──── text ──────  page, from the snapshot    ←── Snapshot: report, histograms, health
//! ```
//!
//! Nothing is made ahead: a line that nobody scrapes pays one load fifty times a second, on the thread that watches it. A loop
//! notices a scrape as it notices any other look at the line: it hands its histograms over with its next housekeeping.
//!
//! | file | what it does |
//! |---|---|
//! | `family` | every metric: name, kind, unit, labels, one sentence |
//! | `page` | samples by family |
//! | `text` | a page as OpenMetrics 1.0 or as Prometheus 0.0.4 |
//! | `snapshot` | what is taken of a running line for a page |
//! | `line`, `source`, `files`, `edge` | the samples of a snapshot |
//! | `machine` | those of its loops' threads and of the process |
//! | `session` | one scraper's connection, sans-IO: bytes and the time in, bytes out |
//! | `serve` | sockets, deadlines and the thread |
//! | `otlp` | pushes pages to an OpenTelemetry collector; only with the feature `otlp` |
//!
//! The values of labels are names of the line's spec and words of closed enums, so a page is bounded by the line whatever
//! comes over the wire.
//!
//! Sources: OpenMetrics 1.0 (draft-ietf-opsawg-openmetrics-00), "Exposition formats" and "Metric and label naming" of the
//! Prometheus documentation.
//!
//! Invariant: reads what a line shows, on a thread that is neither pinned nor a loop's, and cannot slow it down; waits for
//! nobody without a deadline.

mod bounds;
mod edge;
mod family;
mod files;
mod line;
mod machine;
#[cfg(feature = "otlp")]
pub mod otlp;
mod page;
mod serve;
mod session;
mod snapshot;
mod source;
mod text;

pub use bounds::{BOUNDS, Bound};
pub use family::{FAMILIES, Family, Kind};
pub use machine::Machine;
pub use page::{Page, Quantiles, Sample, Spread, Value};
pub use serve::Server;
pub use snapshot::Snapshot;
pub use text::{Format, write};
