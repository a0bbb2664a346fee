//! The floors and walls of the house, as a test: who may import whom, which outside names live where,
//! where unsafe code may stand. The checker itself is tested on planted faults below.
//!
//! To add a room, add a row to `FLOORS`; to fence an unsafe file, a row to `FENCE` and one to `docs/SAFETY.md`.

#[path = "house/lexer.rs"]
mod lexer;
#[path = "house/tree.rs"]
mod tree;
#[path = "house/walls.rs"]
mod walls;

/// Room and floor. A room uses rooms on lower floors only, never a neighbour.
const FLOORS: &[(&str, u32)] = &[
    ("base", 0),
    ("clock", 1),
    ("ring", 1),
    ("frame", 1),
    ("hist", 1),
    ("wait", 1),
    ("overload", 2),
    ("budget", 2),
    ("feed", 2),
    ("wire", 2),
    ("host", 2),
    ("control", 2),
    ("io", 2),
    ("stage", 3),
    ("reactor", 4),
    ("topology", 5),
    ("adapter", 6),
    ("stages", 6),
    ("edge", 6),
    ("dashboard", 7),
    ("bridge", 7),
    ("metrics", 7),
    ("config", 8),
];

/// Files that may allow `unsafe_code`; each has a row in the ledger. A row may wait for its file,
/// but a file that no longer needs its row is reported.
const FENCE: &[&str] = &[
    "benches/peers/src/rivals.rs",
    "src/clock/tsc.rs",
    "src/hist/swap.rs",
    "src/host/memory.rs",
    "src/host/thread.rs",
    "src/io/device.rs",
    "src/io/mmsg.rs",
    "src/io/sys.rs",
    "src/ring/arena.rs",
    "src/ring/blob.rs",
    "src/ring/bulk.rs",
    "src/ring/many.rs",
    "src/ring/mpsc.rs",
    "src/ring/multicast.rs",
    "src/ring/multicast/barrier.rs",
    "src/ring/prefetch.rs",
    "src/ring/spsc.rs",
    "src/ring/stamped.rs",
    "src/ring/stamped/consumer.rs",
    "src/ring/stamped/producer.rs",
    "tests/common/counting.rs",
];

/// The ledger of unsafe code.
const LEDGER: &str = "docs/SAFETY.md";

/// Macros that stand at the crate root, because `#[macro_export]` puts them there or because users
/// write them so; all else is named through its room.
const ROOT_MACROS: &[&str] = &["frame_part", "frame_set", "reasons"];

/// Macros that the library does not use: it returns what it has to say.
const NO_MACROS: &[&str] = &[
    "print",
    "println",
    "eprint",
    "eprintln",
    "dbg",
    "todo",
    "unimplemented",
];

