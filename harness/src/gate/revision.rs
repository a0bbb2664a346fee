//! A base that is a revision of the user's own repository: built in a worktree of its own, as head was.
//!
//! ```text
//!   git rev-parse ─→ git worktree add (temporary) ─→ cargo build ─→ the binary, copied ─→ worktree removed
//! ```
//!
//! What cargo builds lies in a folder below the user's target folder, so that a second gate builds what changed. The copy
//! is the gate's own: another gate that builds meanwhile does not change it.
//!
//! Invariant: the worktree is gone when [`build`] returns, however it does; the user's own tree is never touched.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::child::{Children, Ended, Errors, Halt, Patience};
use crate::exit::Failure;

/// The folder below the target folder that bases are built in.
const FOLDER: &str = "hopline-base";

/// Digits of a commit that people read.
const SHORT: usize = 12;

/// Last lines of a build's errors that are shown: an error of the compiler has some ten.
const LINES_SHOWN: usize = 24;

/// What git would take for another repository than that of the folder: set in its hooks, for one.
const GIT_PLACES: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"];

/// Which revision, and which of its binaries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// As the user wrote it: a branch, a tag, `HEAD~1`, a commit.
    pub(crate) revision: &'a str,
    /// The binary's name, if it is not that of the program that is measured.
    pub(crate) bin: Option<&'a str>,
}

/// A base that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its binary, for as long as this lives.
    pub(crate) program: PathBuf,
    /// `REV (commit)`.
    pub(crate) name: String,
    /// What was built, and how.
    pub(crate) note: String,
    _folder: TempDir,
}

/// Builds the binary of a revision like `head`: the same name, in the same profile.
///
/// # Errors
/// No repository here, no such revision, no cargo, no such binary in it, a build that fails, a disk that does; or a signal.
pub(crate) fn build(children: &Children, wanted: Wanted<'_>, head: &Path) -> Result<Built, Halt> {
    let revision = wanted.revision;
    let bin = match wanted.bin {
        Some(bin) => bin.to_owned(),
        None => name_of(head)?,
    };
    let here = Repository::here(children)?;
    let commit = here.commit(children, revision)?;
    let name = format!("{revision} ({})", &commit[..SHORT.min(commit.len())]);
    let tree = Tree::add(children, &here, &commit)?;
    let profile = profile_of(head);
    let target = here.target(head).join(FOLDER);
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--profile", &profile, "--bin", &bin])
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(tree.folder(&here.prefix));
    for place in GIT_PLACES {
        cargo.env_remove(place);
    }
    let name_of_cargo = "cargo, which builds the base";
    let ended = children.run(&mut cargo, name_of_cargo, Errors::Kept, Patience::Endless)?;
    if !ended.status.success() {
        return Err(Halt::Failed(Failure::usage(
            format!(
                "the base {name} does not build:\n{}",
                last_lines(&ended.errors)
            ),
            format!(
                "its binary \"{bin}\" was asked of cargo build --profile {profile}; name another one with --base-bin, or build a base \
                 by hand and name it with --base"
            ),
        )));
    }
    let made = executable(&ended.output, &bin).ok_or_else(|| {
        Failure::usage(
            format!("the base {name} was built, and cargo names no binary \"{bin}\""),
            "name its binary with --base-bin",
        )
    })?;
    let (program, folder) = kept(&made, &target)?;
    Ok(Built {
        program,
        note: format!(
            "base is {name}, built by cargo build --profile {profile} --bin {bin}; head must have been built in the same way"
        ),
        name,
        _folder: folder,
    })
}

/// The name of the binary that `head` is.
fn name_of(head: &Path) -> Result<String, Failure> {
    let name = head.file_name().and_then(OsStr::to_str);
    name.map(str::to_owned).ok_or_else(|| {
        Failure::usage(
            format!("{} has no name that cargo could know", head.display()),
            "name the base's binary with --base-bin",
        )
    })
}

/// The profile that a binary was built in, by the folder that it lies in.
fn profile_of(head: &Path) -> String {
    let folder = head.parent().and_then(Path::file_name);
    let profile = match folder.and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(profile) if target_of(head).is_some() => profile,
        _ => "release",
    };
    profile.to_owned()
}

