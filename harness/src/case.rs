//! From the words of a command line to a line that can start.
//!
//! Invariant: opens the case's files and the heads of the captures, nothing else; a line that comes
//! out of here was checked.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hopline::base::limits::CONFIG_BYTES_MAX;
use hopline::base::units::Span;
use hopline::budget::{BeyondBudgets, Budget, Passage};
use hopline::config::{
    Case, CaseFiles, Feed, FeedMode, HopSetting, Load, LoadChange, Overrides, Slo, SourceText, Via,
};
use hopline::host::{Host, Pin, usable_threads};
use hopline::topology::draft::Draft;
use hopline::topology::problem::{closest, list};
use hopline::topology::{Line, Problem, Problems, Registry};

use crate::built_in::{BUILT_IN, BuiltIn};
use crate::cli::{DEMONSTRATION_SPAN, Shape, ViaArg};
use crate::exchange::FeedSpec;
use crate::exit::Failure;
use crate::replayed::{self, Replayed};
use crate::sender::LaneSpec;
use crate::{fed, input, load};

/// The case that runs when none is named.
pub(crate) const DEMONSTRATION: &str = "tick-to-trade";

/// The cases that are built in: name, and what it is about.
pub(crate) fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILT_IN.iter().map(|case| (case.name, case.about))
}

/// A line that was checked, and how it is to be fed.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) line: Line,
    /// Its nodes, sources and sinks included.
    pub(crate) nodes: usize,
    /// What senders send; empty where the line feeds itself or the world feeds it.
    pub(crate) lanes: Vec<LaneSpec>,
    /// What an exchange serves; likewise.
    pub(crate) served: Vec<FeedSpec>,
    /// The captures that it replays, or whose rhythm it follows.
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) sink_log: Option<PathBuf>,
    /// What the hops beyond the line owe, where it has an edge.
    pub(crate) beyond: BeyondBudgets,
    /// Where its UDP sinks send to, by name; empty under `--live`, where the world listens.
    pub(crate) sends_to: Vec<(String, SocketAddr)>,
    /// Whether threads shall be pinned.
    pub(crate) pins: bool,
    pub(crate) warmup_ns: u64,
    /// Messages a second of all its sources together, where all of them are made up at a rate that lasts.
    pub(crate) rate_per_s: Option<f64>,
    /// How long it runs unless the user says how long.
    pub(crate) most: Option<Duration>,
    /// Whether its messages are made up, so that a capture would be worth trying.
    pub(crate) is_made_up: bool,
    /// Most that P99 may lie above P50 from end to end, if the case says so.
    pub(crate) jitter_ns: Option<u64>,
    /// Most that 99 of a hundred differences between successive messages' spans may be, likewise.
    pub(crate) ipdv_ns: Option<u64>,
    /// What its sources make in their own turns.
    pub(crate) made_in_turn: Vec<Feed>,
    /// What its sources replay in their own turns.
    pub(crate) replayed: Vec<Replayed>,
    /// Its UDP sources that date a datagram from its receipt.
    pub(crate) undated: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// Reads a case and makes its line, with what the command line changes. `inline` is without
/// threads, and then without senders.
pub(crate) fn load(registry: &Registry, shape: &Shape, inline: bool) -> Result<Ready, Failure> {
    load_as(registry, shape, inline, false)
}

/// The same for a run that is judged: datagrams are dated from their arrival in the kernel, or those that waited in a socket
/// while the host had the loop's core would look as if nothing had happened to them.
pub(crate) fn load_judged(registry: &Registry, shape: &Shape) -> Result<Ready, Failure> {
    load_as(registry, shape, false, true)
}