/// Outside names and the rooms or files that may speak of them, with what to do instead.
/// `a::b` is a path's beginning, `*::a::b` may stand anywhere in it.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    // The parts that one room wraps for all.
    ("core_affinity", &["host"], "host pins"),
    (
        "crossbeam_queue",
        &["control"],
        "control has the queues that are not hops",
    ),
    ("crc32fast", &["frame"], "frame has the captures' blocks"),
    (
        "data_encoding",
        &["wire"],
        "wire knows the handshake that needs it",
    ),
    ("etherparse", &["feed"], "feed reads packets"),
    ("flate2", &["io"], "io reads compressed files"),
    ("foldhash", &["feed"], "feed hashes the keys of metrics"),
    ("hdrhistogram", &["hist"], "hist counts"),
    ("httparse", &["wire"], "wire reads HTTP"),
    ("libc", &["host", "io"], "io is the door to the system"),
    ("mio", &["io"], "io is the door to the system"),
    ("quanta", &["clock"], "time comes from clock"),
    ("rkyv", &["frame"], "frame encodes and checks"),
    (
        "rustix",
        &["clock", "host", "io"],
        "io is the door to the system",
    ),
    (
        "serde_json",
        &[
            "metrics/otlp.rs",
            "edge/lanes/tests.rs",
            "edge/message.rs",
            "feed/scanner.rs",
            "stages/format/lines.rs",
            "stages/format/text.rs",
        ],
        "reports are serialised by whoever prints them; the edge writes by edge::json",
    ),
    ("socket2", &["io"], "io is the door to the system"),
    ("toml", &["config"], "config reads TOML"),
    ("zerocopy", &["frame", "feed"], "frame has the header"),
    ("xxhash_rust", &["frame"], "frame has the content hash"),
    ("getrandom", &["wire"], "wire masks what a client sends"),
    ("sha1", &["wire"], "wire has the WebSocket"),
    (
        "hopline_macros",
        &["frame", "lib.rs"],
        "it is hopline::frame",
    ),
    // The operating system.
    (
        "std::fs",
        &["io", "host"],
        "files are io's; host reads /sys and /proc",
    ),
    (
        "std::net",
        &["io"],
        "sockets are io's; address types are fine, by name",
    ),
    ("std::os", &["io", "host"], "io is the door to the system"),
    ("*::process::exit", &[], "the library returns"),
    ("*::process::abort", &[], "the library returns"),
    ("*::sleep", &[], "a loop rests only in its driver's poll"),
    (
        "*::thread::park",
        &[],
        "a loop rests only in its driver's poll",
    ),
    (
        "*::thread::park_timeout",
        &[],
        "a loop rests only in its driver's poll",
    ),
    // Time.
    ("*::Instant", &["clock"], "time comes from clock"),
    ("*::SystemTime", &["clock"], "time comes from clock"),
    ("*::_rdtsc", &["clock"], "time comes from clock"),
    ("*::__rdtscp", &["clock"], "time comes from clock"),
    // What threads share.
    (
        "std::sync::atomic",
        &["base/primitive.rs", "base/primitive/modelled.rs"],
        "use crate::base::primitive",
    ),
    (
        "loom",
        &["base/primitive.rs", "base/primitive/modelled.rs"],
        "use crate::base::primitive",
    ),
    (
        "shuttle",
        &["base/primitive.rs", "base/primitive/modelled.rs"],
        "use crate::base::primitive",
    ),
    (
        "*::UnsafeCell",
        &["base/primitive.rs", "base/primitive/modelled.rs"],
        "use crate::base::primitive",
    ),
    (
        "*::hint::spin_loop",
        &["base/primitive.rs"],
        "use crate::base::primitive",
    ),
    (
        "std::sync::mpsc::channel",
        &[],
        "unbounded; every queue here has a depth",
    ),
    (
        "std::sync::mpsc::Sender",
        &[],
        "unbounded; every queue here has a depth",
    ),
    (
        "*::Mutex",
        &[
            "topology",
            "edge",
            "dashboard",
            "bridge",
            "io/shared.rs",
            "io/shared_stream.rs",
            "io/virtual_net.rs",
        ],
        "no lock on a hot path",
    ),
    (
        "*::Condvar",
        &["topology", "edge", "dashboard", "bridge"],
        "no lock on a hot path",
    ),
    ("*::RwLock", &[], "control cells are swapped by epoch"),
];

/// What of `std::net` is data and no socket.
const ADDRESS_TYPES: &[&str] = &[
    "AddrParseError",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];

