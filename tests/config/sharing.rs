//! What is said of schedules, batches, guards and priorities that are wrong or have no effect.

use hopline::config::Overrides;

use crate::{LINE, build, files, said as said_of};

/// What is said of [`LINE`] with `from` replaced by `to`.
fn said_with(from: &str, to: &str) -> String {
    let line = LINE.replacen(from, to, 1);
    said_of(files(&line, None, None), &Overrides::default())
}

#[test]
fn schedules_that_cannot_be_and_keys_beside_the_wrong_one_are_told() {
    let head = |given: &str| said_with("name = \"mine\"", given);
    assert_eq!(
        head("schedule = \"prioriti\"\nbatch = 0\nguard = 0"),
        "line.toml:2:1: \"schedule\" does not know the word \"prioriti\"\n  \
         help: did you mean \"priority\"?\n\
         line.toml:3:1: \"batch\" = 0 is out of bounds\n  help: write a number from 1 to 256\n\
         line.toml:4:1: \"guard\" = 0 is out of bounds\n  help: write a number from 1 to 1048576"
    );
    assert_eq!(
        head("guard = 5"),
        "line.toml:2:1: \"guard\" has no effect where schedule = \"round_robin\"\n  \
         help: write schedule = \"priority\" or schedule = \"edf\", or remove it"
    );
    let thread = "\n[[thread]]\nname = \"hot\"\nrun = [\"book\"]\n";
    let with = |head: &str, thread_keys: &str, stage_keys: &str| {
        let line = LINE.replacen("name = \"mine\"", head, 1);
        let line = line.replacen(
            "kind = \"book\"",
            &format!("kind = \"book\"\n{stage_keys}"),
            1,
        );
        build(
            files(&(line + thread + thread_keys), None, None),
            &Overrides::default(),
        )
    };
    let said =
        |head: &str, thread: &str, stage: &str| with(head, thread, stage).unwrap_err().to_string();
    assert_eq!(
        said(
            "schedule = \"edf\"",
            "schedule = \"round_robin\"\nguard = 5",
            ""
        ),
        "line.toml:44:1: \"guard\" has no effect where schedule = \"round_robin\"\n  \
         help: write schedule = \"priority\" or schedule = \"edf\", or remove it"
    );
    assert_eq!(
        said("", "", "priority = 0"),
        "line.toml:15:1: \"priority\" has no effect where schedule = \"round_robin\"\n  \
         help: write schedule = \"priority\" at thread \"hot\", or remove it"
    );
    assert_eq!(
        said(
            "schedule = \"priority\"",
            "schedule = \"edf\"",
            "priority = 64"
        ),
        "line.toml:15:1: \"priority\" = 64 is out of bounds\n  help: write a number from 0 to 63"
    );
    let source = "symbol = \"BTCUSDT\"";
    let line = LINE.replacen(source, &format!("{source}\npriority = 1"), 1);
    let told = said_of(files(&line, None, None), &Overrides::default());
    assert!(
        told.starts_with("line.toml:10:1: unknown key \"priority\"\n"),
        "{told}"
    );
    // What follows from a schedule that cannot be read is not told.
    assert_eq!(
        said(
            "schedule = \"fifo\"\nguard = 5",
            "guard = 6",
            "priority = 0"
        ),
        "line.toml:2:1: \"schedule\" does not know the word \"fifo\"\n  \
         help: write \"round_robin\", \"priority\" or \"edf\""
    );
    // A thread without words of its own has the line's, and a guard of the line's may be for a thread.
    for (head, thread, stage) in [
        ("schedule = \"priority\"\nguard = 9", "", "priority = 0"),
        ("guard = 9", "schedule = \"edf\"", ""),
        (
            "batch = 8",
            "schedule = \"priority\"\nbatch = 1",
            "priority = 63",
        ),
    ] {
        with(head, thread, stage).unwrap();
    }
}