/// That no limit is longer than what a judged run notes of a message: a longer one would hold whatever the message took.
fn can_be_told(draft: &Draft, slo: &Slo) -> Result<(), Failure> {
    let of = |budget: &Budget| {
        let limits = budget.limits().iter();
        limits
            .map(|one| (one.quantile.name(), one.limit_ns))
            .collect::<Vec<_>>()
    };
    let of_hops = draft.hops.iter().filter_map(|hop| {
        let budget = hop.hop.budget.as_ref()?;
        Some((format!("[hop.\"{}\"]", hop.name()), of(budget)))
    });
    // An objective from end to end as long as that is refused by the line's own check.
    let jitter = slo.jitter_ns.map(|ns| ("jitter", ns));
    let of_line = jitter.into_iter().chain(slo.ipdv_ns.map(|ns| ("ipdv", ns)));
    let all = of_hops.chain([("[slo]".to_owned(), of_line.collect())]);
    for (table, limits) in all {
        for (name, limit_ns) in limits {
            if limit_ns >= Passage::SPAN_MAX_NS {
                return Err(Failure::usage(
                    format!(
                        "{name} in {table} of budget.toml is {}, and a judged run tells spans of a message up to {} apart",
                        Span(limit_ns),
                        Span(Passage::SPAN_MAX_NS)
                    ),
                    "write a shorter one for bench and gate; `hopline run` counts what is over it",
                ));
            }
        }
    }
    Ok(())
}

