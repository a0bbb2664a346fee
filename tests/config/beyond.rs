//! Budgets of the hops from the edge to a screen.

use hopline::config::Overrides;

use crate::{LINE, files, said};

#[test]
fn hops_beyond_the_line_have_limits_and_nothing_else() {
    let budget = "[hop.\"edge.wire\"]\np99 = \"20ms\"\nof = \"wait\"\nlossless = true\n\
        [hop.\"edge.queue\"]\np50 = \"0us\"\n[hop.\"client.pint\"]\np99 = \"1ms\"\n";
    let said = said(files(LINE, None, Some(budget)), &Overrides::default());
    for part in [
        "budget.toml:3:1: unknown key \"of\"",
        "budget.toml:4:1: unknown key \"lossless\"",
        "budget.toml:6:1: \"p50\" is a budget of zero",
        "a budget for \"client.pint\", which is no hop of this line",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}
