//! The command `edge-load`: what it is told, what is wrong with that, and what it prints.
//!
//! Invariant: whatever is wrong with the command line, or with the limits of this process, is said before anything is opened.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hopline::base::limits::{EDGE_CHANNELS_MAX, EDGE_TOKEN_BYTES_MAX, STREAMS_MAX};
use hopline::base::primitive::Ordering;
use hopline::base::units::{Span, parse_span_ns};
use hopline::edge::ChannelName;
use hopline::host;
use hopline::io::{Driver, StreamSpec};
use hopline::wire::websocket::Url;

use super::plan::{Cut, Plan, Via};
use super::report::EdgeLoadReport;
use super::server::Watched;
use super::turns::{Course, Load};
use super::via::Door;
use super::world::World;
use crate::cli::parse_duration;
use crate::exit::{Exit, Failure};
use crate::load::parse_rate_flag;
use crate::view::text::{Paint, grouped};
use crate::{out, signals};

/// Files that this process has open beside its connections, with room for some more.
const OTHER_FILES: u64 = 64;

/// Most connections that are cut with one wish, and most wishes.
const CUTS_MAX: usize = 64;

/// The channel that is followed unless others are named.
const CHANNEL: &str = "dag/line";

pub(crate) const EDGE_LOAD_HELP: &str = "\
Examples:
  hopline edge-load http://127.0.0.1:26480/ --clients 1000 --via mix --for 30s
  hopline edge-load http://127.0.0.1:26480/ --clients 5000 --storm --cut 5000@20s --for 90s
  hopline edge-load http://127.0.0.1:26480/ --clients 1000 --slow 100 --flood 100 --server-pid 4711
  hopline edge-load http://127.0.0.1:26480/ --subscribe dag/line --subscribe alerts/line --json

Each client checks what it gets: offsets without holes but for those that it is told of, none twice, and the state's check sum. \
When each connects is fixed ahead, and spans count from then, so that a slow server cannot slow the load down and hide its worst \
figures. A client that is cut comes back as the page does: after 1, 2, 4, 8, 16, 30s and up to a third more, or when the \
server says, from the offset that it had.

All clients of one machine have one address: start the server with --edge-per-address, and for more than 1,000 connects a \
second expect that it sends some away for a while. Each client is an open file: `ulimit -n` bounds them.

Exit codes:
  0 good   3 an event was missing or doubled, a check sum wrong, or the server said what it may not
  64 usage   74 the server could not be reached, let nobody in, or was gone for as long as --give-up";

/// How clients are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViaArg {
    /// WebSockets, each of which follows all channels
    #[default]
    Ws,
    /// Server-sent events, a channel each
    Sse,
    /// Lines of JSON, a channel each
    Ndjson,
    /// Each of these in turn
    Mix,
}

#[derive(Debug, Args)]
pub(crate) struct EdgeLoadArgs {
    /// The edge, as `run --edge` prints it: http://127.0.0.1:26480/
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// How many clients there are
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=CLIENTS_MAX))]
    pub(crate) clients: u32,
    /// How they are connected
    #[arg(long, value_name = "HOW", default_value = "ws")]
    pub(crate) via: ViaArg,
    /// How many connect a second, such as 200 or 2k, whether or not those before have an answer
    #[arg(long, value_name = "RATE", default_value = "200", value_parser = parse_rate_flag)]
    pub(crate) connects: f64,
    /// All connect at once
    #[arg(long, conflicts_with = "connects")]
    pub(crate) storm: bool,
    /// End after that long from the first connect; a signal ends it sooner
    #[arg(long = "for", value_name = "SPAN", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Follow that channel; may be given several times. dag/line unless given
    #[arg(long = "subscribe", value_name = "CHANNEL", value_parser = parse_channel)]
    pub(crate) channels: Vec<ChannelName<'static>>,
    /// So many of the clients never read
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) slow: u32,
    /// So many of the clients send pings as fast as they are read
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) flood: u32,
    /// Cut so many connections at once, at that time from the first connect; may be given several times
    #[arg(long = "cut", value_name = "N@SPAN", value_parser = parse_cut)]
    pub(crate) cuts: Vec<Cut>,
    /// Each client on a WebSocket acknowledges so many events a second, with the time at which they came
    #[arg(long, value_name = "RATE", value_parser = parse_rate_flag)]
    pub(crate) rate_ack: Option<f64>,
    /// Show the token in that file
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// End when nobody has listened there for that long
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration)]
    pub(crate) give_up: Duration,
    /// Look at the memory and processor time of that process of this machine
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Seed of which connections are cut, and of how back-offs are spread
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Print one JSON report on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// Most clients: as many as a driver has connections.
const CLIENTS_MAX: i64 = STREAMS_MAX as i64;

fn parse_channel(text: &str) -> Result<ChannelName<'static>, String> {
    ChannelName::new(text.to_owned()).map_err(|fault| format!("{fault}, such as {CHANNEL}"))
}