fn load_as(
    registry: &Registry,
    shape: &Shape,
    inline: bool,
    arrival_stamps: bool,
) -> Result<Ready, Failure> {
    let mut case = read(&shape.case)?;
    for bind in &shape.binds {
        case.bind(&bind.source, &bind.address).map_err(|problem| {
            let given = format!("--bind {}={}", bind.source, bind.address);
            Failure::usage(format!("{given}: {}", problem.what), problem.help)
        })?;
    }
    shape.load.apply(&mut case, &shape.inputs)?;
    let case = case;
    let load = case.load().filter(|_| !shape.is_live());
    let via = via_of(shape, load, inline);
    let (inputs, epoch_ns) = input::look(&case, &shape.inputs)?;
    match via {
        Via::Direct => {}
        Via::Udp => input::only_text(&inputs, "over UDP")?,
        Via::WebSocket => input::only_text(&inputs, "over a WebSocket")?,
    }
    let rhythms = if shape.is_live() {
        Vec::new()
    } else {
        load::rhythms(&case, &shape.inputs)?
    };
    if let Some(log) = &shape.sink_log {
        input::sink_log_is_apart(log, &shape.inputs, Path::new(&shape.case))?;
    }
    let overrides = Overrides {
        inputs: inputs.clone(),
        speed: shape.speed.map(|pace| pace.0),
        epoch_ns,
        sink_log: shape.sink_log.clone(),
        feed: if shape.is_live() {
            FeedMode::Live
        } else {
            FeedMode::Load
        },
        via: Some(via),
        arrival_stamps,
        hops: shape
            .hops
            .iter()
            .map(|wish| HopSetting {
                hop: wish.name.clone(),
                depth: wish.depth,
                when_full: wish.when_full,
                settings: wish.settings.clone(),
                given: wish.given.clone(),
            })
            .collect(),
        pin: shape.pin,
        wait: shape.wait,
        threads: shape.threads.map(usize::from),
    };
    let mut draft = case.draft(registry, &overrides)?;
    let mut notes: Vec<String> = rhythms.iter().map(|rhythm| rhythm.note.clone()).collect();
    let lanes = if via == Via::Udp && !shape.is_live() {
        fed::lanes(&case, load, shape, epoch_ns.unwrap_or(0))?
    } else {
        Vec::new()
    };
    let served = if via == Via::WebSocket && !shape.is_live() {
        fed::served(&case, load, shape, epoch_ns.unwrap_or(0))?
    } else {
        Vec::new()
    };
    if arrival_stamps
        && draft.nodes.iter().any(|node| {
            ["udp", "moldudp64", "iextp"].contains(&node.kind.as_str())
                && node.part.descriptor().tells_wire
        })
    {
        notes.push(
            "the kernel stamps what arrives by UDP while a run is judged: some 0.3 us a datagram"
                .to_owned(),
        );
    }
    if arrival_stamps && !served.is_empty() {
        notes.push(
            "what comes over a WebSocket is dated from when it was read: what it waited in its socket before is in no figure"
                .to_owned(),
        );
    }
    let by_hand = draft.placement.threads_max.is_some() || !draft.placement.threads.is_empty();
    let usable = usable_threads(&Host::read());
    let from_outside = !lanes.is_empty() || !served.is_empty();
    if from_outside && !by_hand && usable > 1 {
        draft.placement.threads_max = Some(usable - 1);
        let whom = if lanes.is_empty() {
            "exchange"
        } else {
            "sender"
        };
        notes.push(format!("one core is left to the {whom}"));
    }
    let is_input = |source: &str| shape.inputs.iter().any(|input| input.source == source);
    if via == Via::Direct && !shape.is_live() {
        for source in case.sources() {
            if source.setting("share").is_some() && (load.is_some() || is_input(source.name())) {
                return Err(Failure::usage(
                    format!(
                        "sinks answer by the socket of \"{}\", which a feed without UDP replaces",
                        source.name()
                    ),
                    if inline {
                        "run it without --virtual: there a sender feeds it over UDP"
                    } else {
                        "run it with --via udp, or --live"
                    },
                ));
            }
        }
    }
    let made_up = case
        .sources()
        .any(|source| load.is_some() && !is_input(source.name()));
    if arrival_stamps {
        can_be_told(&draft, case.slo())?;
    }
    let nodes = draft.nodes.len();
    let pins = draft.placement.pin != Pin::Off;
    let line = draft.check()?;
    Ok(Ready {
        line,
        nodes,
        lanes,
        served,
        inputs: shape
            .inputs
            .iter()
            .map(|input| input.file.clone())
            .chain(rhythms.into_iter().map(|rhythm| rhythm.file))
            .collect(),
        sink_log: shape.sink_log.clone(),
        beyond: case.beyond().clone(),
        sends_to: if shape.is_live() {
            Vec::new()
        } else {
            fed::sends_to(&case)
        },
        pins,
        rate_per_s: load.and_then(|load| rate_per_s(&case, load, shape)),
        warmup_ns: load.filter(|_| made_up).map_or(0, |load| load.warmup_ns),
        most: load.filter(|_| made_up).map(|load| {
            let most = load.duration_ns.map(Duration::from_nanos);
            most.unwrap_or(DEMONSTRATION_SPAN)
        }),
        // A hint to try a capture makes sense only where messages are an exchange's.
        is_made_up: made_up
            && case
                .sources()
                .any(|source| source.setting("decode") == Some("binance")),
        jitter_ns: case.slo().jitter_ns,
        ipdv_ns: case.slo().ipdv_ns,
        made_in_turn: load
            .filter(|_| via == Via::Direct)
            .map(|load| load.feeds.iter().filter(|feed| !is_input(&feed.source)))
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        replayed: replayed::in_turn(&case, shape, &inputs, load, via, epoch_ns),
        undated: case
            .sources()
            .filter(|source| via == Via::Udp || shape.is_live() && !is_input(source.name()))
            .filter(|source| ["udp", "moldudp64", "iextp"].contains(&source.kind()))
            .filter(|source| source.setting("timestamps") == Some("off"))
            .map(|source| source.name().to_owned())
            .collect(),
        notes,
    })
}

/// How messages get to the sources.
fn via_of(shape: &Shape, load: Option<&Load>, inline: bool) -> Via {
    match shape.via {
        _ if inline || shape.is_live() => Via::Direct,
        Some(ViaArg::Direct) => Via::Direct,
        Some(ViaArg::Udp) => Via::Udp,
        Some(ViaArg::WebSocket) => Via::WebSocket,
        None => load.map_or(Via::Direct, |load| load.via),
    }
}

/// What a measured run has of the case's files, beside what is told to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The seed of the first source that is fed; none where nothing is drawn.
    pub(crate) seed: Option<u64>,
    /// How long a drain may take.
    pub(crate) drain: Duration,
    /// Most that P99 may lie above P50 from end to end, if the case says so.
    pub(crate) jitter_ns: Option<u64>,
    /// Most that 99 of a hundred differences between successive messages' spans may be, likewise.
    pub(crate) ipdv_ns: Option<u64>,
    /// The hops that may lose nothing.
    pub(crate) lossless: Vec<String>,
}

