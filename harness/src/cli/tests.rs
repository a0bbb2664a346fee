use hopline::overload::WhenFull;

use super::*;

fn run(line: &str) -> Result<RunArgs, clap::Error> {
    let words = ["hopline", "run"].into_iter().chain(line.split(' '));
    Cli::try_parse_from(words).map(|cli| match cli.command {
        Some(Command::Run(args)) => args,
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn everything_on_a_line() {
    let args = run(
        "tick-to-trade --input btc=a.gz --input eth=b --speed 100x --for 10s --sink-log o --json \
         --via udp --hop btc->book:depth=16,when_full=drop_newest --threads 2 --pin off --wait park",
    )
    .unwrap();
    assert_eq!(args.shape.inputs.len(), 2);
    assert_eq!(args.shape.inputs[1].file, PathBuf::from("b"));
    assert_eq!(args.shape.speed, Some(Pace(Some(100.0))));
    assert_eq!(args.duration, Some(Duration::from_secs(10)));
    let wish = HopWish {
        name: "btc->book".to_owned(),
        depth: Some(16),
        when_full: Some(WhenFull::DropNewest),
        settings: Vec::new(),
        given: "--hop 'btc->book:depth=16,when_full=drop_newest'".to_owned(),
    };
    assert_eq!(args.shape.hops, [wish]);
    assert_eq!(args.shape.via, Some(ViaArg::Udp));
    assert_eq!(args.shape.wait, Some(Strategy::PARK));
    let flat_out = run("c --input a=b --speed max").unwrap().shape;
    assert_eq!(flat_out.speed, Some(Pace(None)));
}

#[test]
fn what_is_wrong_is_said_with_what_is_right() {
    for (line, words) in [
        ("c --for 10", "unit"),
        ("c --for 0s", "above zero"),
        ("c --input a=b --speed 100", "100x"),
        ("c --speed 100x", "--input"),
        ("c --input btc", "btc=btcusdt.gz"),
        ("c --hop btc->book", "depth=16"),
        ("c --hop btc->book:dept=16", "did you mean depth?"),
        ("c --hop btc->book:depth=x", "power of two"),
        ("c --hop btc->book:when_full=blok", "block"),
        ("c --wait nap", "spin"),
        ("c --pin maybe", "require"),
        ("c --live --input a=b", "cannot be used with"),
        ("c --virtual --via udp", "cannot be used with"),
        ("c --threads 0", "1..=64"),
    ] {
        let error = run(line).unwrap_err().to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn a_misspelt_word_is_met_by_the_one_that_was_meant() {
    for (line, words) in [
        ("run c --fro 3s", "similar argument exists: '--for'"),
        ("run c --jsn", "similar argument exists: '--json'"),
        ("rn c", "similar subcommand exists: 'run'"),
        ("chek c", "similar subcommand exists: 'check'"),
    ] {
        let given = ["hopline"].into_iter().chain(line.split(' '));
        let command = line.split(' ').next();
        let error = suggest(Cli::try_parse_from(given).unwrap_err(), command).to_string();
        assert!(error.contains(words), "{line}: {error}");
        assert!(!error.contains("as a value"), "{line}: {error}");
    }
}

#[test]
fn an_input_stands_once() {
    let args = run("c --input a=1 --input a=2").unwrap();
    assert!(check(&args.shape).unwrap_err().what.contains("twice"));
}
