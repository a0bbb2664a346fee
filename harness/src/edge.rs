//! The edge of a run: `--edge` opens it, and whoever watches the line feeds it.
//!
//! Invariant: an edge that is slow, or whose clients are, takes nothing from the line but the looks that feed it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hopline::base::limits::{EDGE_FIGURES_NS, EDGE_REFUSED_MAX};
use hopline::base::units::hash_text;
use hopline::budget::BeyondBudgets;
use hopline::clock::Clock;
use hopline::dashboard::Feed;
use hopline::dashboard::assets::ASSETS;
use hopline::edge::route::Exposition;
use hopline::edge::{
    Access, AdmissionLimits, EdgeReport, Epoch, Figures, Hub, Publisher, Router, Rules, Server,
    ServerConfig, SessionTimes,
};
use hopline::metrics::{Format, Machine, Page, Snapshot, write};
use hopline::topology::{Report, Running, Window};

use crate::exit::Failure;

/// Where the edge is, unless told otherwise: on this machine only.
const EDGE_ADDRESS: &str = "127.0.0.1:26480";

/// What a run is told of its edge.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EdgeArgs {
    /// Serve the line as it runs to browsers, curl and WebSockets: the dashboard is at /, its events at /dag, /stream/alerts/line,
    /// /stream/stats/line and /stream/samples/line, and /metrics, /health and /ready beside them; docs/EDGE.md has it all
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = EDGE_ADDRESS)]
    pub(crate) edge: Option<SocketAddr>,
    /// Clients of the edge have to show the token in that file; an address that others reach needs one
    #[arg(long, value_name = "FILE", requires = "edge")]
    pub(crate) edge_token: Option<PathBuf>,
    /// Serve the edge for that long after the end; a signal ends it sooner
    #[arg(long, value_name = "SPAN", requires = "edge", value_parser = crate::cli::parse_duration)]
    pub(crate) edge_linger: Option<Duration>,
    /// Most clients of the edge of one address: 256 unless given
    #[arg(long, value_name = "N", requires = "edge")]
    pub(crate) edge_per_address: Option<usize>,
}

impl EdgeArgs {
    /// What is wanted of an edge, with the token read from its file.
    pub(crate) fn options(&self) -> Result<Option<EdgeOptions>, Failure> {
        let Some(at) = self.edge else {
            return Ok(None);
        };
        let mut admission = AdmissionLimits::default();
        if let Some(most) = self.edge_per_address {
            admission.per_address_max = most;
        }
        let token = self.edge_token.as_deref().map(token).transpose()?;
        Ok(Some(EdgeOptions {
            at,
            token,
            admission,
            by_headroom: true,
        }))
    }
}

/// The token in a file: its one line.
fn token(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::io(format!("cannot read {}: {error}", file.display()), ""))?;
    let token = text.trim().to_owned();
    if token.is_empty() {
        let what = format!("{} has no token in it", file.display());
        return Err(Failure::usage(what, "write one line of text into it"));
    }
    Ok(token)
}

/// How an edge is opened.
#[derive(Clone, Debug)]
pub(crate) struct EdgeOptions {
    pub(crate) at: SocketAddr,
    /// What clients have to show.
    pub(crate) token: Option<String>,
    pub(crate) admission: AdmissionLimits,
    /// Whether clients are let in by the headroom of the line.
    pub(crate) by_headroom: bool,
}

impl EdgeOptions {
    /// For as many clients of one address as there may be, who are let in whatever the line has left of its budget.
    pub(crate) fn crowded(at: SocketAddr) -> EdgeOptions {
        let limits = AdmissionLimits::default();
        EdgeOptions {
            at,
            token: None,
            admission: AdmissionLimits {
                per_address_max: limits.clients_max,
                ..limits
            },
            by_headroom: false,
        }
    }
}

/// An edge, and what is told to it.
#[derive(Debug)]
pub(crate) struct Edge {
    server: Server,
    by_headroom: bool,
    publisher: Publisher,
    feed: Feed,
    machine: Machine,
    clock: Clock,
    window: Option<Window>,
    /// When its figures were asked for last, and what they were.
    asked_ns: Option<u64>,
    figures: Arc<Figures>,
    /// The line after its end.
    last: Option<Snapshot>,
}

/// Files that a run has open beside those of the edge's clients: its sources, sinks and captures, and what reports are read from.
const OTHER_FILES: u64 = 1_024;

/// How long its thread may take to give its last figures: it is asked while it serves.
const FIGURES_WITHIN: Duration = Duration::from_secs(2);

/// A number that another start of the program does not have.
fn epoch(clock: &Clock) -> Epoch {
    let text = format!("{} {}", clock.wall_ns(), std::process::id());
    // FNV-1a, as check sums have it: spread over all digits, so that two starts are seen to differ.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    debug_assert_eq!(hash_text(hash).len(), 16);
    Epoch(hash)
}

