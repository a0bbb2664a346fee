//! Which hosts are this server, and which pages may talk to it.
//!
//! A browser lets any page open a WebSocket to any server, and says in `Origin` which page it was (RFC 6455, section 10.2). It also
//! lets a page whose name suddenly leads to 127.0.0.1 (DNS rebinding) talk to a server there as if it were its own; what gives that
//! away is the name in `Host`. So a request is taken if both hold:
//!
//! | header | is right |
//! |---|---|
//! | `Host`, or the host of an absolute target | an address, `localhost`, or a name that was given to [`Access::host`] |
//! | `Origin` | absent (no browser, or a page that only asks its own server), the same host and port, or given to [`Access::origin`] |
//!
//! An address in `Host` is always right, for a page cannot be led to another server by an address. `Origin: null`, which pages
//! without an origin send, is refused like any other that is not ours.
//!
//! Invariant: what a page of another origin could make a browser send is refused.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::borrow::Cow;

use crate::wire::http::Request;

use super::Problem;

/// Who may talk to this server. By default whoever reaches it by an address or as `localhost`, and its own pages.
///
/// ```
/// use hopline::edge::{Access, Problem};
/// use hopline::wire::http::{RequestLimits, Requests};
/// let access = Access::default().host("edge.example");
/// let check = |host: &str, origin: &str| {
///     let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
///     let mut requests = Requests::new(RequestLimits::default());
///     let request = requests.poll(&mut text.as_bytes()).unwrap().unwrap();
///     access.check(&request)
/// };
/// assert_eq!(check("127.0.0.1:8080", "http://127.0.0.1:8080"), Ok(()));
/// assert_eq!(check("edge.example", "https://edge.example"), Ok(()));
/// assert_eq!(check("127.0.0.1:8080", "http://evil.example"), Err(Problem::ForgedOrigin));
/// assert_eq!(check("evil.example:8080", "http://evil.example:8080"), Err(Problem::WrongHost));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    hosts: Vec<Cow<'static, str>>,
    origins: Vec<Cow<'static, str>>,
}

impl Access {
    /// That name, without a port, is this server too.
    #[must_use]
    pub fn host(mut self, name: impl Into<Cow<'static, str>>) -> Access {
        self.hosts.push(name.into());
        self
    }

    /// Pages of that origin, as in `https://grafana.example:3000`, may talk to this server too.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<Cow<'static, str>>) -> Access {
        self.origins.push(origin.into());
        self
    }

    /// Whether the request may be answered.
    ///
    /// # Errors
    /// [`Problem::WrongHost`] or [`Problem::ForgedOrigin`].
    pub fn check(&self, request: &Request<'_>) -> Result<(), Problem> {
        let authority = authority(request);
        if authority.is_some_and(|authority| !self.is_ours(authority)) {
            return Err(Problem::WrongHost);
        }
        let mut origins = request.headers.all("origin");
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if self.may_talk(origin, authority) => Ok(()),
            _ => Err(Problem::ForgedOrigin),
        }
    }

    /// Whether that host, with its port, is this server.
    fn is_ours(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else {
            return false;
        };
        if let Some(address) = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return address.parse::<Ipv6Addr>().is_ok();
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.parse::<Ipv4Addr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|ours| host.eq_ignore_ascii_case(ours))
    }

    /// Whether pages of that origin may talk to this server, which they reach by that authority.
    fn may_talk(&self, origin: &[u8], authority: Option<&str>) -> bool {
        let Ok(origin) = core::str::from_utf8(origin) else {
            return false;
        };
        if self
            .origins
            .iter()
            .any(|theirs| origin.eq_ignore_ascii_case(theirs))
        {
            return true;
        }
        // What stands in front of this server may speak TLS for it.
        let of_scheme = [("http://", ":80"), ("https://", ":443")];
        of_scheme.into_iter().any(|(scheme, usual)| {
            let start = origin.get(..scheme.len());
            let page = start.filter(|start| start.eq_ignore_ascii_case(scheme));
            let page = page.map(|_| &origin[scheme.len()..]);
            let without = |text: &str| text.strip_suffix(usual).unwrap_or(text).to_owned();
            page.zip(authority)
                .is_some_and(|(page, ours)| without(page).eq_ignore_ascii_case(&without(ours)))
        })
    }
}

