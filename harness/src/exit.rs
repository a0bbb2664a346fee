//! How the command ends: one table of exit codes, and errors that carry theirs.
//!
//! Invariant: `run` judges nothing, so it never ends 1 or 2, which belong to verdicts.

use std::fmt;
use std::process::ExitCode;

use hopline::io::IoError;
use hopline::topology::{Problems, Report, StartError};

/// The exit codes of every command.
///
/// | code | name | when |
/// |---|---|---|
/// | 0 | [`Exit::Good`] | all is well; a gate's PASS, PASS_CLEAN and neutral; `--help` and `--version` |
/// | 1 | [`Exit::Fail`] | a budget does not hold, or head is slower than base |
/// | 2 | [`Exit::Inconclusive`] | no word can be said; the reason stands beside each verdict |
/// | 3 | [`Exit::Loss`] | frames were lost where none may be, the ledger is open, a node failed or hangs |
/// | 64 | [`Exit::Usage`] | the command line or a case is wrong; nothing has run |
/// | 70 | [`Exit::Defect`] | a defect of this program |
/// | 74 | [`Exit::Io`] | a file, socket, disk or the reader of the output failed |
/// | 130 | [`Exit::Interrupted`] | a signal ended it, SIGINT: the second one for `run` |
/// | 143 | [`Exit::Terminated`] | a signal ended it, SIGTERM: likewise |
///
/// Over many verdicts the worst wins: 3, then 1, then 2, then 0.
///
/// The numbers from 64 on are those of BSD's `sysexits.h`; 130 and 143 are the shell's 128 + signal. `run`
/// drains at the first signal; `bench` and `gate` write what was measured by then, marked as partial. The
/// other commands have nothing to show for a part and catch no signal: the first one kills them, which
/// the shell shows by the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Good = 0,
    /// A verdict is FAIL.
    Fail = 1,
    /// A verdict is INCONCLUSIVE, and none is FAIL.
    Inconclusive = 2,
    /// Loss, or a broken invariant.
    Loss = 3,
    /// The command line or a case is wrong.
    Usage = 64,
    /// A defect of this program.
    Defect = 70,
    /// A file, a socket, the disk, or the reader of the output.
    Io = 74,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// How a run ends, by its report. An I/O fault wins over the loss that it causes: it is the
    /// cause to mend.
    #[must_use]
    pub fn of(report: &Report) -> Exit {
        let faults = report
            .stages
            .iter()
            .filter_map(|stage| stage.fault.as_deref());
        if faults.into_iter().any(|fault| fault.starts_with("i/o:")) {
            Exit::Io
        } else if report.is_good() {
            Exit::Good
        } else {
            Exit::Loss
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// What ended a command before its work was done: the words for a person, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Failure {
    /// A wrong command line or case.
    pub(crate) fn usage(what: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Usage,
            what: what.into(),
            help: help.into(),
        }
    }

    /// A file, socket or disk.
    pub(crate) fn io(what: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Io,
            ..Failure::usage(what, help)
        }
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Failure {
        Failure::io(error.to_string(), error.hint().unwrap_or(""))
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        let each: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        Failure::usage(each.join("\nerror: "), "")
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        let what = error.to_string();
        match error {
            StartError::Open { error, .. } => Failure::io(what, error.hint().unwrap_or("")),
            StartError::Thread { .. } => Failure::io(
                what,
                "the system gave no thread or poll: `ulimit -u` and `ulimit -n` show the limits",
            ),
            StartError::Memory(_) => Failure::usage(
                what,
                "write \"prefer\" to run without it; the report then says what was granted",
            ),
            StartError::Pin { .. } => Failure::usage(
                what,
                "write --pin prefer to run without that pin, or choose an allowed core",
            ),
            _ => Failure::usage(what, ""),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if self.help.is_empty() {
            return Ok(());
        }
        write!(f, "\n  help: {}", self.help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_table() {
        let codes = [
            (Exit::Good, 0),
            (Exit::Fail, 1),
            (Exit::Inconclusive, 2),
            (Exit::Loss, 3),
            (Exit::Usage, 64),
            (Exit::Defect, 70),
            (Exit::Io, 74),
            (Exit::Interrupted, 130),
            (Exit::Terminated, 143),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn a_failure_shows_its_help_on_a_line_of_its_own() {
        let failure = Failure::usage("no such case", "write a folder");
        assert_eq!(
            failure.to_string(),
            "error: no such case\n  help: write a folder"
        );
        assert_eq!(
            Failure::io("cannot read", "").to_string(),
            "error: cannot read"
        );
    }
}
