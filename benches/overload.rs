//! The overloaded market line under each policy: what it admits, how long that takes, and when it is itself again.
//!
//! ```text
//! cargo bench --bench overload                                  # all of it, some ten minutes
//! cargo bench --bench overload -- --out FOLDER                  # and tables, JSON lines and plots into a folder
//! cargo bench --bench overload -- --policy deadline --load 10   # only these; both may be given again
//! cargo bench --bench overload -- --whole-surges                # surges of 5 s each 20 s, and not of 0.5 s each 2 s
//! cargo bench --bench overload -- --quick                       # to see that it runs
//! ```
//!
//! docs/BENCHMARKING.md says how the figures are taken. Both cores have to be free.
//!
//! Invariant: a policy is a name with settings for the hop's table, and one more is one row more.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hopline::base::units::Span;
use hopline::feed::Arrivals;
use hopline::feed::shape::{BURST_DEFAULT, INTENSITY_DEFAULT};
use hopline::topology::Registry;
use hopline::{adapter, stages};
use hopline_harness::overload::figures::passages;
use hopline_harness::overload::line::{CONTROL_HOP, HOP, IOT_HOPS};
use hopline_harness::overload::plot::{Curve, Plot, Scale};
use hopline_harness::overload::table::{self, Fall, Row};
use hopline_harness::overload::{
    BUDGET_NS, Bench, Course, Figures, GOODPUT, Load, Policy, Ran, Window,
};

/// What can stand in the hop's table, with those that are only shown beside first.
const POLICIES: [Policy; 10] = [
    Policy {
        name: "block",
        settings: "when_full = \"block\"",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "reject",
        settings: "when_full = \"reject\"",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "drop_newest",
        settings: "when_full = \"drop_newest\"",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "drop_oldest",
        settings: "when_full = \"drop_oldest\"",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "conflate",
        settings: "when_full = \"conflate\"\ndepth = 16",
        is_judged: false,
        is_for_any: false,
    },
    Policy {
        name: "sample",
        settings: "when_full = \"drop_newest\"\ndepth = 64\nsample = 10\nsample_above = 25",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "rate",
        settings: "when_full = \"drop_newest\"\nrate = \"70k/s\"\nburst = 16",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "degrade",
        settings: "when_full = \"drop_newest\"\ndegrade_high = \"200us\"\ndegrade_low = \"100us\"\ndeadline = \"450us\"",
        is_judged: false,
        is_for_any: true,
    },
    Policy {
        name: "deadline",
        settings: "when_full = \"drop_newest\"\ndeadline = \"450us\"",
        is_judged: true,
        is_for_any: true,
    },
    Policy {
        name: "codel",
        settings: "when_full = \"drop_newest\"\ncodel = \"200us\"\ncodel_interval = \"450us\"",
        is_judged: true,
        is_for_any: true,
    },
];

/// Loads that are judged, in capacities.
const OVERLOADS: [f64; 3] = [2.0, 5.0, 10.0];

/// Loads that only the plots show.
const UNDERLOADS: [f64; 3] = [0.5, 0.8, 1.0];

/// From where the load falls, and to where, in capacities.
const FALL: (f64, f64) = (10.0, 0.8);

const SEED: u64 = 42;

/// What the surges are, in capacities: as the case's files have them.
const SURGE: f64 = 10.0;
const BETWEEN_SURGES: f64 = 0.5;

/// Runs of which the best is the capacity: what the host takes away is not the line's.
const CAPACITY_RUNS: usize = 3;

/// A guess at the capacity, in messages a second, to saturate the line with: ten times what it can be.
const SATURATING_PER_S: f64 = 900_000.0;

/// How long things take, in nanoseconds.
struct Times {
    warmup_ns: u64,
    measured_ns: u64,
    gaps: Duration,
    /// By what the times of the surges are divided, unless they are asked for whole.
    surges_by: u64,
}

const FULL: Times = Times {
    warmup_ns: 200_000_000,
    measured_ns: 3_000_000_000,
    gaps: Duration::from_secs(2),
    surges_by: 10,
};

const QUICK: Times = Times {
    warmup_ns: 20_000_000,
    measured_ns: 150_000_000,
    gaps: Duration::from_millis(50),
    surges_by: 100,
};

