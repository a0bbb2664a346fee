//! The command `hopline`: the harness on the ready-made stages and adapters.

use std::process::ExitCode;

use hopline::topology::Registry;
use hopline::{adapter, stages};

fn main() -> ExitCode {
    hopline_harness::main(stages::register(adapter::register(Registry::new())))
}