fn parse_cut(text: &str) -> Result<Cut, String> {
    const EXPECTED: &str = "write how many and when, such as 500@20s";
    let (count, at) = text.split_once('@').ok_or(EXPECTED)?;
    let count = count.parse().ok().filter(|count| *count > 0);
    let at_ns = parse_span_ns(at).map_err(|error| format!("{error}; {EXPECTED}"))?;
    match count {
        Some(count) => Ok(Cut { count, at_ns }),
        None => Err(EXPECTED.to_owned()),
    }
}

/// Where the edge is: its address, and what the header `Host` says.
fn server(url: &str) -> Result<(SocketAddr, String), Failure> {
    const HELP: &str =
        "write the address that `hopline run --edge` prints, such as http://127.0.0.1:26480/";
    let lower = url.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("wss://") {
        let what = format!("\"{url}\" asks for TLS, which is not spoken here");
        return Err(Failure::usage(what, HELP));
    }
    // The library reads the URLs of WebSockets; those of the web differ in their first letters alone.
    let as_socket = match lower.starts_with("http://") {
        true => format!("ws{}", &url["http".len()..]),
        false => url.to_owned(),
    };
    let parsed = match as_socket.contains("://") {
        true => Url::parse(&as_socket),
        false => Url::parse(&format!("ws://{as_socket}")),
    };
    let parsed = parsed.map_err(|fault| Failure::usage(format!("\"{url}\": {fault}"), HELP))?;
    if parsed.target != "/" {
        let what = format!(
            "\"{url}\" has a path; which of them are asked for is said by --via and --subscribe"
        );
        return Err(Failure::usage(what, HELP));
    }
    let address = parsed.address().or_else(|| {
        let mut found = (parsed.host.as_str(), parsed.port).to_socket_addrs().ok()?;
        found.next()
    });
    match address {
        Some(address) => Ok((address, parsed.authority)),
        None => Err(Failure::io(
            format!("nobody knows the host \"{}\"", parsed.host),
            "write its address in numbers",
        )),
    }
}

fn token(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::io(format!("cannot read {}: {error}", file.display()), ""))?;
    let token = text.trim();
    let is_good = !token.is_empty() && token.len() <= EDGE_TOKEN_BYTES_MAX;
    if !is_good || token.chars().any(char::is_control) {
        let what = format!("{} holds no token", file.display());
        return Err(Failure::usage(
            what,
            "it is one line of text, of at most 4 KiB",
        ));
    }
    Ok(token.to_owned())
}

fn plan(args: &EdgeLoadArgs) -> Result<Plan, Failure> {
    let special = u64::from(args.slow) + u64::from(args.flood);
    if special > u64::from(args.clients) {
        return Err(Failure::usage(
            format!(
                "--slow {} and --flood {} are more than the {} clients that there are",
                args.slow, args.flood, args.clients
            ),
            "they are of the clients, not beside them: raise --clients",
        ));
    }
    let vias = match args.via {
        ViaArg::Ws => vec![Via::WebSocket],
        ViaArg::Sse => vec![Via::Sse],
        ViaArg::Ndjson => vec![Via::Ndjson],
        ViaArg::Mix => Via::ALL.to_vec(),
    };
    let mut channels = args.channels.clone();
    if channels.is_empty() {
        channels.extend(ChannelName::new(CHANNEL));
    }
    for (at, channel) in channels.iter().enumerate() {
        if channels[..at].contains(channel) {
            return Err(Failure::usage(
                format!("--subscribe {} is given twice", channel.as_str()),
                "a client follows a channel once",
            ));
        }
    }
    if channels.len() > EDGE_CHANNELS_MAX {
        return Err(Failure::usage(
            format!(
                "{} channels are more than a client may follow",
                channels.len()
            ),
            "at most 128",
        ));
    }
    if args.rate_ack.is_some() && matches!(args.via, ViaArg::Sse | ViaArg::Ndjson) {
        return Err(Failure::usage(
            "--rate-ack has no effect: streams say nothing to the server",
            "leave it out, or --via ws or mix",
        ));
    }
    Ok(Plan {
        clients: args.clients,
        vias,
        channels,
        slow: args.slow,
        flood: args.flood,
    })
}

fn course(args: &EdgeLoadArgs) -> Result<Course, Failure> {
    let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let span_ns = ns(args.duration);
    if args.cuts.len() > CUTS_MAX {
        let what = format!("--cut is given {} times", args.cuts.len());
        return Err(Failure::usage(what, "at most 64 times"));
    }
    if let Some(cut) = args.cuts.iter().find(|cut| cut.at_ns >= span_ns) {
        return Err(Failure::usage(
            format!(
                "--cut {}@{} comes after the end of the load",
                cut.count,
                Span(cut.at_ns)
            ),
            "it is at a time from the first connect: raise --for",
        ));
    }
    Ok(Course {
        connects_per_s: (!args.storm).then_some(args.connects),
        span_ns,
        cuts: args.cuts.clone(),
        give_up_ns: ns(args.give_up),
    })
}

