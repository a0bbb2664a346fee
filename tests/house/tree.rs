//! The files of the project: what git knows, or without git what lies there.
//!
//! Invariant: paths are relative to the root and use `/`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// All text files below `root` that belong to the project, sorted.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output();
    let mut out: Vec<String> = match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split_terminator('\0')
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    if out.is_empty() {
        // No git, no repository, or a copy inside an ignored folder.
        walk(root, "", &mut out);
    }
    out.retain(|file| root.join(file).is_file());
    out.sort();
    out
}

fn walk(root: &Path, below: &str, out: &mut Vec<String>) {
    let entries = fs::read_dir(root.join(below)).expect("a folder of the project can be read");
    for entry in entries {
        let name = entry.expect("an entry can be read").file_name();
        let name = name.to_string_lossy();
        let path = if below.is_empty() {
            name.to_string()
        } else {
            format!("{below}/{name}")
        };
        if root.join(&path).is_dir() {
            if !matches!(name.as_ref(), "target" | ".git" | "out") {
                walk(root, &path, out);
            }
        } else {
            out.push(path);
        }
    }
}

/// The text of a file of the project; empty if it is not text.
pub(crate) fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap_or_default()
}

/// A small project in a temporary folder, for planted faults.
pub(crate) fn plant(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder is made");
        fs::write(path, text).expect("a file is written");
    }
    folder
}