/// The same by the case's files only.
///
/// # Errors
/// The case cannot be read, or the flags say nothing of it.
pub(crate) fn given(shape: &Shape) -> Result<Given, Failure> {
    let mut case = read(&shape.case)?;
    shape.load.apply(&mut case, &shape.inputs)?;
    let is_input = |name: &str| shape.inputs.iter().any(|input| input.source == name);
    let is_drawn = !shape.is_live() && case.sources().any(|source| !is_input(source.name()));
    let first = case.load().and_then(|load| load.feeds.first());
    Ok(Given {
        seed: first.filter(|_| is_drawn).map(|feed| feed.seed),
        drain: Duration::from_nanos(case.drain_ns()),
        jitter_ns: case.slo().jitter_ns,
        ipdv_ns: case.slo().ipdv_ns,
        lossless: case.lossless().map(str::to_owned).collect(),
    })
}

/// Refuses a case of which nothing could be said: to be judged, its messages need a schedule and, where `by_budgets`, it needs
/// limits. Asks the case's files only, so that it holds for the stages of any program.
///
/// # Errors
/// What is missing, with what to write.
pub(crate) fn can_be_judged(shape: &Shape, by_budgets: bool) -> Result<(), Failure> {
    let mut case = read(&shape.case)?;
    shape.load.apply(&mut case, &shape.inputs)?;
    let load = case.load().filter(|_| !shape.is_live());
    replayed::refuse_flat_out(&case, shape, load, via_of(shape, load, false))?;
    if by_budgets && !case.owes() {
        return Err(Failure::usage(
            "the case has no budget that could hold: no budget.toml, or one without a limit",
            "write one, such as [slo] with p99 = \"5ms\"; `hopline budget derive` proposes them",
        ));
    }
    Ok(())
}

/// What all sources get a second, if each of them has a feed and none a capture.
fn rate_per_s(case: &Case, load: &Load, shape: &Shape) -> Option<f64> {
    let rate = |source: hopline::config::GivenNode<'_>| {
        let feed = load.feed(source.name())?;
        (!shape
            .inputs
            .iter()
            .any(|input| input.source == source.name()))
        .then_some(feed.rate_per_s)
    };
    case.sources().map(rate).sum()
}

/// The mean rates of the sources that the case's load feeds, in messages a second.
///
/// # Errors
/// The case cannot be read, or its load has no rate that could be raised.
pub(crate) fn rates(shape: &Shape) -> Result<Vec<f64>, Failure> {
    let mut case = read(&shape.case)?;
    shape.load.apply(&mut case, &shape.inputs)?;
    let is_input = |name: &str| shape.inputs.iter().any(|input| input.source == name);
    let feeds = case.load().into_iter().flat_map(|load| &load.feeds);
    let fed = feeds.filter(|feed| !shape.is_live() && !is_input(&feed.source));
    let rates: Vec<f64> = fed.map(|feed| feed.rate_per_s).collect();
    if rates.is_empty() {
        return Err(Failure::usage(
            "there is no rate to raise: no source of this case is fed by a load.toml",
            "write a load.toml (rate = \"10k/s\" is enough), and leave out --live and captures",
        ));
    }
    let same = LoadChange {
        factor: Some(1.0),
        ..LoadChange::default()
    };
    case.change_load(&same)
        .map_err(|problem| Failure::usage(problem.what, problem.help))?;
    Ok(rates)
}

/// The case that `named` means: a folder with a line.toml, else a built-in one.
fn read(named: &str) -> Result<Case, Failure> {
    let folder = Path::new(named);
    let files = if folder.join("line.toml").exists() {
        from_folder(folder)?
    } else if let Some(case) = BUILT_IN.iter().find(|case| case.name == named) {
        from_program(case)
    } else {
        return Err(unknown(named, folder));
    };
    let name = folder
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| named.to_owned());
    Ok(Case::parse(&name, files)?)
}

