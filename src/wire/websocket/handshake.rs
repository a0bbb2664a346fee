//! The opening handshake, both sides (RFC 6455, section 4).
//!
//! Invariant: a connection is upgraded only if both sides have said all that section 4 asks of them;
//! whether its origin is welcome is the caller's to say.

use core::fmt;

use data_encoding::BASE64;
use sha1::{Digest as _, Sha1};

use crate::base::Reason;
use crate::wire::http::respond::{is_token, is_value};
use crate::wire::http::{Content, Method, NotSent, Request, Response, respond};
use crate::wire::{Full, Output};

/// Bytes of a nonce (RFC 6455, section 4.1).
pub const NONCE_BYTES: usize = 16;

/// Characters of a nonce in base64.
const KEY_BYTES: usize = 24;

/// What a server adds to a key, to show that it has understood (RFC 6455, section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer to a key.
fn accept_key(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX);
    BASE64.encode(&hash.finalize())
}

crate::reasons! {
    /// Why a request is no opening handshake.
    pub enum OfferFault {
        /// Not a `GET`.
        NotGet = "not_get",
        /// The headers `Connection` and `Upgrade` do not ask for a WebSocket.
        NoUpgrade = "no_upgrade",
        /// A version of the protocol other than 13.
        BadVersion = "bad_websocket_version",
        /// No key, more than one, or one that is not 16 bytes in base64.
        BadKey = "bad_websocket_key",
    }
}

impl OfferFault {
    /// The status code to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            OfferFault::NotGet => 405,
            OfferFault::NoUpgrade | OfferFault::BadVersion => 426,
            OfferFault::BadKey => 400,
        }
    }

    /// Answers the request, with what it should have said, and ends the connection.
    ///
    /// # Errors
    /// There is no room for it; nothing was written.
    pub fn refuse(self, output: &mut Output) -> Result<(), NotSent> {
        let text = format!("{self}\n");
        let headers = match self {
            OfferFault::NotGet => [("Allow", "GET"); 3],
            _ => [
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Connection", "Upgrade, close"),
            ],
        };
        let count = if self == OfferFault::NotGet { 1 } else { 3 };
        let content = Content::Sized(text.as_bytes());
        respond(output, self.status(), &headers[..count], content)
    }
}

impl fmt::Display for OfferFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OfferFault::NotGet => "a WebSocket is asked for with GET",
            OfferFault::NoUpgrade => "send Connection: Upgrade and Upgrade: websocket",
            OfferFault::BadVersion => "send Sec-WebSocket-Version: 13",
            OfferFault::BadKey => "send Sec-WebSocket-Key once: 16 bytes in base64",
        })
    }
}

impl core::error::Error for OfferFault {}

/// A client's wish to open a WebSocket, in good order: accept it or refuse it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    request: Request<'a>,
    key: &'a str,
}

impl<'a> Offer<'a> {
    /// The offer that the request makes.
    ///
    /// # Errors
    /// The request is no opening handshake.
    pub fn of(request: &Request<'a>) -> Result<Offer<'a>, OfferFault> {
        if request.method != Method::Get {
            return Err(OfferFault::NotGet);
        }
        if !request.wants_upgrade("websocket") {
            return Err(OfferFault::NoUpgrade);
        }
        let headers = request.headers;
        if headers.get("sec-websocket-version") != Some(b"13") {
            return Err(OfferFault::BadVersion);
        }
        let key = headers.text("sec-websocket-key");
        let key = key.filter(|key| key.len() == KEY_BYTES);
        let nonce = key.and_then(|key| BASE64.decode(key.as_bytes()).ok());
        match (key, nonce, headers.all("sec-websocket-key").count()) {
            (Some(key), Some(nonce), 1) if nonce.len() == NONCE_BYTES => Ok(Offer {
                request: *request,
                key,
            }),
            _ => Err(OfferFault::BadKey),
        }
    }

    /// The request that makes it.
    #[must_use]
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// Where the page came from that the client runs, if it is a browser: check it against what
    /// this server is for (RFC 6455, section 10.2).
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.request.headers.text("origin")
    }

    /// The subprotocols that the client speaks, the one it likes most first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.request.headers.list("sec-websocket-protocol");
        list.filter_map(|word| core::str::from_utf8(word).ok())
    }

    /// The first of `ours` that the client speaks too.
    #[must_use]
    pub fn choose<'p>(&self, ours: &[&'p str]) -> Option<&'p str> {
        let spoken = |protocol: &&str| self.protocols().any(|theirs| theirs == *protocol);
        ours.iter().copied().find(|protocol| spoken(protocol))
    }

    /// Accepts it, speaking that subprotocol if any. From here on the connection is a WebSocket.
    ///
    /// # Errors
    /// There is no room for the response, or `protocol` may not stand in a header.
    pub fn accept(&self, output: &mut Output, protocol: Option<&str>) -> Result<(), NotSent> {
        let accept = accept_key(self.key.as_bytes());
        let headers = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept.as_str()),
            ("Sec-WebSocket-Protocol", protocol.unwrap_or_default()),
        ];
        let count = if protocol.is_some() { 4 } else { 3 };
        respond(output, 101, &headers[..count], Content::None)
    }
}

