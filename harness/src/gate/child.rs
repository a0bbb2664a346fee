//! Programs that are started and waited for, and stopped when this one is asked to stop.
//!
//! ```text
//!   signals ────────┐
//!   its output ─────┼─→ one bounded queue ─→ run: the output is whole, or a signal came first
//!   its errors ─────┘                             or it took too long, or said too much
//! ```
//!
//! Invariant: one child at a time, none is left running when a stop or an error is told, and what is kept of one is bounded.

use std::cell::Cell;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hopline::base::units::Span;
use hopline::clock::Clock;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::{Exit, Failure};
use crate::signals::{self, ended_by};

/// Events that wait: the ends of two pipes, and one signal, which is told once.
const EVENTS: usize = 4;

/// What is kept of standard error, from its end: more than anybody reads of a build that failed.
const ERRORS_BYTES_MAX: usize = 64 << 10;

/// Most bytes of standard output that are taken of a child: a run of ten hops says some hundred KiB, a build some MiB.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// How often a child is asked whether it is gone that says nothing more: short beside any run, long beside the asking.
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// Why work that starts programs was not done to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Something is wrong.
    Failed(Failure),
    /// A signal came; this is how the command ends.
    Stopped(Exit),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failed(failure)
    }
}

impl Halt {
    /// The same for a command that has nothing to show for the part that it did.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Halt::Failed(failure) => failure,
            Halt::Stopped(exit) => Failure {
                exit,
                what: "ended by a signal: nothing was printed".to_owned(),
                help: String::new(),
            },
        }
    }
}

/// What becomes of a child's standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// It goes where this program's own goes: for the same reader.
    Shown,
    /// Its end is kept, at most [`ERRORS_BYTES_MAX`].
    Kept,
}

/// A child that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// All that it wrote to standard output.
    pub(crate) output: Vec<u8>,
    /// The end of what it wrote to standard error; empty where that was shown.
    pub(crate) errors: Vec<u8>,
}

/// How long a child may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it likes: a build is done when it is done.
    Endless,
    /// So long.
    Until(Duration),
}

impl Patience {
    /// What is left of it after `spent_ns`; none where it is endless.
    fn left(self, spent_ns: u64) -> Option<Duration> {
        match self {
            Patience::Endless => None,
            Patience::Until(span) => Some(span.saturating_sub(Duration::from_nanos(spent_ns))),
        }
    }
}

enum Event {
    /// All of it, or none where it was more than is taken.
    Output(io::Result<Option<Vec<u8>>>),
    Errors(io::Result<Vec<u8>>),
    Signal(i32),
}

/// Starts children one after the other.
#[derive(Debug)]
pub(crate) struct Children {
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    /// How a signal that came has this command end.
    stopped: Cell<Option<Exit>>,
}

impl Children {
    /// Listens to SIGINT and SIGTERM from now on: the first one stops the child that runs, and all that would follow; a
    /// second one ends this process at once.
    pub(crate) fn watch() -> Result<Children, Failure> {
        let (sender, events) = sync_channel(EVENTS);
        let children = Children::new(sender, events);
        let mut teller = Some(children.sender.clone());
        signals::each(move |signal| {
            if let Some(teller) = teller.take() {
                // The queue has room for it; its reader is gone only when the process ends.
                let _ = teller.try_send(Event::Signal(signal));
            }
        })?;
        Ok(children)
    }

    fn new(sender: SyncSender<Event>, events: Receiver<Event>) -> Children {
        Children {
            events,
            sender,
            stopped: Cell::new(None),
        }
    }

    fn stop(&self, signal: i32) -> Halt {
        let exit = ended_by(signal);
        self.stopped.set(Some(exit));
        Halt::Stopped(exit)
    }

