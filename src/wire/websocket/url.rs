//! Where a `ws://` leads (RFC 6455, section 3).
//!
//! Invariant: nothing is looked up: a host is a name or an address as it is written.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::handshake::Opening;

/// The port of a URL that names none (RFC 6455, section 3).
pub const PORT_DEFAULT: u16 = 80;

crate::reasons! {
    /// Why a text is no URL of a WebSocket.
    pub enum UrlFault {
        /// It asks for TLS, which nothing here speaks.
        Tls = "wss",
        /// It does not begin with `ws://`.
        Scheme = "bad_scheme",
        /// A name or a password in front of the host.
        User = "user_in_url",
        /// No host, or none that may stand there.
        Host = "bad_host",
        /// A port that is none.
        Port = "bad_port",
        /// A path that may not stand in a request, or a fragment behind it.
        Target = "bad_target",
    }
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlFault::Tls => "\"wss\" is a WebSocket over TLS, which is not spoken here",
            UrlFault::Scheme => "it does not begin with ws://",
            UrlFault::User => "a user in a URL is not sent",
            UrlFault::Host => "it names no host",
            UrlFault::Port => "its port is none",
            UrlFault::Target => "its path has characters that may not stand in a request",
        })
    }
}

impl core::error::Error for UrlFault {}

/// A URL of a WebSocket, in its parts.
///
/// ```
/// use hopline::wire::websocket::{Url, UrlFault};
/// let url = Url::parse("ws://127.0.0.1:9443/ws?streams=btcusdt@trade").unwrap();
/// assert_eq!(url.authority, "127.0.0.1:9443");
/// assert_eq!(url.target, "/ws?streams=btcusdt@trade");
/// assert_eq!(url.address().unwrap().port(), 9443);
/// assert_eq!(Url::parse("wss://stream.example/ws"), Err(UrlFault::Tls));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port as they are written: what the header `Host` says.
    pub authority: String,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port, [`PORT_DEFAULT`] if none is written.
    pub port: u16,
    /// Path and query, `/` if there is none.
    pub target: String,
}

impl Url {
    /// Takes a text apart.
    ///
    /// # Errors
    /// It is none that this can connect to.
    pub fn parse(text: &str) -> Result<Url, UrlFault> {
        let begins = |scheme: &str| {
            text.get(..scheme.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        };
        if begins("wss://") {
            return Err(UrlFault::Tls);
        }
        if !begins("ws://") {
            return Err(UrlFault::Scheme);
        }
        let rest = &text["ws://".len()..];
        let (authority, target) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlFault::User);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or(UrlFault::Host)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(UrlFault::Port)?),
                };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            None => PORT_DEFAULT,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 && !digits.starts_with('+') => port,
                _ => return Err(UrlFault::Port),
            },
        };
        let target = match target {
            query if query.starts_with('?') || query.is_empty() => format!("/{query}"),
            path => path.to_owned(),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(UrlFault::Host);
        }
        if Opening::new(authority, &target).is_none() {
            return Err(UrlFault::Target);
        }
        Ok(Url {
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// Where it leads, if its host is an address in numbers.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_as_they_are_written() {
        for (text, authority, host, port, target) in [
            ("ws://a", "a", "a", 80, "/"),
            ("WS://a.b:8/", "a.b:8", "a.b", 8, "/"),
            ("ws://[::1]:9/x?y=/z", "[::1]:9", "::1", 9, "/x?y=/z"),
            ("ws://[::1]", "[::1]", "::1", 80, "/"),
            ("ws://1.2.3.4?q", "1.2.3.4", "1.2.3.4", 80, "/?q"),
        ] {
            let url = Url::parse(text).unwrap();
            let parts = (&*url.authority, &*url.host, url.port, &*url.target);
            assert_eq!(parts, (authority, host, port, target), "{text}");
        }
        let address = |text: &str| Url::parse(text).unwrap().address();
        assert_eq!(address("ws://[::1]:9"), "[::1]:9".parse().ok());
        assert_eq!(address("ws://1.2.3.4"), "1.2.3.4:80".parse().ok());
        assert_eq!(address("ws://stream.example:9"), None);
    }

    #[test]
    fn what_is_none_is_named() {
        for (text, fault) in [
            ("wss://a", UrlFault::Tls),
            ("http://a", UrlFault::Scheme),
            ("127.0.0.1:80", UrlFault::Scheme),
            ("", UrlFault::Scheme),
            ("ws://", UrlFault::Host),
            ("ws://:80", UrlFault::Host),
            ("ws://[::1", UrlFault::Host),
            ("ws://a b/", UrlFault::Host),
            ("ws://me:secret@a/", UrlFault::User),
            ("ws://a:", UrlFault::Port),
            ("ws://a:0", UrlFault::Port),
            ("ws://a:65536", UrlFault::Port),
            ("ws://a:+1", UrlFault::Port),
            ("ws://[::1]x", UrlFault::Port),
            ("ws://a/ü", UrlFault::Target),
            ("ws://a/x y", UrlFault::Target),
            ("ws://a/#x", UrlFault::Target),
        ] {
            assert_eq!(Url::parse(text), Err(fault), "{text}");
        }
    }
}
