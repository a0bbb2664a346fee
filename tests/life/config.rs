//! What `line.toml` and the builder say of panics, and what is said of what is wrong with it.

use hopline::config::{Case, CaseFiles, Overrides, SourceText};
use hopline::io::{Driver, Virtual};
use hopline::stage::OnPanic;
use hopline::topology::{Inline, Line, Problems, Registry, Report};
use hopline::{adapter, stages};

use crate::numbers::Counting;
use crate::{MS, Wrong, good, is_about, odd, stage};

const NODES: &str = r#"[[source]]
name = "btc"
kind = "synthetic"
decode = "binance"
symbol = "BTCUSDT"
rate = "20k/s"
count = 2000

[[stage]]
name = "book"
kind = "book"
symbols = ["BTCUSDT"]

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"

[[hop]]
from = "book"
to = "fault"

[[hop]]
from = "fault"
to = "end"

[[stage]]
name = "fault"
kind = "fault"
"#;

fn built(text: &str) -> Result<Line, Problems> {
    let registry = stages::register(adapter::register(Registry::new()));
    let files = CaseFiles {
        line: SourceText::new("line.toml", text),
        load: None,
        budget: None,
    };
    let case = Case::parse("case", files)?;
    case.draft(&registry, &Overrides::default())?.check()
}

fn ran(more: &str) -> Report {
    let line = built(&format!("{NODES}{more}")).unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline::new(Driver::from(Virtual::new()));
    line.run_inline(inline, None).expect("it runs").0
}

#[test]
fn a_kind_of_the_registry_is_made_anew_with_its_settings() {
    // Each instance counts its own frames, so each panics at its hundredth.
    let more = "panic_at = 100\non_panic = \"restart\"\npanics_max = 1000\nrestart_after = \"1ms\"\n\
                restart_after_max = \"1ms\"\n";
    let report = ran(more);
    good(&report);
    let fault = stage(&report, "fault");
    assert!(fault.restarts > 3, "{}", fault.restarts);
    assert_eq!(fault.restarts, fault.consumed / 100);
    assert_eq!(fault.rejected["panicked"], fault.restarts);
    is_about(fault.away_ns, fault.restarts * MS);
    assert!(
        report
            .quarantine
            .iter()
            .all(|one| one.words == "planted at frame 100")
    );
    // One that goes on never comes to its hundredth again.
    let report = ran("panic_at = 100\non_panic = \"skip\"\n");
    good(&report);
    assert_eq!(stage(&report, "fault").rejected["panicked"], 1);
    let report = ran("panic_at = 100\non_panic = \"stop\"\n");
    assert_eq!(stage(&report, "fault").state, "failed");
    let report = ran("panic_at = 10\non_panic = \"restart\"\npanics_max = 2\n");
    assert_eq!(
        (
            stage(&report, "fault").panics,
            stage(&report, "fault").state
        ),
        (3, "failed")
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    // Lines are counted from the end of the nodes.
    let first = NODES.lines().count() + 1;
    let said = |more: &str| built(&format!("{NODES}{more}")).unwrap_err().to_string();
    let at = |line: usize| format!("line.toml:{}:1: ", first + line);
    for (more, line, words) in [
        (
            "on_panic = \"skp\"",
            0,
            "does not know the word \"skp\"\n  help: did you mean \"skip\"?",
        ),
        (
            "on_panic = 3",
            0,
            "\"on_panic\" is a whole number\n  help: write \"stop\", \"skip\" or \"restart\"",
        ),
        (
            "on_panik = \"skip\"",
            0,
            "unknown key \"on_panik\"\n  help: did you mean \"on_panic\"?",
        ),
        (
            "on_panic = \"skip\"\npanics_max = 0",
            1,
            "\"panics_max\" = 0 is out of bounds",
        ),
        (
            "on_panic = \"skip\"\npanics_within = \"2h\"",
            1,
            "a window of 7200s is out of bounds",
        ),
        (
            "on_panic = \"skip\"\nrestart_after = \"1ms\"",
            1,
            "\"restart_after\" has no effect where on_panic = \"skip\"\n  help: write on_panic = \"restart\"",
        ),
        (
            "panics_max = 3",
            0,
            "\"panics_max\" has no effect where on_panic = \"stop\"",
        ),
        (
            "on_panic = \"restart\"\nrestart_after = \"1us\"",
            1,
            "a back-off of 1.00us is out of bounds",
        ),
        (
            "on_panic = \"restart\"\nrestart_after = \"2s\"\nrestart_after_max = \"1s\"",
            2,
            "a longest back-off of 1.00s is out of bounds\n  help: write a span from 2.00s to 60.0s",
        ),
        (
            "on_panic = \"restart\"\npanics_within = \"1min\"\nrestart_after = \"1min\"",
            1,
            "the back-offs after 5 panics take 300s, so no window of 60.0s has one more",
        ),
    ] {
        let said = said(more);
        assert!(
            said.starts_with(&at(line)) && said.contains(words),
            "{more}: {said}"
        );
    }
    for role in ["source", "sink"] {
        let nodes = NODES.replacen(
            &format!("[[{role}]]"),
            &format!("[[{role}]]\non_panic = \"restart\""),
            1,
        );
        let said = built(&nodes).unwrap_err().to_string();
        let words = format!("a {role} that panics stops the line: it has no other \"on_panic\"");
        assert!(said.contains(&words), "{said}");
        assert!(built(&nodes.replacen("restart", "stop", 1)).is_ok());
    }
}

#[test]
fn the_builder_takes_policies_for_stages_alone_and_within_their_bounds() {
    let said = |stage: &str, policy| {
        let (mut line, _) = odd(Counting::new(1, 0), Wrong::Nothing, OnPanic::Stop);
        line.on_panic(stage, policy);
        line.build()
            .map(|_| ())
            .map_err(|problems| problems.to_string())
    };
    assert_eq!(said("odd", OnPanic::RESTART), Ok(()));
    assert_eq!(said("out", OnPanic::Stop), Ok(()));
    let sink = said("out", OnPanic::SKIP).unwrap_err();
    assert!(
        sink.contains("\"out\" is a sink, and a sink that panics stops the line"),
        "{sink}"
    );
    assert!(
        said("odf", OnPanic::SKIP)
            .unwrap_err()
            .contains("did you mean \"odd\"?")
    );
    let endless = OnPanic::Restart {
        most: 1,
        within_ns: MS,
        after_ns: 10 * MS,
        after_max_ns: 10 * MS,
    };
    let endless = said("odd", endless).unwrap_err();
    assert!(
        endless.contains("so no window of 1.00ms has one more, and nothing ends the restarts"),
        "{endless}"
    );
    let none = OnPanic::Skip {
        most: 0,
        within_ns: MS,
    };
    assert!(
        said("odd", none)
            .unwrap_err()
            .contains("a limit of 0 panics is out of bounds")
    );
}