/// What the command line asked for.
struct Asked {
    times: &'static Times,
    policies: Vec<Policy>,
    overloads: Vec<f64>,
    surges_by: u64,
    out: Option<PathBuf>,
}

fn asked(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut times, mut policies, mut overloads, mut out) = (&QUICK, Vec::new(), Vec::new(), None);
    let (mut is_quick, mut whole_surges) = (false, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} has no value"));
        match word.as_str() {
            // Cargo says it; without it this is `cargo test --benches`, and once around is enough.
            "--bench" => times = &FULL,
            "--quick" => is_quick = true,
            "--whole-surges" => whole_surges = true,
            "--out" => out = Some(PathBuf::from(value()?)),
            "--policy" => {
                let name = value()?;
                let known = POLICIES.iter().find(|policy| policy.name == name);
                policies.push(*known.ok_or(format!("there is no policy \"{name}\""))?);
            }
            "--load" => {
                let load = value()?;
                let number = load
                    .parse()
                    .ok()
                    .filter(|number| (1.0..=20.0).contains(number));
                overloads.push(number.ok_or(format!("--load {load} is no number from 1 to 20"))?);
            }
            _ => {
                return Err(format!(
                    "there is no flag {word}: --quick, --out, --policy, --load, --whole-surges"
                ));
            }
        }
    }
    if is_quick {
        times = &QUICK;
    }
    if policies.is_empty() {
        policies.extend(POLICIES);
    }
    if overloads.is_empty() {
        overloads.extend(OVERLOADS);
    }
    Ok(Asked {
        times,
        policies,
        overloads,
        surges_by: if whole_surges { 1 } else { times.surges_by },
        out,
    })
}

/// What was found, in the order in which it was.
#[derive(Default)]
struct Found {
    text: String,
    json: Vec<String>,
    rows: Vec<Row>,
    falls: Vec<Fall>,
}