/// The target folder that a binary lies in: cargo marks it.
fn target_of(head: &Path) -> Option<&Path> {
    let mut above = head.ancestors().skip(1);
    above.find(|folder| folder.join("CACHEDIR.TAG").is_file())
}

/// The user's repository.
#[derive(Debug)]
struct Repository {
    top: PathBuf,
    /// Where in it the command was given.
    prefix: PathBuf,
}

impl Repository {
    fn here(children: &Children) -> Result<Repository, Halt> {
        let ended = git(children, None, &["rev-parse", "--show-toplevel"])?;
        if !ended.status.success() {
            return Err(Halt::Failed(Failure::usage(
                format!(
                    "--base-rev needs a git repository, and this folder is in none: {}",
                    one_line(&ended.errors)
                ),
                "change into your crate's folder, or build a base by hand and name it with --base",
            )));
        }
        let top = path(&ended.output);
        let ended = git(children, None, &["rev-parse", "--show-prefix"])?;
        Ok(Repository {
            top,
            prefix: path(&ended.output),
        })
    }

    fn commit(&self, children: &Children, revision: &str) -> Result<String, Halt> {
        let commit = format!("{revision}^{{commit}}");
        let asked = ["rev-parse", "--verify", "--end-of-options", &commit];
        let ended = git(children, Some(&self.top), &asked)?;
        let hash = String::from_utf8_lossy(&ended.output).trim().to_owned();
        if ended.status.success() && hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(hash);
        }
        Err(Halt::Failed(Failure::usage(
            format!(
                "there is no revision \"{revision}\" in {}: {}",
                self.top.display(),
                one_line(&ended.errors)
            ),
            "name a branch, a tag or a commit; a shallow clone has only its last ones (git fetch --unshallow)",
        )))
    }

    /// The folder that the user's cargo builds into.
    fn target(&self, head: &Path) -> PathBuf {
        if let Some(target) = std::env::var_os("CARGO_TARGET_DIR").filter(|text| !text.is_empty()) {
            return std::path::absolute(&target).unwrap_or_else(|_| target.into());
        }
        if let Some(target) = target_of(head).filter(|target| target.starts_with(&self.top)) {
            return target.to_owned();
        }
        let from = self.top.join(&self.prefix);
        let mut above = from
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.top));
        above
            .find(|folder| folder.join("Cargo.lock").is_file())
            .unwrap_or(&self.top)
            .join("target")
    }
}

/// A worktree in a temporary folder, until it is dropped.
#[derive(Debug)]
struct Tree {
    top: PathBuf,
    path: PathBuf,
    _folder: TempDir,
}

impl Tree {
    fn add(children: &Children, here: &Repository, commit: &str) -> Result<Tree, Halt> {
        let folder = tempfile::Builder::new()
            .prefix("hopline-base-")
            .tempdir()
            .map_err(|error| {
                Failure::io(format!("cannot make a folder for the base: {error}"), "")
            })?;
        let path = folder.path().join("tree");
        // Before it is added: a signal in between must not leave it either.
        let tree = Tree {
            top: here.top.clone(),
            path,
            _folder: folder,
        };
        let mut add = at(&here.top);
        // The user's hooks are about the user's own tree.
        add.args(["-c", "core.hooksPath=/dev/null", "worktree", "add"]);
        add.args(["--quiet", "--detach"])
            .arg(&tree.path)
            .arg(commit);
        let ended = children.run(&mut add, "git", Errors::Kept, Patience::Endless)?;
        if ended.status.success() {
            return Ok(tree);
        }
        Err(Halt::Failed(Failure::io(
            format!(
                "git cannot check the base out into {}:\n{}",
                tree.path.display(),
                last_lines(&ended.errors)
            ),
            "see that there is room, or build a base by hand and name it with --base",
        )))
    }