#[test]
fn floors_hold() {
    let found = walls::breaches(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A project without a breach, with a fenced file; faults are planted on top of it.
const SOUND: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "//! The library.\nextern crate self as hopline;\npub mod base;\npub mod clock;\npub mod ring;\n\
         pub mod io;\npub mod stage;\npub mod topology;\npub use hopline_macros::frame;\n",
    ),
    ("src/base/mod.rs", "pub mod units;\n"),
    ("src/base/units.rs", "pub struct Span(pub u64);\n"),
    (
        "src/base/primitive.rs",
        "pub type AtomicBool = std::sync::atomic::AtomicBool;\n",
    ),
    (
        "src/clock/tsc.rs",
        "#![allow(unsafe_code, reason = \"rdtsc\")]\npub fn stamp() -> u64 {\n    \
         // SAFETY: every x86-64 has it.\n    let now =\n        unsafe { core::arch::x86_64::_rdtsc() };\n    now\n}\n",
    ),
    (
        "src/ring/mod.rs",
        "use crate::base::units::Span;\nuse crate::reasons;\n",
    ),
    (
        "src/io/mod.rs",
        "use mio::{Poll, net::UdpSocket};\nuse std::{fs, net::TcpStream};\n",
    ),
    (
        "src/stage/mod.rs",
        "use crate::{base::units::{self, Span}, clock, ring::mpsc};\nuse std::net::{IpAddr, SocketAddr};\n\
         #[hopline::frame(schema = 1)]\nstruct Quote<'a>(&'a u8, hopline::ring::Depth);\n\
         mod tests { use super::Quote; }\n",
    ),
    ("src/topology/mod.rs", "use std::sync::{Arc, Mutex};\n"),
    (
        "docs/SAFETY.md",
        "| file | fact | proof |\n|---|---|---|\n\
         | `src/clock/tsc.rs` | rdtsc is there | `tests/clock_tsc.rs`, `tests/clock_tsc.rs::rises` |\n",
    ),
    ("tests/clock_tsc.rs", "#[test]\nfn rises() {}\n"),
];

/// The breaches of the sound project with `files` added or put in place of its own.
fn breaches_with(files: &[(&str, &str)]) -> Vec<String> {
    let mut all = SOUND.to_vec();
    all.extend_from_slice(files);
    walls::breaches(tree::plant(&all).path())
}

/// Plants each text as a file and expects exactly one breach, which says all the words.
fn each_is_named(faults: &[(&str, &str, &[&str])]) {
    for (file, text, words) in faults {
        let found = breaches_with(&[(file, text)]);
        let named = found.len() == 1 && words.iter().all(|word| found[0].contains(word));
        assert!(
            named,
            "{file}: {text}\nwanted: {words:?}\nfound: {found:#?}"
        );
    }
}

#[test]
fn a_sound_project_has_no_breach() {
    assert_eq!(breaches_with(&[]), Vec::<String>::new());
}

#[test]
fn words_in_comments_and_texts_are_no_breach() {
    let text = r###"
        //! crate::topology, println!("x") and unsafe { } are words here.
        /* std::fs /* mio::Poll */ Mutex */
        const A: &str = "use crate::topology; // unsafe";
        const B: &str = r#"std::fs::read("x") " crate::edge"#;
        const C: (char, char, u8) = ('"', '\'', b'"');
        fn ring<'a>(toml: &'a str) -> &'a str { toml.trim() } // Instant::now
        fn different(println: u8) -> bool { println != 3 }
    "###;
    assert_eq!(
        breaches_with(&[("src/ring/words.rs", text)]),
        Vec::<String>::new()
    );
}

#[test]
fn imports_up_and_sideways_are_named() {
    let up: &[&str] = &[
        "src/ring/x.rs:2:",
        "ring (floor 1) imports topology (floor 5)",
    ];
    let sideways: &[&str] = &["src/ring/x.rs:2:", "ring (floor 1) imports clock (floor 1)"];
    each_is_named(&[
        ("src/ring/x.rs", "\nuse crate::topology::Line;", up),
        ("src/ring/x.rs", "\nfn f() { crate::topology::run() }", up),
        ("src/ring/x.rs", "\nuse crate::{base::units, topology};", up),
        (
            "src/ring/x.rs",
            "\nuse crate::{base::{units, Span}, topology::{Line}};",
            up,
        ),
        ("src/ring/x.rs", "\nuse hopline::topology::Line;", up),
        (
            "src/ring/x.rs",
            "\nfn f(_: ::hopline::topology::Line) {}",
            up,
        ),
        (
            "src/ring/x.rs",
            "\nimpl ::hopline::topology::Named for X {}",
            up,
        ),
        (
            "src/ring/x.rs",
            "\nmacro_rules! m { () => { $crate::topology::f() } }",
            up,
        ),
        ("src/ring/x.rs", "\nuse crate :: r#topology;", up),
        ("src/ring/x.rs", "\nuse crate::clock::stamp;", sideways),
        ("src/ring/x.rs", "\nuse crate::{clock};", sideways),
        (
            "src/ring/x.rs",
            "\nmod tests { use crate::clock::stamp; }",
            sideways,
        ),
    ]);
}

