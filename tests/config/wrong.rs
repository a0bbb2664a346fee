//! What is said of cases that are wrong, word by word.

use hopline::config::{HopSetting, Input, Overrides};
use hopline::host::Host;

use crate::{LINE, build, files, said};

/// What is said of [`LINE`] with `from` replaced by `to`.
fn said_with(from: &str, to: &str) -> String {
    assert!(LINE.contains(from), "{from}");
    said(
        files(&LINE.replacen(from, to, 1), None, None),
        &Overrides::default(),
    )
}

fn said_of_load(load: &str) -> String {
    said(files(LINE, Some(load), None), &Overrides::default())
}

fn said_of_budget(budget: &str) -> String {
    said(files(LINE, None, Some(budget)), &Overrides::default())
}

fn said_of_overrides(overrides: &Overrides) -> String {
    said(files(LINE, None, None), overrides)
}

#[test]
fn texts_that_are_no_toml_are_told_with_their_places() {
    let empty = "line.toml:1:1: the file is empty\n  help: write its tables, see docs/CONFIG.md; \
                 load.toml and budget.toml may also be absent";
    assert_eq!(said(files("", None, None), &Overrides::default()), empty);
    assert_eq!(
        said(files("\n \n", None, None), &Overrides::default()),
        empty
    );
    assert_eq!(
        said_of_load("\n"),
        "load.toml:1:1: the file is empty\n  help: write its tables, see docs/CONFIG.md; \
         load.toml and budget.toml may also be absent"
    );
    assert_eq!(
        said_with("[[stage]]", "[line]"),
        "line.toml:12:2: \"line\" is there twice\n  \
         help: keep one of them, or write [[line]] where there may be several\n\
         line.toml:13:1: \"name\" is there twice\n  help: keep one of them"
    );
    assert_eq!(
        said_with("symbol = ", "bind = "),
        "line.toml:9:1: \"bind\" is there twice\n  help: keep one of them"
    );
    // All of them, and those of the other files too.
    let line = "[line]\nname = µ\n[[hop]\nfrom = \"a\"\n";
    let budget = "[hop.btc->book]\np99 = \"20us\n";
    assert_eq!(
        said(files(line, None, Some(budget)), &Overrides::default()),
        "line.toml:2:8: not TOML: string values must be quoted, expected literal string\n  \
         help: texts stand in quotes, such as name = \"book\"\n\
         line.toml:3:7: not TOML: unclosed array table, expected `]`\n  \
         help: write key = value, [table], or [[table]] where there are several\n\
         budget.toml:1:10: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`\n  \
         help: keys of other characters stand in quotes, such as [hop.\"btc->book\"]\n\
         budget.toml:2:12: not TOML: invalid basic string, expected `\"`\n  \
         help: texts stand in quotes, such as name = \"book\""
    );
}

#[test]
fn what_is_no_case_at_all_is_told_briefly() {
    let keys: String = (0..10_000).map(|at| format!("k{at} = 1\n")).collect();
    assert_eq!(
        said(files(&keys, None, None), &Overrides::default()),
        "line.toml:1:1: the file has 10000 keys, which are too many for a case\n  \
         help: is it the right file? At most 8192 are read"
    );
    let breaks = "a = = 1\n".repeat(1_000);
    let said = said(files(&breaks, None, None), &Overrides::default());
    assert_eq!(said.matches("line.toml:").count(), 32);
}