    /// Runs a program to its end. `name` is what errors call it. One that fails is the last: what its pipes still say would be
    /// taken for another's.
    ///
    /// # Errors
    /// It cannot be started, it takes longer than `patience` has, it says more than [`OUTPUT_BYTES_MAX`], or a signal came: then
    /// it was killed.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        name: &str,
        errors: Errors,
        patience: Patience,
    ) -> Result<Ended, Halt> {
        if let Ok(Event::Signal(signal)) = self.events.try_recv() {
            self.stop(signal);
        }
        if let Some(exit) = self.stopped.get() {
            return Err(Halt::Stopped(exit));
        }
        // Held open until it has ended: by its end a run knows that this process is gone, though nobody could tell it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(match errors {
            Errors::Shown => Stdio::inherit(),
            Errors::Kept => Stdio::piped(),
        });
        let mut child = command
            .spawn()
            .map_err(|error| lost("cannot start", name, &error))?;
        let ended = self.hear(&mut child, name, patience);
        if ended.is_err() {
            end(&mut child);
        }
        let ended = ended?;
        // A terminal tells child and parent at once, and the child may be the first that is gone.
        match ended.status.signal() {
            Some(signal) if [SIGINT, SIGTERM].contains(&signal) => Err(self.stop(signal)),
            _ => Ok(ended),
        }
    }

    /// Hears a child to its end. It is not gone where that fails.
    fn hear(&self, child: &mut Child, name: &str, patience: Patience) -> Result<Ended, Halt> {
        let clock = Clock::os();
        let began_ns = clock.now_ns();
        let left = || patience.left(clock.now_ns().saturating_sub(began_ns));
        let late = |spent: Duration| too_long(name, spent);
        let mut open = 0;
        if let Some(pipe) = child.stdout.take() {
            let whole = |pipe| Event::Output(whole(pipe, OUTPUT_BYTES_MAX));
            self.read(move || whole(pipe), name)?;
            open += 1;
        }
        if let Some(pipe) = child.stderr.take() {
            self.read(move || Event::Errors(tail(pipe, ERRORS_BYTES_MAX)), name)?;
            open += 1;
        }
        let (mut output, mut kept) = (Vec::new(), Vec::new());
        let status = loop {
            // One that has closed its pipes may still be there.
            let asked = if open == 0 {
                let status = child.try_wait();
                if let Some(status) =
                    status.map_err(|error| lost("cannot wait for", name, &error))?
                {
                    break status;
                }
                Some(ASKED_EVERY)
            } else {
                None
            };
            let left = left();
            if left == Some(Duration::ZERO)
                && let Patience::Until(span) = patience
            {
                return Err(late(span).into());
            }
            let Some(event) = self.next([asked, left].into_iter().flatten().min()) else {
                continue;
            };
            match event {
                Event::Output(read) => {
                    let read = read.map_err(|error| lost("cannot read from", name, &error))?;
                    output = read.ok_or_else(|| too_much(name))?;
                    open -= 1;
                }
                Event::Errors(read) => {
                    kept = read.unwrap_or_default();
                    open -= 1;
                }
                Event::Signal(signal) => return Err(self.stop(signal)),
            }
        };
        Ok(Ended {
            status,
            output,
            errors: kept,
        })
    }

    /// The next event, if it comes in time.
    fn next(&self, within: Option<Duration>) -> Option<Event> {
        // This side holds a sender, so the queue is never closed.
        match within {
            Some(within) => self.events.recv_timeout(within).ok(),
            None => self.events.recv().ok(),
        }
    }

    /// Reads a pipe to its end on a thread of its own.
    fn read(
        &self,
        hear: impl FnOnce() -> Event + Send + 'static,
        name: &str,
    ) -> Result<(), Failure> {
        let sender = self.sender.clone();
        let reader = std::thread::Builder::new().name("reader".to_owned());
        let started = reader.spawn(move || {
            // Nobody hears it only when the process ends.
            let _ = sender.send(hear());
        });
        started
            .map(drop)
            .map_err(|error| Failure::io(format!("cannot listen to {name}: {error}"), ""))
    }
}

fn lost(what: &str, name: &str, error: &io::Error) -> Failure {
    Failure::io(format!("{what} {name}: {error}"), "")
}

/// The program's own fault: it is not what a gate can measure.
fn too_long(name: &str, span: Duration) -> Failure {
    let span = Span(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    Failure::usage(
        format!(
            "{name} had not ended after {span}, and was killed: a run ends by itself, after its warm-up and its span"
        ),
        "name a program that calls hopline_harness::main, and see by hand what it waits for",
    )
}

/// Likewise.
fn too_much(name: &str) -> Failure {
    let most = bytesize::ByteSize(OUTPUT_BYTES_MAX as u64);
    Failure::usage(
        format!(
            "{name} printed more than {most} on standard output, and was killed: a run prints one analysis"
        ),
        "name a program that calls hopline_harness::main and prints nothing else on standard output",
    )
}

/// Kills a child and waits until it is gone.
fn end(child: &mut Child) {
    // Both fail only if it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// All of a pipe, or none if that is more than `most` bytes.
fn whole(pipe: impl Read, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    pipe.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= most).then_some(bytes))
}