#[test]
fn ways_round_the_room_are_named() {
    each_is_named(&[
        (
            "src/stage/x.rs",
            "use crate::Stage;",
            &["crate::Stage", "name its room"],
        ),
        (
            "src/stage/x.rs",
            "use hopline::{Stage};",
            &["hopline::Stage", "name its room"],
        ),
        (
            "src/stage/x.rs",
            "use crate::*;",
            &["crate::*", "name its room"],
        ),
        (
            "src/stage/x.rs",
            "use crate::{self};",
            &["crate::self", "name its room"],
        ),
        ("src/stage/x.rs", "use crate as house;", &["hides the room"]),
        (
            "src/stage/x.rs",
            "use hopline as house;",
            &["hides the room"],
        ),
        (
            "src/stage/x.rs",
            "extern crate self as house;",
            &["hides the room"],
        ),
        (
            "src/stage/x.rs",
            "use super::super::topology;",
            &["write crate::"],
        ),
        (
            "src/stage/mod.rs",
            "use super::topology;",
            &["write crate::"],
        ),
        (
            "src/stage/mod.rs",
            "mod a { use super::b; }\nuse super::c;",
            &["mod.rs:2:", "write crate::"],
        ),
        (
            "src/stage/x.rs",
            "#[path = \"../topology/mod.rs\"]\nmod t;",
            &["where its name says"],
        ),
        (
            "src/stage/x.rs",
            "include!(\"../topology/mod.rs\");",
            &["write a module"],
        ),
    ]);
}

#[test]
fn files_without_a_place_are_named() {
    each_is_named(&[
        ("src/stray.rs", "", &["src/stray.rs", "no room"]),
        ("src/attic/mod.rs", "", &["src/attic", "no row in FLOORS"]),
        (
            "src/wait/mod.rs",
            "",
            &["src/wait", "lib.rs does not open it"],
        ),
    ]);
    let lib = format!("{}\nfn helper() {{}}\n", SOUND[0].1);
    each_is_named(&[(
        "src/lib.rs",
        &lib,
        &["src/lib.rs:11:", "`fn` belongs in one"],
    )]);
}

#[test]
fn outside_names_in_the_wrong_room_are_named() {
    each_is_named(&[
        (
            "src/stage/x.rs",
            "use mio::Poll;",
            &["src/stage/x.rs:1:", "mio::Poll"],
        ),
        ("src/stage/x.rs", "use mio;", &["mio"]),
        (
            "src/stage/x.rs",
            "fn f(_: ::mio::Token) {}",
            &["mio::Token"],
        ),
        ("src/stage/x.rs", "#[rkyv(crate = x)] struct S;", &["rkyv"]),
        (
            "src/stage/x.rs",
            "use hopline_macros::frame;",
            &["hopline::frame"],
        ),
        (
            "src/stage/x.rs",
            "use std::{net::UdpSocket};",
            &["std::net::UdpSocket"],
        ),
        (
            "src/stage/x.rs",
            "use std::net::{self};",
            &["std::net::self"],
        ),
        (
            "src/stage/x.rs",
            "fn f() { std::fs::read(p); }",
            &["std::fs::read"],
        ),
        (
            "src/stage/x.rs",
            "use core::sync::atomic::AtomicBool;",
            &["AtomicBool", "primitive"],
        ),
        (
            "src/base/x.rs",
            "use std::sync::atomic::AtomicBool;",
            &["AtomicBool", "primitive"],
        ),
        (
            "src/stage/x.rs",
            "use std::{sync::{Arc, Mutex}};",
            &["std::sync::Mutex"],
        ),
        (
            "src/topology/x.rs",
            "use std::sync::RwLock;",
            &["std::sync::RwLock"],
        ),
        (
            "src/stage/x.rs",
            "fn f() { std::time::Instant::now(); }",
            &["Instant::now", "clock"],
        ),
        (
            "src/stage/x.rs",
            "use std::time::SystemTime as T;",
            &["SystemTime", "clock"],
        ),
        (
            "src/io/x.rs",
            "fn f() { std::thread ::sleep(d); }",
            &["sleep is not for here", "poll"],
        ),
        (
            "src/ring/x.rs",
            "fn f() { std::hint::spin_loop(); }",
            &["spin_loop", "primitive"],
        ),
        ("src/stage/x.rs", "fn f() { println!(); }", &["println!"]),
        ("src/stage/x.rs", "fn f() { dbg!(1); }", &["dbg!"]),
        ("src/stage/x.rs", "static mut A: u8 = 0;", &["static mut"]),
    ]);
}

