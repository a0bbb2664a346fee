//! What `line.toml` says of a node's panics: `on_panic` and what belongs to it.
//!
//! Invariant: a stage's own settings are not looked at.

use crate::base::limits::PANICS_MAX;
use crate::stage::{OnPanic, Role};
use crate::topology::{Params, Problem};

/// The settings that only say more of a policy that does not stop.
const PANICS_MAX_KEY: &str = "panics_max";
const PANICS_WITHIN: &str = "panics_within";
const RESTART_AFTER: &str = "restart_after";
const RESTART_AFTER_MAX: &str = "restart_after_max";

/// The policy of a node; the one that stops where nothing is said.
///
/// # Errors
/// Another word, a number out of bounds, a setting that has no effect, or a policy for a node that has none.
pub(super) fn on_panic(role: Role, params: &mut Params) -> Result<OnPanic, Problem> {
    if role != Role::Stage {
        return only_stop(role, params);
    }
    let words = OnPanic::ALL.map(OnPanic::name);
    let policy = params.word("on_panic", &words, OnPanic::parse);
    // All are looked at before one of them fails, or the others would be called unknown.
    let most = params.count(PANICS_MAX_KEY, 0, 1..=u64::from(PANICS_MAX));
    let within = params.span_ns(PANICS_WITHIN);
    let after = params.span_ns(RESTART_AFTER);
    let after_max = params.span_ns(RESTART_AFTER_MAX);
    let mut policy = policy?.unwrap_or_default();
    let given = [
        (PANICS_MAX_KEY, policy == OnPanic::Stop),
        (PANICS_WITHIN, policy == OnPanic::Stop),
        (RESTART_AFTER, !matches!(policy, OnPanic::Restart { .. })),
        (
            RESTART_AFTER_MAX,
            !matches!(policy, OnPanic::Restart { .. }),
        ),
    ];
    let is_idle = |(key, idle): &&(&str, bool)| *idle && params.has(key);
    if let Some((key, _)) = given.iter().find(is_idle) {
        let what = format!(
            "\"{key}\" has no effect where on_panic = \"{}\"",
            policy.name()
        );
        let help = match *key {
            RESTART_AFTER | RESTART_AFTER_MAX => "write on_panic = \"restart\", or remove it",
            _ => "write on_panic = \"skip\" or on_panic = \"restart\", or remove it",
        };
        return Err(params.problem(key, what, help));
    }
    let (given_most, given_within) = (most? as u32, within?);
    let (given_after, given_after_max) = (after?, after_max?);
    match &mut policy {
        OnPanic::Stop => {}
        OnPanic::Skip { most, within_ns }
        | OnPanic::Restart {
            most, within_ns, ..
        } => {
            *most = if given_most > 0 { given_most } else { *most };
            *within_ns = given_within.unwrap_or(*within_ns);
        }
    }
    if let OnPanic::Restart {
        after_ns,
        after_max_ns,
        ..
    } = &mut policy
    {
        *after_ns = given_after.unwrap_or(*after_ns);
        // A first wait beyond the usual longest one is meant as it is.
        *after_max_ns = given_after_max.unwrap_or((*after_max_ns).max(*after_ns));
    }
    let checked = policy.check();
    checked.map_err(|wrong| params.problem(wrong.setting, wrong.what, wrong.help))?;
    Ok(policy)
}

/// A source and a sink have one policy, which may be said.
fn only_stop(role: Role, params: &mut Params) -> Result<OnPanic, Problem> {
    if !params.has("on_panic") {
        return Ok(OnPanic::Stop);
    }
    match params.text("on_panic")?.as_deref() {
        None | Some("stop") => Ok(OnPanic::Stop),
        Some(_) => {
            let role = role.name();
            let what = format!("a {role} that panics stops the line: it has no other \"on_panic\"");
            Err(params.problem("on_panic", what, "remove it, or write on_panic = \"stop\""))
        }
    }
}