impl Found {
    fn say(&mut self, words: &str) {
        println!("{words}");
        self.text += words;
        self.text.push('\n');
    }
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(what) => {
            eprintln!("error: {what}");
            return ExitCode::from(64);
        }
    };
    match measure(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(asked: &Asked) -> Result<(), Box<dyn Error>> {
    let registry = stages::register(adapter::register(Registry::new()));
    let bench = Bench::new(registry, asked.times.warmup_ns)?;
    let mut found = Found::default();
    let capacity_per_s = capacity(&bench, asked, &mut found)?;
    host(&bench, asked, &mut found)?;
    let mut loads: Vec<(f64, &str, Arrivals)> = Vec::new();
    let bursty = Arrivals::Bursty {
        burst: BURST_DEFAULT,
        intensity: INTENSITY_DEFAULT,
    };
    loads.extend(UNDERLOADS.map(|load| (load, "poisson", Arrivals::Poisson)));
    for load in &asked.overloads {
        loads.extend([
            (*load, "poisson", Arrivals::Poisson),
            (*load, "bursty", bursty),
        ]);
    }
    for (load, name, arrivals) in loads {
        rows(
            &bench,
            asked,
            capacity_per_s,
            (load, name, arrivals),
            &mut found,
        )?;
    }
    falls(&bench, asked, capacity_per_s, &mut found)?;
    surges(&bench, asked, &mut found)?;
    host(&bench, asked, &mut found)?;
    let tables = [
        table::rows(&found.rows),
        table::falls(&found.falls),
        table::bars(),
    ];
    found.say(&format!("\n{}", tables.join("\n")));
    if let Some(folder) = &asked.out {
        write(folder, &found, capacity_per_s)?;
    }
    Ok(())
}

/// What the line does with as much as it likes.
fn capacity(bench: &Bench, asked: &Asked, found: &mut Found) -> Result<f64, Box<dyn Error>> {
    let block = POLICIES[0];
    let load = Load {
        rate_per_s: SATURATING_PER_S,
        arrivals: Arrivals::Constant,
        seed: SEED,
    };
    let mut capacity_per_s = 0.0_f64;
    for _ in 0..CAPACITY_RUNS {
        let ran = bench.run(&block, &load, asked.times.measured_ns)?;
        capacity_per_s = capacity_per_s.max(Figures::of(&ran, &[HOP], 1.0).delivered_per_s);
    }
    if capacity_per_s < 1_000.0 {
        return Err(format!(
            "the line did {capacity_per_s:.0} messages a second: the machine is not free"
        )
        .into());
    }
    found.say(&format!(
        "capacity: {capacity_per_s:.0} messages a second, saturated under block"
    ));
    found.json.push(format!(
        "{{\"kind\":\"capacity\",\"per_s\":{capacity_per_s:.1}}}"
    ));
    Ok(capacity_per_s)
}

/// What the host does to loops that only spin.
fn host(bench: &Bench, asked: &Asked, found: &mut Found) -> Result<(), Box<dyn Error>> {
    for gaps in bench.gaps(asked.times.gaps)? {
        found.say(&format!(
            "host: core {} lost {:.2} % to gaps of more than 1us, {:.0} of them over 100us a second, the longest {}",
            gaps.core,
            gaps.lost_percent,
            gaps.over_100us_per_s,
            Span(gaps.worst_ns)
        ));
        found.json.push(table::json("host", &gaps)?);
    }
    Ok(())
}

/// A load under each policy, between two control runs of the same.
fn rows(
    bench: &Bench,
    asked: &Asked,
    capacity_per_s: f64,
    (factor, name, arrivals): (f64, &str, Arrivals),
    found: &mut Found,
) -> Result<(), Box<dyn Error>> {
    let load = Load {
        rate_per_s: factor * capacity_per_s,
        arrivals,
        seed: SEED,
    };
    let measured_ns = asked.times.measured_ns;
    let control = || -> Result<Figures, Box<dyn Error>> {
        let ran = bench.control(&load, measured_ns)?;
        Ok(Figures::of(&ran, &[CONTROL_HOP], capacity_per_s))
    };
    let before = control()?;
    let mut under = Vec::new();
    for policy in &asked.policies {
        let ran = bench.run(policy, &load, measured_ns)?;
        under.push((policy, Figures::of(&ran, &[HOP], capacity_per_s)));
    }
    let after = control()?;
    let over = before.over + after.over;
    let control_share = over as f64 / (before.delivered + after.delivered).max(1) as f64;
    found.say(&format!(
        "{factor}x {name}: control {:.2} % over budget, p99 {} and {}; the sender was late by {} at the p99",
        100.0 * control_share,
        Span(before.spans_ns.p99),
        Span(after.spans_ns.p99),
        Span(before.late_ns.p99.max(after.late_ns.p99)),
    ));
    for figures in [before, after] {
        found.json.push(table::json("control", &figures)?);
    }
    for (policy, figures) in under {
        let row = Row {
            policy: policy.name.to_owned(),
            is_judged: policy.is_judged,
            load: factor,
            arrivals: name.to_owned(),
            misses: figures.misses(control_share, factor > 1.0),
            figures,
            control_share,
        };
        found.json.push(table::json("load", &row)?);
        found.rows.push(row);
    }
    Ok(())
}

/// A load that falls, under each policy; before it the same line without overload. Arrivals are even, so that all that is
/// left of the overload is what the line kept of it.
fn falls(
    bench: &Bench,
    asked: &Asked,
    capacity_per_s: f64,
    found: &mut Found,
) -> Result<(), Box<dyn Error>> {
    let (from, to) = FALL;
    let measured_ns = asked.times.measured_ns;
    let fell_ns = asked.times.warmup_ns + measured_ns / 4;
    let course = |ran: &Ran| Course::of(passages(ran, &[HOP]));
    for policy in &asked.policies {
        let quiet = Load {
            rate_per_s: to * capacity_per_s,
            arrivals: Arrivals::Constant,
            seed: SEED,
        };
        let quiet = bench.run(policy, &quiet, measured_ns / 2)?;
        let usual_ns = course(&quiet).usual_p99_ns(quiet.window);
        let falling = Load {
            rate_per_s: 0.0,
            arrivals: Arrivals::Steps {
                from_per_s: from * capacity_per_s,
                to_per_s: to * capacity_per_s,
                steps: 2,
                each_ns: fell_ns,
            },
            seed: SEED,
        };
        let ran = bench.run(policy, &falling, measured_ns)?;
        let fell_ns = ran.evidence.began_ns + fell_ns;
        let fall = Fall {
            policy: policy.name.to_owned(),
            is_judged: policy.is_judged,
            load: from,
            to,
            recovery: course(&ran).recovery(fell_ns, ran.until_ns, usual_ns),
        };
        found.json.push(table::json("fall", &fall)?);
        found.falls.push(fall);
    }
    Ok(())
}

/// Telemetry that comes in surges: the second of them under each policy, and what follows it.
fn surges(bench: &Bench, asked: &Asked, found: &mut Found) -> Result<(), Box<dyn Error>> {
    let saturated = bench.surges(Some(&POLICIES[0]), asked.surges_by)?;
    let capacity_per_s = Figures::of(&saturated, &IOT_HOPS, 1.0)
        .delivered_per_s
        .max(1.0);
    let control = bench.surges(None, asked.surges_by)?;
    let control = Figures::of(&control, &IOT_HOPS, capacity_per_s);
    found.say(&format!(
        "surges: the store does {} readings a second; control {:.2} % over budget",
        table::count(capacity_per_s as u64),
        100.0 * control.over_share()
    ));
    found.json.push(table::json("control", &control)?);
    for policy in asked.policies.iter().filter(|policy| policy.is_for_any) {
        let ran = bench.surges(Some(policy), asked.surges_by)?;
        let figures = Figures::of(&ran, &IOT_HOPS, capacity_per_s);
        let course = Course::of(passages(&ran, &IOT_HOPS));
        let (surge_ns, fell_ns) = (ran.window.to_ns - ran.window.from_ns, ran.window.to_ns);
        let between = Window {
            from_ns: ran.window.from_ns - surge_ns,
            to_ns: ran.window.from_ns,
        };
        let usual_ns = course.usual_p99_ns(between);
        let fall = Fall {
            policy: format!("{} (surges)", policy.name),
            is_judged: policy.is_judged,
            load: SURGE,
            to: BETWEEN_SURGES,
            recovery: course.recovery(fell_ns, ran.until_ns, usual_ns),
        };
        let row = Row {
            policy: policy.name.to_owned(),
            is_judged: policy.is_judged,
            load: SURGE,
            arrivals: "surges".to_owned(),
            misses: figures.misses(control.over_share(), true),
            control_share: control.over_share(),
            figures,
        };
        found.json.push(table::json("load", &row)?);
        found.json.push(table::json("fall", &fall)?);
        found.rows.push(row);
        found.falls.push(fall);
    }
    Ok(())
}

fn write(folder: &Path, found: &Found, capacity_per_s: f64) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("overload.md"), &found.text)?;
    std::fs::write(folder.join("overload.jsonl"), found.json.join("\n") + "\n")?;
    let about = format!(
        "Poisson arrivals; the line does {} messages a second",
        table::count(capacity_per_s as u64)
    );
    let curves = |value: fn(&Figures) -> f64| -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for row in found.rows.iter().filter(|row| row.arrivals == "poisson") {
            let point = (row.load, value(&row.figures));
            match curves.iter_mut().find(|curve| curve.name == row.policy) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve {
                    name: row.policy.clone(),
                    points: vec![point],
                }),
            }
        }
        curves
    };
    let p99 = Plot {
        title: "P99 of admitted messages, from their due time".to_owned(),
        about: about.clone(),
        scale: Scale::Spans,
        limit: (BUDGET_NS as f64, format!("budget {}", Span(BUDGET_NS))),
        curves: curves(|figures| figures.spans_ns.p99 as f64),
    };
    std::fs::write(folder.join("overload-p99.svg"), p99.svg())?;
    let goodput = Plot {
        title: "Goodput: delivered messages, as a share of the capacity".to_owned(),
        about,
        scale: Scale::Shares,
        limit: (GOODPUT, format!("bar {:.0} %", GOODPUT * 100.0)),
        curves: curves(|figures| figures.goodput),
    };
    std::fs::write(folder.join("overload-goodput.svg"), goodput.svg())?;
    Ok(())
}