#[test]
fn unsafe_out_of_its_fence_or_without_a_fact_is_named() {
    let tsc = "src/clock/tsc.rs";
    let no_fact: &[&str] = &["src/clock/tsc.rs:3:", "SAFETY"];
    each_is_named(&[
        (
            "src/stage/x.rs",
            "#![allow(clippy::x, unsafe_code, reason = \"r\")]",
            &["x.rs:1:", "fence"],
        ),
        (
            "harness/src/x.rs",
            "#[expect(unsafe_code)]",
            &["harness/src/x.rs:1:", "fence"],
        ),
        (
            "src/stage/x.rs",
            "fn f() { unsafe { g() } }",
            &["x.rs:1:", "outside the fence"],
        ),
        (tsc, "fn f() {\n\n    unsafe { g() }\n}", no_fact),
        (
            tsc,
            "// SAFETY: of another statement.\ng();\nunsafe { g() }",
            no_fact,
        ),
        (tsc, "\n\nunsafe impl Send for X {}", no_fact),
        (tsc, "/// Reads.\n#[inline]\nunsafe fn f() {}", no_fact),
        (tsc, "type F = unsafe fn();", &["has no unsafe"]),
    ]);
    let sound = "/// # Safety\n/// Once.\n#[inline]\nunsafe fn f() {}\n// SAFETY: no pointer in it.\nunsafe impl Send for X {}";
    assert_eq!(breaches_with(&[(tsc, sound)]), Vec::<String>::new());
    let promised = "impl<T> Content for Item<T> {\n    unsafe fn discard(&mut self) {}\n}";
    assert_eq!(breaches_with(&[(tsc, promised)]), Vec::<String>::new());
    let own = promised.replace("Content for ", "");
    each_is_named(&[(tsc, &own, &["src/clock/tsc.rs:2:", "SAFETY"])]);
}

#[test]
fn a_ledger_that_is_not_true_is_named() {
    let row = |row: &str| format!("{}{row}\n", SOUND[9].1);
    let head = "| file | fact | proof |\n|---|---|---|\n";
    let tsc = "src/clock/tsc.rs";
    each_is_named(&[
        (LEDGER, head, &[tsc, "no row"]),
        (
            LEDGER,
            &row("| `src/io/mod.rs` | f | `tests/clock_tsc.rs` |"),
            &["SAFETY.md:4:", "no fenced file"],
        ),
        (
            LEDGER,
            &row("| `src/ring/spsc.rs` | f | `tests/clock_tsc.rs` |"),
            &["SAFETY.md:4:", "no fenced file"],
        ),
        (
            LEDGER,
            &row(&format!("| `{tsc}` | f | by thought |")),
            &["SAFETY.md:4:", "proof in backticks"],
        ),
        (
            LEDGER,
            &row(&format!("| `{tsc}` | f | `tests/none.rs` |")),
            &["no such proof: tests/none.rs"],
        ),
        (
            LEDGER,
            &row(&format!("| `{tsc}` | f | `tests/clock_tsc.rs::falls` |")),
            &["no such proof", "falls"],
        ),
    ]);
}
