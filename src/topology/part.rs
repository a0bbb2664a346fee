//! A node before it runs: a description that becomes a node when its hops exist.

use crate::stage::{
    Descriptor, Egress, Ingress, Make, Node, Stage, Wiring, describe, describe_egress,
    describe_ingress, sink_node, source_node, stage_node,
};

use super::problem::Problem;

/// What a registry's factory or the builder makes of a node's settings.
pub trait Part: Send {
    /// What can be said of it before it runs.
    fn descriptor(&self) -> Descriptor;

    /// Becomes a node.
    fn into_node(self: Box<Self>, wiring: Wiring) -> Box<dyn Node>;
}

pub(crate) struct StagePart<F>(pub(crate) F);

impl<S: Stage, F: Fn() -> S + Send + 'static> Part for StagePart<F> {
    /// Without the stage's own allocations: the factory runs only when the line starts.
    fn descriptor(&self) -> Descriptor {
        describe::<S>()
    }

    fn into_node(self: Box<Self>, wiring: Wiring) -> Box<dyn Node> {
        let stage = (self.0)();
        stage_node(stage, Box::new(move || Ok((self.0)())), wiring)
    }
}

/// A stage that was made to see whether its settings are right, and what makes another one of them.
pub(crate) struct ReadyStage<S> {
    pub(crate) stage: S,
    pub(crate) again: Make<S>,
}

impl<S: Stage> Part for ReadyStage<S> {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            memory_bytes: size_of::<S>() + self.stage.memory_bytes(),
            ..describe::<S>()
        }
    }

    fn into_node(self: Box<Self>, wiring: Wiring) -> Box<dyn Node> {
        stage_node(self.stage, self.again, wiring)
    }
}

pub(crate) struct SourcePart(pub(crate) Box<dyn Ingress>);

impl Part for SourcePart {
    fn descriptor(&self) -> Descriptor {
        describe_ingress(self.0.as_ref())
    }

    fn into_node(self: Box<Self>, wiring: Wiring) -> Box<dyn Node> {
        source_node(self.0, wiring)
    }
}

pub(crate) struct SinkPart(pub(crate) Box<dyn Egress>);

impl Part for SinkPart {
    fn descriptor(&self) -> Descriptor {
        describe_egress(self.0.as_ref())
    }

    fn into_node(self: Box<Self>, wiring: Wiring) -> Box<dyn Node> {
        sink_node(self.0, wiring)
    }
}

/// What may stand as a source in the builder: an ingress, or a description that becomes one.
pub trait IntoSource {
    /// The ingress.
    ///
    /// # Errors
    /// What is wrong with the description.
    fn into_source(self) -> Result<Box<dyn Ingress>, Problem>;
}

impl<I: Ingress> IntoSource for I {
    fn into_source(self) -> Result<Box<dyn Ingress>, Problem> {
        Ok(Box::new(self))
    }
}

/// What may stand as a sink in the builder: an egress, or a description that becomes one.
pub trait IntoSink {
    /// The egress.
    ///
    /// # Errors
    /// What is wrong with the description.
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem>;
}

impl<E: Egress> IntoSink for E {
    fn into_sink(self) -> Result<Box<dyn Egress>, Problem> {
        Ok(Box::new(self))
    }
}