/// Makes the load, until its end or a signal.
pub(crate) fn run(args: &EdgeLoadArgs) -> Result<Exit, Failure> {
    let (address, authority) = server(&args.url)?;
    let (plan, course) = (plan(args)?, course(args)?);
    let token = args.token.as_deref().map(token).transpose()?;
    let door = Door::new(&authority, token)
        .ok_or_else(|| Failure::usage(format!("no request can be made to \"{authority}\""), ""))?;
    let watched = match args.server_pid {
        None => None,
        Some(pid) => Some(Watched::new(pid).ok_or_else(|| {
            Failure::usage(
                format!("--server-pid {pid}: there is no such process here"),
                "`pgrep hopline` lists those of this program",
            )
        })?),
    };
    let wanted = u64::from(plan.clients) + OTHER_FILES;
    let files_max = host::allow_files(wanted);
    if files_max < wanted {
        return Err(Failure::usage(
            format!(
                "{} clients need {wanted} open files, and this process may have {files_max}",
                grouped(plan.clients.into())
            ),
            "raise the hard limit (`ulimit -Hn`, then `ulimit -n`), or lower --clients",
        ));
    }
    let signalled = signals::watch()?;
    let driver = Driver::real()?.with_streams_max(plan.clients as usize)?;
    let ack_every_ns = args.rate_ack.map(|rate| (1e9 / rate) as u64);
    let world = World::new(plan, ack_every_ns, args.seed);
    let spec = StreamSpec::at(address);
    let load = Load::new(driver, spec, door, course, world, watched);
    // Relaxed: the flag stands for itself.
    let stops = || signalled.load(Ordering::Relaxed);
    let (world, ending, watched) = load.run(stops, |live, after_ns| {
        out::say(format_args!(
            "edge-load: {} clients are live after {}",
            grouped(live.into()),
            Span(after_ns)
        ));
    })?;
    let server = watched.map(Watched::report);
    let report = EdgeLoadReport::new(&args.url, world, ending, files_max, server);
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the report cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
    } else {
        let lines = report.lines(out::columns(), Paint(out::has_colour()));
        out::print(&(lines.join("\n") + "\n"))?;
    }
    Ok(report.exit())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<EdgeLoadArgs, clap::Error> {
        let words = ["hopline", "edge-load"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Some(Command::EdgeLoad(args)) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn everything_on_a_line() {
        let args = parse(
            "http://127.0.0.1:1/ --clients 9000 --via mix --connects 2k --for 90s --subscribe dag/line \
             --subscribe samples/a->b --slow 9 --flood 8 --cut 500@20s --cut 1@1s --rate-ack 2 --give-up 5s --json",
        )
        .unwrap();
        let plan = super::plan(&args).unwrap();
        assert_eq!((plan.clients, plan.slow, plan.flood), (9_000, 9, 8));
        assert_eq!((plan.vias.len(), plan.channels.len()), (3, 2));
        let course = super::course(&args).unwrap();
        let cut = Cut {
            count: 500,
            at_ns: 20_000_000_000,
        };
        assert_eq!(course.cuts[0], cut);
        assert_eq!(course.connects_per_s, Some(2_000.0));
        let storm = parse("127.0.0.1:1 --storm").unwrap();
        assert_eq!(super::course(&storm).unwrap().connects_per_s, None);
        assert_eq!(super::plan(&storm).unwrap().channels[0].as_str(), CHANNEL);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_right() {
        for (line, words) in [
            ("http://a --clients 0", "1..=65536"),
            ("http://a --cut 500", "500@20s"),
            ("http://a --cut 0@20s", "500@20s"),
            ("http://a --cut 5@20", "500@20s"),
            ("http://a --subscribe dag", "name/group"),
            ("http://a --via udp", "ndjson"),
            ("http://a --storm --connects 5", "cannot be used with"),
            ("http://a --connects 0", "800"),
            ("http://a --for 10", "unit"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
        for (line, words) in [
            (
                "http://a --clients 9 --slow 5 --flood 5",
                "more than the 9 clients",
            ),
            ("http://a --subscribe a/b --subscribe a/b", "given twice"),
            ("http://a --via sse --rate-ack 1", "no effect"),
        ] {
            let failure = plan(&parse(line).unwrap()).unwrap_err();
            assert!(failure.what.contains(words), "{line}: {}", failure.what);
        }
        let late = parse("http://a --for 5s --cut 1@5s").unwrap();
        assert!(course(&late).unwrap_err().what.contains("after the end"));
    }

    #[test]
    fn a_url_is_that_of_the_server() {
        for (url, host) in [
            ("http://127.0.0.1:26480/", "127.0.0.1:26480"),
            ("HTTP://127.0.0.1:26480", "127.0.0.1:26480"),
            ("ws://[::1]:9/", "[::1]:9"),
            ("127.0.0.1:9", "127.0.0.1:9"),
        ] {
            let (address, authority) = server(url).unwrap();
            assert_eq!(authority, host);
            assert_eq!(address.to_string(), host);
        }
        for (url, words) in [
            ("https://127.0.0.1:9/", "TLS"),
            ("wss://127.0.0.1:9/", "TLS"),
            ("http://127.0.0.1:9/dag", "--subscribe"),
            ("http://", "host"),
            ("ftp://127.0.0.1/", "ws://"),
        ] {
            let failure = server(url).unwrap_err();
            assert!(failure.what.contains(words), "{url}: {}", failure.what);
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
