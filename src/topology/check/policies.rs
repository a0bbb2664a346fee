//! Checks what is given of nodes by their names: what a panic of them comes to.
//!
//! Invariant: only stages get a policy; a node that the line already tells of as wrong is not told again.

use crate::stage::{OnPanic, Role};
use crate::topology::draft::DraftOnPanic;

use super::Check;

impl Check {
    /// Gives each stage the policy that was given for it by name.
    pub(super) fn take_policies(&mut self, policies: Vec<DraftOnPanic>) {
        for given in policies {
            let place = given.place.as_ref();
            let Some(at) = self.find(&given.node) else {
                self.unknown_node("on_panic", &given.node, place);
                continue;
            };
            let role = self.nodes[at].descriptor.role;
            if role != Role::Stage && given.policy != OnPanic::Stop {
                let (name, role) = (&given.node, role.name());
                let what =
                    format!("\"{name}\" is a {role}, and a {role} that panics stops the line");
                let help = "only a stage has another on_panic: leave it out here";
                self.problem(place, what, help);
                continue;
            }
            if let Err(wrong) = given.policy.check() {
                self.problem(
                    place,
                    format!("\"{}\": {}", given.node, wrong.what),
                    wrong.help,
                );
                continue;
            }
            let node = &mut self.nodes[at];
            node.on_panic = given.policy;
            node.descriptor.memory_bytes += given.policy.memory_bytes();
        }
    }
}
