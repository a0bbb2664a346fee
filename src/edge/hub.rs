//! All channels, by their names.
//!
//! Invariant: a channel's place never changes, and there are no more of them than the hub was made for.

use std::collections::{HashMap, HashSet};

use super::channel::{Channel, ChannelLimits, Lane};
use super::client::ClientKey;
use super::lanes::ChannelId;
use super::name::{ChannelName, NameFault};
use super::position::Epoch;
use super::published::{NotPublished, Outline};
use crate::base::limits::EDGE_HUB_CHANNELS_MAX;

/// Why there is no such channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChannel {
    /// It cannot be called so.
    BadName(NameFault),
    /// There are as many as there may be.
    TooMany,
}

impl core::fmt::Display for NoChannel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            NoChannel::BadName(fault) => fault.fmt(f),
            NoChannel::TooMany => f.write_str("there are as many channels as there may be"),
        }
    }
}

impl core::error::Error for NoChannel {}

/// Channels, by their names and numbers.
///
/// ```
/// use hopline::edge::{Epoch, Hub, Lane, ChannelLimits};
/// let mut hub = Hub::new(Epoch(7));
/// let trades = hub.open("trades/btc", Lane::Stream, ChannelLimits::default())?;
/// assert_eq!(hub.find("trades/btc"), Some(trades));
/// assert_eq!(hub.open("trades/btc", Lane::Stream, ChannelLimits::default())?, trades);
/// assert!(hub.open("trades", Lane::Stream, ChannelLimits::default()).is_err());
/// # Ok::<(), hopline::edge::NoChannel>(())
/// ```
#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    channels: Vec<Channel>,
    by_name: HashMap<Box<str>, u32>,
    /// Who follows each of them.
    followers: Vec<HashSet<ClientKey>>,
    all_followers: u64,
    /// How often somebody began or ended to follow.
    follower_changes: u64,
    /// Those that have published since they were last asked for.
    news: Vec<ChannelId>,
    has_news: Vec<bool>,
}

impl Hub {
    /// A hub without channels, whose events are numbered under that epoch.
    #[must_use]
    pub fn new(epoch: Epoch) -> Hub {
        Hub {
            epoch,
            channels: Vec::new(),
            by_name: HashMap::new(),
            followers: Vec::new(),
            all_followers: 0,
            follower_changes: 0,
            news: Vec::new(),
            has_news: Vec::new(),
        }
    }

    /// Its numbering.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The channel of that name; made if there is none yet.
    ///
    /// # Errors
    /// It cannot be called so, or there are too many.
    pub fn open(
        &mut self,
        name: &str,
        lane: Lane,
        limits: ChannelLimits,
    ) -> Result<ChannelId, NoChannel> {
        self.add(name, |name, epoch| Channel::new(name, lane, limits, epoch))
    }

    /// The channel of that name whose events pass and have no numbers; made if there is none yet.
    ///
    /// # Errors
    /// It cannot be called so, or there are too many.
    pub fn open_passing(
        &mut self,
        name: &str,
        limits: ChannelLimits,
    ) -> Result<ChannelId, NoChannel> {
        self.add(name, |name, epoch| Channel::passing(name, limits, epoch))
    }

    fn add(
        &mut self,
        name: &str,
        make: impl FnOnce(&str, Epoch) -> Channel,
    ) -> Result<ChannelId, NoChannel> {
        if let Some(id) = self.find(name) {
            return Ok(id);
        }
        ChannelName::new(name).map_err(NoChannel::BadName)?;
        if self.channels.len() >= EDGE_HUB_CHANNELS_MAX {
            return Err(NoChannel::TooMany);
        }
        let id = self.channels.len() as u32;
        self.channels.push(make(name, self.epoch));
        self.has_news.push(false);
        self.followers.push(HashSet::new());
        self.by_name.insert(name.into(), id);
        Ok(ChannelId(id))
    }

    /// The channel of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.by_name.get(name).map(|id| ChannelId(*id))
    }

    /// That channel.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(id.0 as usize)
    }

    /// That channel, to ask for a snapshot.
    pub fn channel_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(id.0 as usize)
    }

    /// All of them, by their numbers.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Publishes an event, and says its number in its channel.
    ///
    /// # Errors
    /// It is none for that channel; nothing was published.
    pub fn publish(&mut self, id: ChannelId, outline: &Outline<'_>) -> Result<u64, NotPublished> {
        let channel = self.channels.get_mut(id.0 as usize);
        let channel = channel.ok_or(NotPublished::NoChannel)?;
        channel.publish(outline)?;
        let last = channel.last();
        if !core::mem::replace(&mut self.has_news[id.0 as usize], true) {
            self.news.push(id);
        }
        Ok(last)
    }

    /// One of the channels that have published since it was last given here.
    pub fn take_news(&mut self) -> Option<ChannelId> {
        let id = self.news.pop()?;
        self.has_news[id.0 as usize] = false;
        Some(id)
    }

    /// A client follows that channel from here on.
    pub(super) fn follow(&mut self, id: ChannelId, key: ClientKey) {
        if let Some(followers) = self.followers.get_mut(id.0 as usize) {
            self.all_followers += u64::from(followers.insert(key));
            self.follower_changes += 1;
        }
    }

    /// It does no longer.
    pub(super) fn unfollow(&mut self, id: ChannelId, key: ClientKey) {
        if let Some(followers) = self.followers.get_mut(id.0 as usize) {
            self.all_followers -= u64::from(followers.remove(&key));
            self.follower_changes += 1;
        }
    }

    /// Those who follow it.
    pub(super) fn followers(&self, id: ChannelId) -> impl Iterator<Item = ClientKey> + '_ {
        self.followers
            .get(id.0 as usize)
            .into_iter()
            .flatten()
            .copied()
    }

    /// How many channels are followed, all clients together.
    #[must_use]
    pub fn all_followers(&self) -> u64 {
        self.all_followers
    }

    /// Another number as soon as somebody else follows a channel.
    pub(super) fn follower_changes(&self) -> u64 {
        self.follower_changes
    }

    /// Of each channel whether anybody follows it, in the order in which they were opened.
    pub(super) fn followed(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        self.followers.iter().map(|followers| !followers.is_empty())
    }

    /// How many follow it.
    #[must_use]
    pub fn follower_count(&self, id: ChannelId) -> usize {
        self.followers.get(id.0 as usize).map_or(0, HashSet::len)
    }
}