#[test]
fn steps_of_a_ladder_that_has_none_are_told() {
    for (given, expected) in [
        (
            "spin_turns = 5",
            "line.toml:2:1: \"spin_turns\" has no effect without a wait beside it\n  \
             help: write wait = \"yield\" or wait = \"park\", or remove it",
        ),
        (
            "spin_turns = 5\nwait = \"spin\"",
            "line.toml:2:1: \"spin_turns\" has no effect where wait = \"spin\"\n  \
             help: write wait = \"yield\" or wait = \"park\", or remove it",
        ),
        (
            "park_max = \"1ms\"\nwait = \"yield\"",
            "line.toml:2:1: \"park_max\" has no effect where wait = \"yield\"\n  \
             help: write wait = \"park\", or remove it",
        ),
        (
            "park_max = \"1s\"\nwait = \"park\"",
            "line.toml:2:1: a sleep of up to 1.00s is out of bounds\n  \
             help: write a span from 10.0us to 50.0ms",
        ),
        (
            "wait = \"park\"\nspin_turns = 5\nspin_for = \"50us\"",
            "line.toml:4:1: \"spin_for\" and \"spin_turns\" bound the same step\n  \
             help: write spin_for for a time or spin_turns for a number of turns, not both",
        ),
        (
            "wait = \"yield\"\nspin_for = \"2s\"",
            "line.toml:3:1: a step of 2.00s is out of bounds\n  \
             help: write a span of up to 1.00s",
        ),
        (
            "yield_for = \"50us\"\nwait = \"yield\"",
            "line.toml:2:1: \"yield_for\" has no effect where wait = \"yield\"\n  \
             help: write wait = \"park\", or remove it",
        ),
        (
            "wait = \"park\"\nyield_for = 50",
            "line.toml:3:1: \"yield_for\" is a whole number\n  \
             help: write a span with its unit, such as \"20us\"",
        ),
        (
            "wait = \"park\"\n[memory]\nlock = \"yes\"",
            "line.toml:4:1: \"lock\" does not know the word \"yes\"\n  help: write \"off\", \"prefer\" or \"require\"",
        ),
    ] {
        assert_eq!(said_with("name = \"mine\"", given), expected, "{given}");
    }
}

#[test]
fn unknown_keys_are_told_with_the_one_that_was_meant() {
    for (from, to, expected) in [
        (
            "depth = 1024",
            "dept = 1024",
            "line.toml:28:1: unknown key \"dept\"\n  help: did you mean \"depth\"?",
        ),
        (
            "depth = 1024",
            "colour = 1024",
            "line.toml:28:1: unknown key \"colour\"\n  help: known here: from, to, after, slow, split, isolate, depth, when_full, \
             then, block_timeout, deadline, codel, codel_interval, degrade_high, \
             degrade_low, sample, sample_above, high, low, most_keys, rank, rate, burst, protected, overflow_to, \
             overflow_file, overflow_file_most, record, record_max",
        ),
        (
            "name = \"mine\"",
            "pins = \"off\"",
            "line.toml:2:1: unknown key \"pins\"\n  help: did you mean \"pin\"?",
        ),
        (
            "[line]",
            "[lines]",
            "line.toml:1:2: unknown key \"lines\"\n  help: did you mean \"line\"?",
        ),
        (
            "[line]",
            "colour = 1\n[line]",
            "line.toml:1:1: unknown key \"colour\"\n  \
             help: tables here: line, memory, source, stage, sink, hop, thread",
        ),
        (
            "kind = \"book\"",
            "kind = \"book\"\nlevls = 5",
            "line.toml:15:1: unknown key \"levls\"\n  help: did you mean \"levels\"?",
        ),
        // A setting that is missing because another one is misspelt.
        (
            "bind = ",
            "bnd = ",
            "line.toml:4:1: the setting \"bind\" is missing\n  help: write bind = \"127.0.0.1:26400\"\n\
             line.toml:7:1: unknown key \"bnd\"\n  help: did you mean \"bind\"?",
        ),
        (
            "kind = \"book\"",
            "knd = \"book\"",
            "line.toml:12:1: the setting \"kind\" is missing\n  help: write kind = \"…\"\n\
             line.toml:14:1: unknown key \"knd\"\n  help: did you mean \"kind\"?",
        ),
        // What stands under it is missing for that reason, and not told again.
        (
            "[[stage]]",
            "[[stages]]",
            "line.toml:12:3: unknown key \"stages\"\n  help: did you mean \"stage\"?",
        ),
        // Columns count characters.
        (
            "to = \"book\"",
            "\"µ\" = { \"\" = 1 }; to = \"book\"",
            "line.toml:27:17: not TOML: unexpected key or value, expected newline, `#`\n  \
             help: write key = value, [table], or [[table]] where there are several",
        ),
    ] {
        assert_eq!(said_with(from, to), expected, "{from} -> {to}");
    }
    assert_eq!(
        said_of_load("rte = \"5k/s\"\n[[feed]]\nsource = \"btc\"\nlevel = 5\n"),
        "load.toml:1:1: unknown key \"rte\"\n  help: did you mean \"rate\"?\n\
         load.toml:4:1: unknown key \"level\"\n  \
         help: known here: source, rate, arrivals, burst, intensity, content, bytes, symbols, loss, \
         delayed, repeated, delay, heartbeat, restart_after, restart, seed"
    );
    assert_eq!(
        said_of_budget("[sol]\n[hop.\"btc->book\"]\np999 = \"1ms\"\n"),
        "budget.toml:1:2: unknown key \"sol\"\n  help: did you mean \"slo\"?\n\
         budget.toml:3:1: unknown key \"p999\"\n  help: did you mean \"p99\"?"
    );
}