/// What a client asks a server for. Every text of it is checked when it is made.
///
/// ```
/// use hopline::wire::websocket::Opening;
/// let opening = Opening::new("stream.example:9443", "/ws?streams=btcusdt@trade").unwrap();
/// let opening = opening.protocol("hopline.v1.json").unwrap();
/// assert!(Opening::new("example\r\nX: y", "/").is_none());
/// # drop(opening);
/// ```
#[derive(Clone, Debug)]
pub struct Opening {
    host: String,
    target: String,
    protocols: Vec<String>,
    headers: Vec<(String, String)>,
}

impl Opening {
    /// A WebSocket at `target`, a path with its query, of `host`, with its port unless it is the
    /// usual one; `None` if either may not stand where it has to in a request.
    #[must_use]
    pub fn new(host: &str, target: &str) -> Option<Opening> {
        let of_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        let good = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic())
            && target.starts_with('/')
            && target.bytes().all(of_target);
        good.then(|| Opening {
            host: host.to_owned(),
            target: target.to_owned(),
            protocols: Vec::new(),
            headers: Vec::new(),
        })
    }

    /// Offers that subprotocol as well, less liked than those before; `None` if it is no token.
    #[must_use]
    pub fn protocol(mut self, protocol: &str) -> Option<Opening> {
        is_token(protocol).then(|| {
            self.protocols.push(protocol.to_owned());
            self
        })
    }

    /// Sends that header as well; `None` if it may not be one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Option<Opening> {
        (is_token(name) && is_value(value)).then(|| {
            self.headers.push((name.to_owned(), value.to_owned()));
            self
        })
    }

    /// Writes the request, with a nonce that should not be guessed (RFC 6455, section 10.3).
    ///
    /// # Errors
    /// There is no room for all of it; nothing was written.
    pub fn write(&self, output: &mut Output, nonce: [u8; NONCE_BYTES]) -> Result<(), Full> {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
            self.target,
            self.host,
            BASE64.encode(&nonce),
        );
        if !self.protocols.is_empty() {
            let list = self.protocols.join(", ");
            text.push_str(&format!("Sec-WebSocket-Protocol: {list}\r\n"));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        output.push(text.as_bytes())
    }

    /// Checks the response to the request with that nonce, and gives the subprotocol that the
    /// server chose: its place among those that were offered.
    ///
    /// # Errors
    /// The server refuses, or has not understood.
    pub fn check(
        &self,
        response: &Response<'_>,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Option<usize>, AnswerFault> {
        let headers = response.headers;
        if response.status != 101 {
            return Err(AnswerFault::Refused);
        }
        if !headers.has_word("upgrade", "websocket") || !headers.has_word("connection", "upgrade") {
            return Err(AnswerFault::NoUpgrade);
        }
        let expected = accept_key(BASE64.encode(&nonce).as_bytes());
        let mut accepts = headers.all("sec-websocket-accept");
        if accepts.next() != Some(expected.as_bytes()) || accepts.next().is_some() {
            return Err(AnswerFault::BadAccept);
        }
        if headers.get("sec-websocket-extensions").is_some() {
            return Err(AnswerFault::BadExtension);
        }
        let Some(chosen) = headers.get("sec-websocket-protocol") else {
            return Ok(None);
        };
        let offered = |ours: &String| ours.as_bytes() == chosen;
        match self.protocols.iter().position(offered) {
            Some(at) => Ok(Some(at)),
            None => Err(AnswerFault::BadProtocol),
        }
    }
}

crate::reasons! {
    /// Why a server's answer opens no WebSocket.
    pub enum AnswerFault {
        /// Its status is not 101.
        Refused = "handshake_refused",
        /// Its headers do not say that the protocol changes.
        NoUpgrade = "no_upgrade",
        /// It does not know the nonce, so it answers somebody else.
        BadAccept = "bad_websocket_accept",
        /// It speaks an extension that was not offered: none is.
        BadExtension = "bad_extension",
        /// It speaks a subprotocol that was not offered.
        BadProtocol = "bad_subprotocol",
    }
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server opens no WebSocket: {}", self.name())
    }
}

impl core::error::Error for AnswerFault {}
