//! Kinds of nodes by name, so that a case can name them without this room knowing any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::stage::{Decode, Egress, Ingress, Role, Stage};

use super::params::Params;
use super::part::{Part, ReadyStage, SinkPart, SourcePart};
use super::problem::{Problem, Problems, all, closest, list};

type Factory = Box<
    dyn Fn(&mut Params, Option<Box<dyn Decode>>) -> Result<Box<dyn Part>, Problem> + Send + Sync,
>;
type DecoderFactory = Box<dyn Fn(&mut Params) -> Result<Box<dyn Decode>, Problem> + Send + Sync>;

/// Factories of sources, stages and sinks by the name of their kind. A source and a sink may have
/// the same name, as `udp` does: the role says which is meant.
///
/// ```
/// use hopline::topology::Registry;
/// use hopline::stages;
/// let registry = stages::register(Registry::new());
/// assert!(registry.kinds().any(|(kind, _)| kind == "book"));
/// ```
#[derive(Default)]
pub struct Registry {
    /// Most names have one role.
    kinds: BTreeMap<String, Vec<(Role, Factory)>>,
    /// By name.
    decoders: BTreeMap<String, DecoderFactory>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds.keys()).finish()
    }
}

impl Registry {
    /// A registry without any kind.
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    fn with(mut self, kind: &str, role: Role, factory: Factory) -> Registry {
        let roles = self.kinds.entry(kind.to_owned()).or_default();
        roles.retain(|(other, _)| *other != role);
        roles.push((role, factory));
        self
    }

    /// Adds a kind of stage. `make` gets the node's settings; a kind of the same name is replaced. It is asked again,
    /// with the same settings and on the line's loop, where a stage of that kind panicked and is made anew.
    #[must_use]
    pub fn stage<S: Stage>(
        self,
        kind: &str,
        make: impl Fn(&mut Params) -> Result<S, Problem> + Send + Sync + 'static,
    ) -> Registry {
        let make = Arc::new(make);
        let factory: Factory = Box::new(move |params, _| {
            let stage = make(params)?;
            let (make, given) = (Arc::clone(&make), params.clone());
            let again = Box::new(move || make(&mut given.clone()).map_err(|problem| problem.what));
            Ok(Box::new(ReadyStage { stage, again }) as Box<dyn Part>)
        });
        self.with(kind, Role::Stage, factory)
    }

    /// Adds a kind of source: how messages come in. `make` gets the node's settings and the
    /// decoder that its setting `decode` names: what the messages are.
    #[must_use]
    pub fn source(
        self,
        kind: &str,
        make: impl Fn(&mut Params, Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem>
        + Send
        + Sync
        + 'static,
    ) -> Registry {
        let factory: Factory = Box::new(move |params, decoder| {
            let decoder = decoder.ok_or_else(|| {
                params.problem(
                    "decode",
                    "the setting \"decode\" is missing",
                    "name what the messages are",
                )
            })?;
            Ok(Box::new(SourcePart(make(params, decoder)?)) as Box<dyn Part>)
        });
        self.with(kind, Role::Source, factory)
    }

    /// Adds a decoder that sources name by their setting `decode`.
    #[must_use]
    pub fn decoder(
        mut self,
        name: &str,
        make: impl Fn(&mut Params) -> Result<Box<dyn Decode>, Problem> + Send + Sync + 'static,
    ) -> Registry {
        self.decoders.insert(name.to_owned(), Box::new(make));
        self
    }

    /// The decoder that a source's settings name.
    fn decoder_of(&self, params: &mut Params) -> Result<Box<dyn Decode>, Problem> {
        let words: Vec<&str> = self.decoders.keys().map(String::as_str).collect();
        let named = params.word("decode", &words, |name| self.decoders.get(name))?;
        let Some(make) = named else {
            let help = format!(
                "say what its messages are: decode = \"…\", one of {}",
                list(words)
            );
            let what = "the setting \"decode\" is missing";
            return Err(params.problem("decode", what, help));
        };
        make(params)
    }

    /// The settings of a source that are its decoder's: what its messages are, whatever they come
    /// by. The others belong to its kind.
    ///
    /// # Errors
    /// No such decoder, or what its factory says.
    pub fn decode_settings(&self, params: &Params) -> Result<Params, Problem> {
        let (decoder, settings) = params.asked_by(|params| self.decoder_of(params));
        decoder.map(|_| settings)
    }

    /// Longest message that the decoder takes which a source's settings name, if it has such a bound.
    pub(crate) fn message_bytes_max(&self, params: &Params) -> Option<usize> {
        let (decoder, _) = params.asked_by(|params| self.decoder_of(params));
        decoder.ok()?.message_bytes_max()
    }

    /// Adds a kind of sink.
    #[must_use]
    pub fn sink(
        self,
        kind: &str,
        make: impl Fn(&mut Params) -> Result<Box<dyn Egress>, Problem> + Send + Sync + 'static,
    ) -> Registry {
        let factory: Factory =
            Box::new(move |params, _| Ok(Box::new(SinkPart(make(params)?)) as Box<dyn Part>));
        self.with(kind, Role::Sink, factory)
    }

    /// All kinds with their roles, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Role)> {
        self.kinds
            .iter()
            .flat_map(|(kind, roles)| roles.iter().map(|(role, _)| (kind.as_str(), *role)))
    }

    /// Makes a node of a kind from its settings.
    ///
    /// # Errors
    /// An unknown kind or one of another role, what the factory says, and settings that nobody
    /// knows. A factory that gives up may not have asked for all of its settings: then only those
    /// are named that look like one that is missing.
    pub fn make(
        &self,
        kind: &str,
        role: Role,
        params: &mut Params,
    ) -> Result<Box<dyn Part>, Problems> {
        let of_role = || {
            self.kinds()
                .filter(|(_, r)| *r == role)
                .map(|(kind, _)| kind)
        };
        let Some(roles) = self.kinds.get(kind) else {
            let help = match closest(kind, of_role()) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => all(&format!("kinds of {}", role.name()), of_role()),
            };
            let what = format!("there is no kind of {} named \"{kind}\"", role.name());
            return Err(Problem::new(what, help).at(params.place_of("kind")).into());
        };
        let Some((_, factory)) = roles.iter().find(|(is, _)| *is == role) else {
            let is: Vec<&str> = roles.iter().map(|(is, _)| is.name()).collect();
            let is = is.join(" and a ");
            let what = format!("\"{kind}\" is a {is}, not a {}", role.name());
            let help = format!("put it under [[{}]]", roles[0].0.name());
            return Err(Problem::new(what, help).at(params.place_of("kind")).into());
        };
        let made = match role {
            Role::Source => self
                .decoder_of(params)
                .and_then(|decoder| factory(params, Some(decoder))),
            _ => factory(params, None),
        };
        match made {
            Ok(part) => params.unknown().into_result(part),
            Err(problem) => {
                let mut problems = Problems::from(problem.at(params.place_of("kind")));
                problems.0.extend(params.misspelt().0);
                Err(problems)
            }
        }
    }
}