impl Edge {
    /// Opens it, before the line is: its thread is not pinned then.
    pub(crate) fn open(options: &EdgeOptions, budgets: BeyondBudgets) -> Result<Edge, Failure> {
        let clock = Clock::os();
        // Where the system grants fewer, those beyond wait until some have left.
        let clients = options.admission.clients_max + EDGE_REFUSED_MAX;
        hopline::host::allow_files(clients as u64 + OTHER_FILES);
        let mut hub = Hub::new(epoch(&clock));
        let feed =
            Feed::open(&mut hub).map_err(|fault| Failure::usage(format!("edge: {fault}"), ""))?;
        let config = ServerConfig {
            at: options.at,
            rules: Rules {
                router: Router::new(Access::default(), ASSETS),
                times: SessionTimes::default(),
                token: options.token.as_deref().map(Into::into),
            },
            admission: options.admission,
            hub,
            budgets,
        };
        let server = Server::open(config).map_err(|fault| {
            use hopline::edge::NotServed;
            match fault {
                NotServed::Public(_) => Failure::usage(
                    format!("edge: {fault}"),
                    "--edge 127.0.0.1:0, or --edge-token FILE",
                ),
                NotServed::Io(ref error) => {
                    Failure::io(format!("edge: {fault}"), error.hint().unwrap_or(""))
                }
            }
        })?;
        Ok(Edge {
            publisher: server.publisher(),
            server,
            by_headroom: options.by_headroom,
            feed,
            machine: Machine::new(&clock),
            clock,
            window: None,
            asked_ns: None,
            figures: Arc::default(),
            last: None,
        })
    }

    /// Where it is to be opened with a browser.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.server.address())
    }

    /// Looks at the line for it, and answers what its clients asked.
    pub(crate) fn answer(&mut self, running: &mut Running) {
        self.take_figures();
        let look = self.feed.look(running, &self.publisher, self.clock.stamp());
        if let Some(permille) = look.remaining_permille
            && self.by_headroom
        {
            self.server.tell_headroom(permille);
        }
        let asked = self.server.asked();
        if asked.health {
            let why_not = running.health().why_not();
            self.server.tell_health(why_not, !running.is_ending());
        }
        if asked.metrics.iter().any(Option::is_some) {
            self.window = self.window.or_else(|| running.window());
            let snapshot = Snapshot::take(running, self.window).with_edge(&self.figures);
            self.tell_metrics(&snapshot, asked.metrics);
        }
    }

    /// Takes what its thread has counted and measured, as often as clients are told figures.
    fn take_figures(&mut self) {
        let now_ns = self.clock.stamp();
        if self
            .asked_ns
            .is_some_and(|ns| now_ns < ns + EDGE_FIGURES_NS)
        {
            return;
        }
        self.asked_ns = Some(now_ns);
        if let Some(figures) = self.server.figures() {
            self.feed.tell_beyond(figures.hops.reports());
            self.figures = Arc::from(figures);
        }
    }

    /// What its thread had counted and measured when it was last asked.
    pub(crate) fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// The line has ended so. Gives what the edge did meanwhile; it goes on to serve.
    pub(crate) fn last(&mut self, last: Snapshot, report: &Report) -> EdgeReport {
        self.feed.last(report, &self.publisher);
        if let Some(figures) = self.server.figures_within(FIGURES_WITHIN) {
            self.figures = Arc::from(figures);
        }
        self.last = Some(last.with_edge(&self.figures));
        EdgeReport::new(self.server.address().to_string(), &self.figures)
    }

    /// Answers for a line that has ended.
    pub(crate) fn idle(&mut self) {
        let asked = self.server.asked();
        self.take_figures();
        let Some(last) = self.last.take() else {
            return;
        };
        let last = match asked.metrics.iter().any(Option::is_some) {
            true => last.with_edge(&self.figures),
            false => last,
        };
        if asked.health {
            self.server.tell_health(last.why_not.clone(), false);
        }
        self.tell_metrics(&last, asked.metrics);
        self.last = Some(last);
    }

    fn tell_metrics(&mut self, snapshot: &Snapshot, asked: [Option<Exposition>; 2]) {
        if asked.iter().all(Option::is_none) {
            return;
        }
        let page = Page::of(snapshot, &mut self.machine);
        for exposition in asked.into_iter().flatten() {
            let format = match exposition {
                Exposition::Prometheus => Format::Prometheus,
                Exposition::OpenMetrics => Format::OpenMetrics,
            };
            let text = write(&page, format);
            self.server
                .tell_metrics(exposition, format.media_type(), text.into());
        }
    }

    /// Sends its clients away and ends it.
    pub(crate) fn end(self) {
        self.server.drain();
        let _ = self.server.end();
    }
}