/// The last `most` bytes of a pipe.
fn tail(mut pipe: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; READ_BYTES];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Cut now and then, so that it is bounded and yet not moved for each read.
        if bytes.len() / 2 > most {
            bytes.drain(..bytes.len() - most);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(most));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children() -> Children {
        let (sender, events) = sync_channel(EVENTS);
        Children::new(sender, events)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_heard_to_its_end() {
        let children = children();
        let ended = children
            .run(
                &mut shell("echo out; echo err >&2; exit 3"),
                "sh",
                Errors::Kept,
                Patience::Endless,
            )
            .unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (&*ended.output, &*ended.errors),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let missing = children.run(
            &mut Command::new("/nowhere/x"),
            "x",
            Errors::Shown,
            Patience::Endless,
        );
        let Err(Halt::Failed(failure)) = missing else {
            panic!("{missing:?}");
        };
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.what.starts_with("cannot start x: "), "{failure}");
    }

    #[test]
    fn a_signal_kills_the_child_that_runs_and_starts_no_other() {
        let children = children();
        let teller = children.sender.clone();
        // Told while it runs: it says nothing by itself for an hour.
        let telling = std::thread::spawn(move || teller.send(Event::Signal(SIGTERM)).unwrap());
        let stopped = children.run(
            &mut shell("exec sleep 3600"),
            "sh",
            Errors::Shown,
            Patience::Endless,
        );
        telling.join().unwrap();
        assert_eq!(stopped.unwrap_err(), Halt::Stopped(Exit::Terminated));
        // Not even started, or this would be an error: now and when it is told before.
        let told_before = self::children();
        told_before.sender.send(Event::Signal(SIGINT)).unwrap();
        for (children, exit) in [
            (children, Exit::Terminated),
            (told_before, Exit::Interrupted),
        ] {
            for _ in 0..2 {
                let stopped = children.run(
                    &mut Command::new("/nowhere/x"),
                    "x",
                    Errors::Shown,
                    Patience::Endless,
                );
                assert_eq!(stopped.unwrap_err(), Halt::Stopped(exit));
            }
        }
    }

    #[test]
    fn a_child_that_a_signal_ended_was_stopped_and_not_broken() {
        let run = |script: &str| {
            children().run(&mut shell(script), "sh", Errors::Shown, Patience::Endless)
        };
        // Not SIGINT: a shell in the background passes on that it ignores that one.
        let stopped = run("kill -TERM $$").unwrap_err();
        assert_eq!(stopped, Halt::Stopped(Exit::Terminated));
        assert_eq!(stopped.into_failure().exit.code(), 143);
        assert_eq!(run("kill -KILL $$").unwrap().status.code(), None);
    }

    /// The process that a child told by its error output, which is kept.
    fn is_gone(pid: &str) -> bool {
        !std::path::Path::new("/proc").join(pid.trim()).exists()
    }

    #[test]
    fn a_child_that_never_ends_is_killed_when_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let patience = Patience::Until(Duration::from_millis(100));
        // With its output open, and after it was closed.
        for script in ["exec sleep 3600", "exec >&- 2>&-; exec sleep 3600"] {
            let script = format!("echo $$ >'{}'; {script}", pid.display());
            let late = children().run(&mut shell(&script), "base", Errors::Kept, patience);
            let Err(Halt::Failed(failure)) = late else {
                panic!("{late:?}");
            };
            assert_eq!(failure.exit, Exit::Usage);
            assert!(
                failure.what.starts_with("base had not ended after 100ms"),
                "{failure}"
            );
            // It may have been killed before it could say who it is.
            let pid = std::fs::read_to_string(&pid).unwrap_or_default();
            assert!(pid.is_empty() || is_gone(&pid));
        }
        let ended = children().run(
            &mut shell("exec >&-; :"),
            "sh",
            Errors::Shown,
            Patience::Until(Duration::from_secs(3600)),
        );
        assert!(ended.unwrap().status.success());
    }

    #[test]
    fn a_child_that_prints_for_ever_is_killed_when_it_has_said_too_much() {
        let patience = Patience::Endless;
        let endless = children().run(
            &mut shell("exec cat /dev/zero"),
            "base",
            Errors::Shown,
            patience,
        );
        let Err(Halt::Failed(failure)) = endless else {
            panic!("{endless:?}");
        };
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.what.starts_with("base printed more than 64"),
            "{failure}"
        );
    }

    #[test]
    fn of_many_errors_the_end_is_kept() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let kept = tail(&*text, 1000).unwrap();
        assert_eq!(kept, text[text.len() - 1000..]);
        assert_eq!(tail(&*text, usize::MAX).unwrap(), text);
        // Of an output nothing is left out.
        assert_eq!(whole(&*text, text.len()).unwrap().as_ref(), Some(&text));
        assert_eq!(whole(&*text, text.len() - 1).unwrap(), None);
    }
}