    /// The folder in it that is like the one in which the command was given, if the revision has it.
    fn folder(&self, prefix: &Path) -> PathBuf {
        let same = self.path.join(prefix);
        if same.is_dir() {
            same
        } else {
            self.path.clone()
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let quietly = |args: &[&OsStr]| {
            let mut git = at(&self.top);
            git.args(args).stdin(Stdio::null());
            // What it cannot remove is in a temporary folder, and forgotten by the next prune.
            let _ = git.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        let words = ["worktree", "remove", "--force"].map(OsStr::new);
        quietly(&[&words[..], &[self.path.as_os_str()]].concat());
        quietly(&["worktree", "prune"].map(OsStr::new));
    }
}

/// git in the user's repository.
fn at(top: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(top);
    git
}

fn git(children: &Children, top: Option<&Path>, args: &[&str]) -> Result<Ended, Halt> {
    let mut git = top.map_or_else(|| Command::new("git"), at);
    children.run(git.args(args), "git", Errors::Kept, Patience::Endless)
}

/// The binary of that name, as cargo's messages have it.
fn executable(messages: &[u8], bin: &str) -> Option<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let mut artefacts =
        lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    artefacts.find_map(|message| {
        let is_bin = message["target"]["kind"] == serde_json::json!(["bin"])
            && message["target"]["name"] == bin;
        let path = message["executable"].as_str().filter(|_| is_bin)?;
        Some(PathBuf::from(path))
    })
}

/// A copy of the binary that nobody else writes.
fn kept(made: &Path, target: &Path) -> Result<(PathBuf, TempDir), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::io(
            format!("cannot copy the base {}: {error}", made.display()),
            "see that there is room below the target folder",
        )
    };
    let folder = tempfile::Builder::new()
        .prefix("gate-")
        .tempdir_in(target)
        .map_err(cannot)?;
    let program = folder
        .path()
        .join(made.file_name().unwrap_or(made.as_os_str()));
    std::fs::copy(made, &program).map_err(cannot)?;
    Ok((program, folder))
}

/// What git printed as a path.
fn path(output: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let line = output.strip_suffix(b"\n").unwrap_or(output);
    PathBuf::from(OsStr::from_bytes(line))
}

/// The last lines of a program's errors.
fn last_lines(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    let indented: Vec<String> = last.iter().map(|line| format!("  {line}")).collect();
    indented.join("\n")
}

/// The first line of them, for an error in one line.
fn one_line(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("git says nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_says_by_its_place_how_a_base_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let profile = |path: &str| profile_of(&target.join(path));
        // Outside of a target folder a binary says nothing, except by a name that only cargo gives.
        assert_eq!(profile("bench/mine"), "release");
        assert_eq!(profile("debug/mine"), "dev");
        std::fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        assert_eq!(profile("bench/mine"), "bench");
        assert_eq!(profile("release/mine"), "release");
        assert_eq!(profile("x86_64-unknown-linux-gnu/release/mine"), "release");
        assert_eq!(target_of(&target.join("release/mine")), Some(&*target));
        assert_eq!(profile_of(Path::new("mine")), "release");
        assert_eq!(name_of(&target.join("release/mine")).unwrap(), "mine");
        assert!(name_of(Path::new("/")).is_err());
    }

    #[test]
    fn the_binary_is_the_one_that_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"mine"},"executable":null}
            not json
            {"reason":"compiler-artifact","target":{"kind":["bin"],"name":"other"},"executable":"/t/other"}
            {"reason":"compiler-artifact","target":{"kind":["bin"],"name":"mine"},"executable":"/t/x/mine"}
            {"reason":"build-finished","success":true}"#;
        let of = |bin: &str| executable(messages.as_bytes(), bin);
        assert_eq!(of("mine"), Some("/t/x/mine".into()));
        assert_eq!(of("else"), None);
    }

    #[test]
    fn of_errors_the_last_lines_are_shown() {
        let many: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let shown = last_lines(many.as_bytes());
        assert_eq!(shown.lines().count(), LINES_SHOWN);
        assert!(shown.ends_with("  line 99"), "{shown}");
        assert_eq!(last_lines(b""), "");
        assert_eq!(one_line(b"\nfatal: no\nmore"), "fatal: no");
        assert_eq!(path(b"a/b\n"), Path::new("a/b"));
    }
}