#[test]
fn wrong_types_and_units_are_told() {
    for (from, to, expected) in [
        (
            "name = \"mine\"",
            "name = 5",
            "line.toml:2:1: \"name\" is a whole number\n  help: write a text, such as name = \"…\"",
        ),
        (
            "name = \"mine\"",
            "name = \"my line\"",
            "line.toml:2:1: \"my line\" is no name for a line\n  \
             help: write only letters, digits, - and _",
        ),
        (
            "name = \"mine\"",
            "pin = \"reqire\"",
            "line.toml:2:1: \"pin\" does not know the word \"reqire\"\n  \
             help: did you mean \"require\"?",
        ),
        (
            "name = \"mine\"",
            "wait = true",
            "line.toml:2:1: \"wait\" is true or false\n  \
             help: write \"spin\", \"yield\" or \"park\"",
        ),
        (
            "name = \"mine\"",
            "threads = 0",
            "line.toml:2:1: \"threads\" = 0 is out of bounds\n  \
             help: write a number from 1 to 64",
        ),
        (
            "name = \"mine\"",
            "drain = \"2 lightyears\"",
            "line.toml:2:1: \"drain\" = \"2 lightyears\" cannot be read\n  \
             help: write a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\"",
        ),
        (
            "name = \"mine\"",
            "drain = 2",
            "line.toml:2:1: \"drain\" is a whole number\n  \
             help: write a span with its unit, such as \"20us\"",
        ),
        (
            "name = \"mine\"",
            "drain = \"0s\"",
            "line.toml:2:1: \"drain\" is zero, and so would discard what is on the hops\n  \
             help: write a span, such as \"2s\"",
        ),
        (
            "depth = 1024",
            "depth = \"deep\"",
            "line.toml:28:1: \"depth\" is a text\n  help: write a whole number",
        ),
        (
            "depth = 1024",
            "depth = -1",
            "line.toml:28:1: \"depth\" = -1 is out of bounds\n  \
             help: write a number from 0 to 9223372036854775807",
        ),
        (
            "depth = 1024",
            "depth = 99999999999999999999",
            "line.toml:28:1: \"depth\" is a number beyond 64 bits\n  \
             help: write a text, a number, true or false, or a list of them",
        ),
        (
            "when_full = \"drop_newest\"",
            "when_full = \"drop_newset\"",
            "line.toml:37:1: \"when_full\" does not know the word \"drop_newset\"\n  \
             help: did you mean \"drop_newest\"?",
        ),
        (
            "from = \"btc\"",
            "from = [\"btc\", 5]",
            "line.toml:26:1: \"from\" is a whole number\n  \
             help: write a list of texts, such as [\"a\", \"b\"]",
        ),
        (
            "from = \"btc\"",
            "from = []",
            "line.toml:26:1: a hop comes from at least one node\n  \
             help: write from = \"btc\", or from = [\"btc\", \"eth\"] for a hop each",
        ),
        (
            "kind = \"book\"",
            "kind = \"book\"\nsince = 1979-05-27\nlevels = { most = 5 }",
            "line.toml:15:1: \"since\" is a date or time\n  \
             help: write a text, a number, true or false, or a list of them\n\
             line.toml:16:1: \"levels\" is a table\n  \
             help: there are no tables within this one: write key = value",
        ),
        (
            "[[source]]",
            "[source]",
            "line.toml:4:2: \"source\" is one table, and there may be several\n  \
             help: write [[source]] instead of [source]",
        ),
        (
            "[line]",
            "[[line]]",
            "line.toml:1:3: \"line\" is a list of tables\n  help: write [line]",
        ),
    ] {
        assert_eq!(said_with(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn names_kinds_and_ports_that_are_not_there_are_told() {
    for (from, to, expected) in [
        (
            "kind = \"book\"",
            "kind = \"bok\"",
            "line.toml:14:1: there is no kind of stage named \"bok\"\n  help: did you mean \"book\"?",
        ),
        (
            "kind = \"book\"",
            "kind = \"magic\"",
            "line.toml:14:1: there is no kind of stage named \"magic\"\n  \
             help: kinds of stage here: book, encode, forward, risk, signal",
        ),
        (
            "kind = \"book\"",
            "kind = \"blackhole\"",
            "line.toml:14:1: \"blackhole\" is a sink, not a stage\n  help: put it under [[sink]]",
        ),
        (
            "decode = \"binance\"",
            "decode = \"binanse\"",
            "line.toml:8:1: \"decode\" does not know the word \"binanse\"\n  \
             help: did you mean \"binance\"?",
        ),
        (
            "decode = \"binance\"\n",
            "",
            "line.toml:4:1: the setting \"decode\" is missing\n  \
             help: say what its messages are: decode = \"…\", one of binance or datagram",
        ),
        (
            "from = \"btc\"",
            "from = \"bt\"",
            "line.toml:26:1: from = \"bt\" names no node\n  help: did you mean \"btc\"?",
        ),
        (
            "to = \"book\"",
            "to = \"elsewhere\"",
            "line.toml:13:1: nothing leads to \"book\": it would never get a frame\n  \
             help: add a [[hop]] with to = \"book\", or remove it\n\
             line.toml:27:1: to = \"elsewhere\" names no node\n  \
             help: nodes here: btc, book, signal, orders",
        ),
        (
            "from = \"book\"",
            "from = \"book.ou\"",
            "line.toml:31:1: \"book\" has no port named \"ou\"\n  help: did you mean \"book.out\"?",
        ),
        (
            "from = \"book\"",
            "from = \"book.best\"",
            "line.toml:31:1: \"book\" has no port named \"best\"\n  help: ports here: out, log",
        ),
        (
            "from = \"book\"",
            "from = \"orders\"",
            "line.toml:13:1: the output \"out\" of \"book\" leads nowhere\n  \
             help: add a [[hop]] with from = \"book\"\n\
             line.toml:31:1: \"orders\" is a sink and has no output\n  \
             help: a hop must come from a source or a stage with a port",
        ),
        (
            "name = \"signal\"",
            "name = \"book\"",
            "line.toml:17:1: two nodes are named \"book\"\n  \
             help: give one of them another name; the first is at line.toml:13:1\n\
             line.toml:32:1: to = \"signal\" names no node\n  \
             help: nodes here: btc, book, orders\n\
             line.toml:35:1: from = \"signal\" names no node\n  \
             help: nodes here: btc, book, orders",
        ),
        (
            "name = \"btc\"",
            "name = \"b.t.c\"",
            "line.toml:5:1: \"b.t.c\" is no name for a node\n  \
             help: write only letters, digits, - and _\n\
             line.toml:26:1: from = \"btc\" names no node\n  \
             help: nodes here: b.t.c, book, signal, orders",
        ),
    ] {
        assert_eq!(said_with(from, to), expected, "{from} -> {to}");
    }
}

#[test]
fn lines_that_do_not_hold_together_are_told() {
    for (from, to, expected) in [
        (
            "[[hop]]\nfrom = \"btc\"",
            "[[hop]]\nfrom = \"signal\"\nto = \"book\"\n[[hop]]\nfrom = \"btc\"",
            "line.toml:25:1: signal->book carries order, which \"book\" does not take\n  \
             help: \"book\" takes quote\n\
             line.toml:33:1: the line has a cycle: book -> signal -> book\n  \
             help: a line is a DAG: remove one of these hops",
        ),
        (
            "[[sink]]",
            "[[sink]]\nname = \"lone\"\nkind = \"blackhole\"\n[[sink]]",
            "line.toml:21:1: nothing leads to \"lone\": it would never get a frame\n  \
             help: add a [[hop]] with to = \"lone\", or remove it",
        ),
        (
            "from = \"book\"\nto = \"signal\"",
            "from = \"book\"\nto = \"orders\"",
            "line.toml:17:1: nothing leads to \"signal\": it would never get a frame\n  \
             help: add a [[hop]] with to = \"signal\", or remove it\n\
             line.toml:30:1: book->orders carries quote, which \"orders\" does not take\n  \
             help: \"orders\" takes order",
        ),
        (
            "depth = 1024",
            "depth = 1000",
            "line.toml:28:1: a depth of 1000 is not a power of two\n  \
             help: write depth = 512 or depth = 1024",
        ),
        (
            "depth = 1024",
            "depth = 1",
            "line.toml:28:1: a depth of 1 is out of bounds\n  \
             help: write a power of two from 2 to 1048576\n\
             line.toml:28:1: btc->book has a depth of 1, but one message of \"btc\" may have 512 frames\n  \
             help: write depth = 512 or more, or when_full = \"drop_newest\" to shed messages that do not fit",
        ),
        (
            "depth = 1024",
            "depth = 256",
            "line.toml:28:1: btc->book has a depth of 256, but one message of \"btc\" may have 512 frames\n  \
             help: write depth = 512 or more, or when_full = \"drop_newest\" to shed messages that do not fit",
        ),
        (
            "from = \"btc\"",
            "from = [\"btc\", \"btc.out\"]",
            "line.toml:25:1: the hop btc.out->book is there twice\n  help: remove one of them",
        ),
        (
            "[[hop]]",
            "[[thread]]\nname = \"a\"\ncore = 0\nrun = [\"btc\", \"bok\"]\n[[thread]]\nname = \"a\"\ncore = 0\nrun = \"btc\"\n[[hop]]",
            "line.toml:25:1: run = \"bok\" names no node\n  help: did you mean \"book\"?\n\
             line.toml:29:1: two threads are named \"a\"\n  help: rename one of them\n\
             line.toml:29:1: threads \"a\" and \"a\" ask for the same core 0\n  \
             help: give each thread a core of its own, or leave core out\n\
             line.toml:29:1: \"btc\" is on thread \"a\" and on \"a\"\n  help: a node runs on one thread",
        ),
    ] {
        assert_eq!(said_with(from, to), expected, "{from} -> {to}");
    }
    // One depth for several hops is one problem.
    let fan_in = LINE.replace("from = \"btc\"", "from = [\"btc\", \"eth\"]").replace(
        "[[stage]]\nname = \"book\"",
        "[[source]]\nname = \"eth\"\nkind = \"udp\"\nbind = \"x\"\ndecode = \"binance\"\nsymbol = \"E\"\n\
         [[stage]]\nname = \"book\"",
    );
    let fan_in = fan_in.replace("depth = 1024", "depth = 1000");
    assert_eq!(
        said(files(&fan_in, None, None), &Overrides::default()),
        "line.toml:34:1: a depth of 1000 is not a power of two\n  \
         help: write depth = 512 or depth = 1024"
    );
    assert_eq!(
        said(files("# nothing yet\n", None, None), &Overrides::default()),
        "the line has no nodes\n  help: add a [[source]], a [[stage]] and a [[sink]]"
    );
}

#[test]
fn cores_that_a_thread_may_not_have_are_told() {
    let mut host = Host::read();
    host.allowed = vec![0, 2];
    host.total_cores = Some(4);
    let plan = |core: &str| {
        let text = format!("{LINE}[[thread]]\nname = \"feeds\"\ncore = {core}\nrun = [\"btc\"]\n");
        build(files(&text, None, None), &Overrides::default())
            .and_then(|line| line.plan(&host))
            .map_err(|problems| problems.to_string())
    };
    assert_eq!(plan("2").unwrap().threads[0].core, Some(2));
    assert_eq!(
        plan("1").unwrap_err(),
        "line.toml:38:1: thread \"feeds\" asks for core 1, which this process may not use\n  \
         help: cores it may use: 0 or 2"
    );
    assert_eq!(
        plan("64").unwrap_err(),
        "line.toml:38:1: thread \"feeds\" asks for core 64, which is not there\n  \
         help: cores it may use: 0 or 2"
    );
    assert_eq!(
        plan("1024").unwrap_err(),
        "line.toml:40:1: \"core\" = 1024 is out of bounds\n  help: write a number from 0 to 1023"
    );
}

#[test]
fn budgets_that_cannot_be_are_told() {
    assert_eq!(
        said_of_budget(
            "[slo]\np50 = \"20\"\np90 = \"20 lightyears\"\np99 = \"0us\"\np99_9 = \"100s\"\n\
             max = 5\njitter = \"0s\"\nipdv = \"0ns\"\n"
        ),
        "budget.toml:2:1: \"p50\" = \"20\" cannot be read\n  \
         help: write a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\"\n\
         budget.toml:3:1: \"p90\" = \"20 lightyears\" cannot be read\n  \
         help: write a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\"\n\
         budget.toml:4:1: \"p99\" is a budget of zero, which can never hold\n  \
         help: write the span that you can accept, such as \"20us\"\n\
         budget.toml:5:1: \"p99_9\" = 100s is longer than histograms tell apart\n  \
         help: write less than \"68.7s\"\n\
         budget.toml:6:1: \"max\" is a whole number\n  \
         help: write a span with its unit, such as \"20us\"\n\
         budget.toml:7:1: \"jitter\" is a budget of zero, which can never hold\n  \
         help: write the span that you can accept, such as \"20us\"\n\
         budget.toml:8:1: \"ipdv\" is a budget of zero, which can never hold\n  \
         help: write the span that you can accept, such as \"20us\""
    );
    assert_eq!(
        said_of_budget("[slo]\nipdv = \"often\"\n"),
        "budget.toml:2:1: \"ipdv\" = \"often\" cannot be read\n  \
         help: write a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\""
    );
    assert_eq!(
        said_of_budget(
            "[hop.\"btc->book\"]\np99 = \"20us\"\np99_9 = \"10us\"\nof = \"waiting\"\nlossless = 1\n\
             [hop.\"btc->bok\"]\n[hop.\"a->b\"]\n[hop]\nx = 1\n"
        ),
        "budget.toml:3:1: p99 = 20.0us is above p99_9 = 10.0us\n  \
         help: limits must not fall as quantiles rise: raise the second or lower the first\n\
         budget.toml:4:1: \"of\" does not know the word \"waiting\"\n  \
         help: write \"wait\", \"service\" or \"sojourn\"\n\
         budget.toml:5:1: \"lossless\" is a whole number\n  help: write true or false\n\
         budget.toml:6:6: a budget for \"btc->bok\", which is no hop of this line\n  \
         help: did you mean \"btc->book\"?\n\
         budget.toml:7:6: a budget for \"a->b\", which is no hop of this line\n  \
         help: hops here: btc->book, book->signal, signal->orders\n\
         budget.toml:9:1: \"x\" is a plain value\n  \
         help: write a table for each, such as [hop.\"btc->book\"]"
    );
}

#[test]
fn loads_that_cannot_be_are_told() {
    assert_eq!(
        said_of_load(
            "rate = \"5\"\narrivals = \"poison\"\nseed = -1\nvia = \"tcp\"\nburst = 5\nbytes = 0\n\
             warmup = \"5\"\nduration = \"0s\"\n"
        ),
        "load.toml:1:1: \"rate\" = \"5\" cannot be read\n  \
         help: write a rate, such as \"800/s\", \"50k/s\" or \"1.2M/s\"\n\
         load.toml:2:1: \"arrivals\" does not know the word \"poison\"\n  \
         help: did you mean \"poisson\"?\n\
         load.toml:3:1: \"seed\" = -1 is out of bounds\n  \
         help: write a number from 0 to 4294967295\n\
         load.toml:4:1: \"via\" does not know the word \"tcp\"\n  \
         help: write \"direct\", \"udp\" or \"websocket\"\n\
         load.toml:6:1: \"bytes\" = 0 is out of bounds\n  \
         help: write a number from 8 to 65507\n\
         load.toml:7:1: \"warmup\" = \"5\" cannot be read\n  \
         help: write a span of time with its unit, such as \"20us\", \"5ms\" or \"10s\"\n\
         load.toml:8:1: a load of no duration\n  \
         help: write a span, such as \"10s\", or leave it out"
    );
    let replayed = LINE.replacen("kind = \"udp\"\nbind", "kind = \"replay\"\nfile", 1);
    assert_eq!(
        said(
            files(&replayed, Some("via = \"udp\"\n"), None),
            &Overrides::default()
        ),
        "load.toml:1:1: via = \"udp\" sends to where a source binds, and \"btc\" does not\n  \
         help: give the source a setting bind, or write via = \"direct\""
    );
    assert_eq!(
        said_of_load(
            "intensity = 3\nbytes = 50\n[[feed]]\nsource = \"bct\"\n[[feed]]\nsource = \"btc\"\n\
             [[feed]]\nsource = \"btc\"\n[[feed]]\nsource = \"book\"\n[[feed]]\nrate = \"1/s\"\n"
        ),
        "load.toml:1:1: \"intensity\" says nothing of arrivals that are not bursty\n  \
         help: write arrivals = \"bursty\" beside it, or remove it\n\
         load.toml:2:1: \"bytes\" says nothing of messages that are as long as they are\n  \
         help: write content = \"datagrams\" beside it, or remove it\n\
         load.toml:4:1: \"bct\" is no source of this line\n  help: did you mean \"btc\"?\n\
         load.toml:8:1: two [[feed]] are for \"btc\"\n  help: keep one of them\n\
         load.toml:10:1: \"book\" is no source of this line\n  help: sources here: btc\n\
         load.toml:11:1: the setting \"source\" is missing\n  help: write source = \"btc\""
    );
}

#[test]
fn all_that_is_wrong_is_told_in_one_go_from_top_to_bottom() {
    let line = LINE
        .replacen("name = \"mine\"", "pin = \"on\"", 1)
        .replacen("bind", "bnd", 1)
        .replacen("kind = \"signal\"", "kind = \"singal\"", 1)
        .replacen("depth = 1024", "depth = 1000", 1)
        .replacen("from = \"book\"", "from = \"bok\"", 1);
    let load = "rate = 5\n";
    let budget = "[slo]\np99 = \"0s\"\n";
    let overrides = Overrides {
        inputs: vec![Input::text("eth", "eth.gz")],
        ..Overrides::default()
    };
    assert_eq!(
        said(files(&line, Some(load), Some(budget)), &overrides),
        "line.toml:2:1: \"pin\" does not know the word \"on\"\n  \
         help: write \"require\", \"prefer\" or \"off\"\n\
         line.toml:4:1: the setting \"bind\" is missing\n  help: write bind = \"127.0.0.1:26400\"\n\
         line.toml:7:1: unknown key \"bnd\"\n  help: did you mean \"bind\"?\n\
         line.toml:18:1: there is no kind of stage named \"singal\"\n  help: did you mean \"signal\"?\n\
         line.toml:28:1: a depth of 1000 is not a power of two\n  \
         help: write depth = 512 or depth = 1024\n\
         line.toml:31:1: from = \"bok\" names no node\n  help: did you mean \"book\"?\n\
         load.toml:1:1: \"rate\" is a whole number\n  help: write a rate, such as \"50k/s\"\n\
         budget.toml:2:1: \"p99\" is a budget of zero, which can never hold\n  \
         help: write the span that you can accept, such as \"20us\"\n\
         the input eth=eth.gz: \"eth\" is no source of this line\n  help: sources here: btc"
    );
}

#[test]
fn changes_that_cannot_be_are_told() {
    let setting = |hop: &str, depth| HopSetting {
        hop: hop.into(),
        depth,
        when_full: None,
        settings: Vec::new(),
        given: String::new(),
    };
    let overrides = Overrides {
        inputs: vec![
            Input::text("btc", "a.gz"),
            Input::text("btc", "b.gz"),
            Input::text("btx", "c.gz"),
        ],
        hops: vec![
            setting("book->signl", Some(16)),
            setting("book->signal", Some(15)),
            setting("none", None),
        ],
        ..Overrides::default()
    };
    assert_eq!(
        said_of_overrides(&overrides),
        "the input btc=b.gz: \"btc\" has an input already\n  help: give one file for each source\n\
         the input btx=c.gz: \"btx\" is no source of this line\n  help: did you mean \"btc\"?\n\
         \"book->signl\" is no hop of this line\n  help: did you mean \"book->signal\"?\n\
         the setting for hop book->signal: a depth of 15 is not a power of two\n  help: write depth = 8 or depth = 16\n\
         \"none\" is no hop of this line\n  help: hops here: btc->book, book->signal, signal->orders"
    );
    let block = Overrides {
        hops: vec![setting("*", Some(16))],
        ..Overrides::default()
    };
    assert_eq!(
        said_of_overrides(&block),
        "the setting for hop *: btc->book has a depth of 16, but one message of \"btc\" may have 512 frames\n  \
         help: depth=512 or more fits, or when_full=drop_newest to shed messages that do not fit"
    );
    let no_log = LINE.replace("kind = \"book\"", "kind = \"forward\"");
    let log = Overrides {
        sink_log: Some("out".into()),
        ..Overrides::default()
    };
    assert!(said(files(&no_log, None, None), &log).ends_with(
        "no node has a port \"log\", so there is nothing to log\n  \
             help: nodes here: btc, book, signal, orders"
    ));
}