fn from_program(case: &BuiltIn) -> CaseFiles {
    let text = |file: &str, text: &str| SourceText::new(&format!("{}/{file}", case.name), text);
    CaseFiles {
        line: text("line.toml", case.line),
        load: Some(text("load.toml", case.load)),
        budget: Some(text("budget.toml", case.budget)),
    }
}

fn from_folder(folder: &Path) -> Result<CaseFiles, Failure> {
    let mut problems = Problems::default();
    let mut read = |file: &str| -> Result<Option<SourceText>, Failure> {
        let path = folder.join(file);
        let Some(bytes) = bytes(&path)? else {
            return Ok(None);
        };
        let text = SourceText::from_bytes(&path.display().to_string(), bytes);
        Ok(text.map_err(|problem| problems.push(problem)).ok())
    };
    let (line, load, budget) = (read("line.toml")?, read("load.toml")?, read("budget.toml")?);
    problems.into_result(())?;
    let line = line.ok_or_else(|| {
        let what = format!(
            "{} was there and is gone",
            folder.join("line.toml").display()
        );
        Problems::from(Problem::new(what, ""))
    })?;
    Ok(CaseFiles { line, load, budget })
}

/// A file's bytes, at most as many as a case's file may have and one; `None` if it is not there.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::io(
            format!("cannot read {}: {error}", path.display()),
            "check the file's kind, owner and mode",
        )
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(cannot)?,
    };
    let mut bytes = Vec::new();
    file.take(CONFIG_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    Ok(Some(bytes))
}

fn unknown(named: &str, folder: &Path) -> Failure {
    let names = || BUILT_IN.iter().map(|case| case.name);
    let built_in = format!("built in are {}", list(names()));
    if folder.is_dir() {
        let what = format!("the folder {named} has no line.toml");
        return Failure::usage(
            what,
            format!("a case is a folder with a line.toml; {built_in}"),
        );
    }
    if folder.is_file() {
        let what = format!("{named} is a file; a case is a folder");
        return Failure::usage(what, "name the folder that it lies in");
    }
    let help = match closest(named, names()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("name a folder with a line.toml; {built_in}"),
    };
    Failure::usage(format!("there is no case \"{named}\""), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_cases_are_read_and_say_where_they_come_from() {
        for (name, _) in built_in() {
            let case = read(name).unwrap();
            assert_eq!(case.name(), name);
            assert!(case.load().is_some());
        }
    }

    #[test]
    fn what_is_no_case_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "").unwrap();
        for (named, words) in [
            ("tick-to-trad", "did you mean tick-to-trade?"),
            (
                "nothing-like-it",
                "built in are tick-to-trade, market-ws, udp-echo, market-udp, diamond, overload, overload-iot, \
                 telemetry or overload-telemetry",
            ),
            (path, "has no line.toml"),
            (file.to_str().unwrap(), "is a file"),
        ] {
            let failure = read(named).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[test]
    fn a_limit_that_no_judged_run_can_tell_is_refused_there_and_only_there() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("line.toml", BUILT_IN[0].line);
        write("load.toml", BUILT_IN[0].load);
        let registry = hopline::adapter::register(Registry::new());
        let registry = hopline::stages::register(registry);
        let shape = Shape::of(folder.path().to_str().unwrap());
        for (budget, words) in [
            (
                "[slo]\njitter = \"4.3s\"",
                "jitter in [slo] of budget.toml is 4.3",
            ),
            ("[slo]\nipdv = \"1h\"", "ipdv in [slo]"),
            (
                "[hop.\"book->signal\"]\nmax = \"10s\"",
                "max in [hop.\"book->signal\"]",
            ),
        ] {
            write("budget.toml", budget);
            let failure = load_judged(&registry, &shape).err().unwrap();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.to_string().contains(words), "{failure}");
            if let Err(failure) = load(&registry, &shape, false) {
                panic!("{budget}: {failure}");
            }
        }
        write("budget.toml", "[slo]\np99 = \"4.2s\"");
        assert!(load_judged(&registry, &shape).is_ok());
    }
}