/// The host and port that the request is for: those of an absolute target, else those of the header (RFC 9112, section 3.2.2). None is
/// an old client's.
fn authority<'a>(request: &Request<'a>) -> Option<&'a str> {
    let target = request.target;
    if !target.starts_with('/')
        && let Some((_, rest)) = target.split_once("://")
    {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        return Some(&rest[..end]);
    }
    // What is no text is no host of ours.
    let host = request.headers.get("host")?;
    Some(core::str::from_utf8(host).unwrap_or_default())
}

/// The host without its port; none if there is no host in front of it, or what is behind it is no port.
fn host_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let port = match port {
        "" => port,
        port => port.strip_prefix(':')?,
    };
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{RequestLimits, Requests};

    fn check(access: &Access, head: &str) -> Result<(), Problem> {
        let mut requests = Requests::new(RequestLimits::default());
        let text = format!("{head}\r\n\r\n");
        let request = requests.poll(&mut text.as_bytes()).unwrap().unwrap();
        access.check(&request)
    }

    #[test]
    fn hosts_are_addresses_localhost_and_names_that_were_given() {
        let access = Access::default().host("edge.example");
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:8080",
            "[fe80::1]:1",
            "localhost",
            "LocalHost:1",
            "localhost.:1",
            "edge.example",
            "EDGE.example:9999",
            "edge.example:",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}");
            assert_eq!(check(&access, &head), Ok(()), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.example:80",
            "edge.example.evil.example",
            "localhost.evil.example",
            "user@localhost",
            "localhost:80:90",
            "localhost:x",
            "[::1",
            "[::1]x",
            "[localhost]",
            "::1",
            "127.0.0.1.evil.example",
            "2130706433",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}");
            assert_eq!(check(&access, &head), Err(Problem::WrongHost), "{host}");
        }
    }

    #[test]
    fn an_absolute_target_counts_before_the_header() {
        let access = Access::default();
        let evil = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost";
        assert_eq!(check(&access, evil), Err(Problem::WrongHost));
        let ours = "GET http://localhost:1/?a=b://c HTTP/1.1\r\nHost: evil.example";
        assert_eq!(check(&access, ours), Ok(()));
        let in_query = "GET /?a=b://c HTTP/1.1\r\nHost: evil.example";
        assert_eq!(check(&access, in_query), Err(Problem::WrongHost));
        assert_eq!(check(&access, "GET / HTTP/1.0"), Ok(()));
        let old = "GET / HTTP/1.0\r\nOrigin: http://localhost";
        assert_eq!(check(&access, old), Err(Problem::ForgedOrigin));
    }

    #[test]
    fn origins_are_our_own_or_were_given() {
        let access = Access::default()
            .host("edge.example")
            .origin("https://grafana.example:3000");
        let check = |host: &str, origins: &[&str]| {
            let lines = origins.iter().map(|one| format!("\r\nOrigin: {one}"));
            let lines: String = lines.collect();
            check(&access, &format!("GET / HTTP/1.1\r\nHost: {host}{lines}"))
        };
        for (host, origin) in [
            ("localhost:1", "http://localhost:1"),
            ("LOCALHOST:1", "HTTP://localhost:1"),
            ("[::1]:1", "http://[::1]:1"),
            ("edge.example", "https://edge.example"),
            ("edge.example", "http://edge.example:80"),
            ("edge.example:443", "https://edge.example"),
            ("localhost:1", "https://grafana.example:3000"),
        ] {
            assert_eq!(check(host, &[origin]), Ok(()), "{host} {origin}");
        }
        assert_eq!(check("localhost:1", &[]), Ok(()));
        for origins in [
            &["null"][..],
            &[""],
            &["http://localhost"],
            &["http://localhost:2"],
            &["http://127.0.0.1:1"],
            &["ftp://localhost:1"],
            &["localhost:1"],
            &["http://localhost:1/"],
            &["http://localhost:1.evil.example"],
            &["http://evil.example"],
            &["https://grafana.example"],
            &["http://grafana.example:3000"],
            &["http://localhost:1", "http://localhost:1"],
            &["http://localhost:1", "http://evil.example"],
            &["http://lócalhost:1"],
        ] {
            let refused = Err(Problem::ForgedOrigin);
            assert_eq!(check("localhost:1", origins), refused, "{origins:?}");
        }
    }
}
