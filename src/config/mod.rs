//! Cases from TOML: what a line is, what feeds it and what it owes.
//!
//! A case is three texts, read by whoever may open files and parsed here:
//!
//! | file | says | parsed by |
//! |---|---|---|
//! | `line.toml` | nodes, hops and threads | `line` |
//! | `load.toml` | how the line is fed when nobody else does | `load` |
//! | `budget.toml` | what hops and line owe | `owed` |
//!
//! ```text
//! bytes ─ SourceText ─→ Case::parse ─→ Case ─ draft(registry, overrides) ─→ Draft ─ check ─→ Line
//! ```
//!
//! Every key, with its default, is in `docs/CONFIG.md`.
//!
//! Invariant: opens nothing and runs nothing; whatever the bytes are, the answer is a value or all
//! that is wrong with them, each with file, line, column and what to write instead. Nobody else
//! speaks TOML.

mod case;
mod document;
mod fan;
mod input;
mod life;
mod line;
mod load;
mod overrides;
mod owed;
mod policy;
mod shares;
mod sharing;
mod source_text;

pub use case::{Case, CaseFiles, GivenNode};
pub use input::Input;
pub use load::{Content, Feed, FeedContent, FeedKind, Load, LoadChange, SEED_MAX, Via};
pub use overrides::{FeedMode, HopSetting, Overrides};
pub use owed::Slo;
pub use policy::POLICY_KEYS;
pub use source_text::SourceText;
