//! Why a WebSocket is closed: the codes that the edge uses, and what a client makes of them.
//!
//! | codes | mean | by |
//! |---|---|---|
//! | 1000-2999 | the protocol's own | RFC 6455, section 7.4 |
//! | 3000-3499 | come back | Centrifugo's division |
//! | 3500-3999 | do not come back: it would be refused again | |
//!
//! A client that knows a code's number alone knows what to do.
//!
//! Invariant: each code is given for one reason, which a counter can name.

use crate::base::Reason;
use crate::wire::websocket::{REASON_BYTES_MAX, Violation};

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $number:literal $name:literal $reason:literal),+ $(,)?) => {
        crate::reasons! {
            /// Why a connection is closed.
            pub enum Code { $($(#[$meta])* $variant = $name),+ }
        }

        impl Code {
            /// The number in the close frame.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Code::$variant => $number),+ }
            }

            /// The words in the close frame, for people.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Code::$variant => const {
                        assert!($reason.len() <= REASON_BYTES_MAX);
                        $reason
                    }),+
                }
            }
        }
    };
}

codes! {
    /// The client said that it goes.
    Bye = 1000 "bye" "bye",
    /// A frame that breaks the protocol.
    Protocol = 1002 "protocol" "a frame breaks the protocol",
    /// A text that is not UTF-8.
    NotUtf8 = 1007 "not_utf8" "a text is not UTF-8",
    /// A message over the limit that `hello` tells.
    TooLong = 1009 "too_long" "a message is longer than max_msg of hello",
    /// The server drains its clients: each has a time of its own to come back.
    Drain = 3000 "drain" "the server drains; come back",
    /// The server ends.
    Ended = 3001 "ended" "the server ends",
    /// No more clients are let in now: it has a time of its own to come back.
    Busy = 3002 "busy" "no more clients are let in now; come back",
    /// What waited for the client went over its bound. It comes back to a snapshot.
    Slow = 3008 "slow" "too much waited for this client",
    /// No sign of life for as long as `hello` allows, or no `hello` in time.
    Silent = 3009 "silent" "no sign of life from this client",
    /// More messages than a client may send.
    Flood = 3013 "flood" "too many messages from this client",
    /// The token is none that opens this.
    BadAuth = 3500 "bad_auth" "the token is not accepted",
    /// No version of the protocol that is spoken here.
    BadVersion = 3501 "bad_version" "speak the subprotocol hopline.v1.json",
}

impl Code {
    /// The code of that number, if the edge gives it.
    #[must_use]
    pub fn of_number(number: u16) -> Option<Code> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }

    /// Whether a client that was closed so should connect again, after its back-off or when it was told to.
    ///
    /// ```
    /// use hopline::edge::Code;
    /// assert!(Code::Slow.reconnects() && Code::Flood.reconnects());
    /// assert!(!Code::Bye.reconnects() && !Code::TooLong.reconnects() && !Code::BadAuth.reconnects());
    /// ```
    #[must_use]
    pub const fn reconnects(self) -> bool {
        // What broke the protocol's own rules would do so again.
        matches!(self.number(), 3000..3500)
    }

    /// The code of a connection that `wire` has failed; none for one that is cut off, to which nothing can be said.
    #[must_use]
    pub const fn of_violation(violation: Violation) -> Option<Code> {
        match violation {
            Violation::CutOff => None,
            Violation::TooLong => Some(Code::TooLong),
            Violation::NotUtf8 => Some(Code::NotUtf8),
            Violation::Unmasked
            | Violation::Masked
            | Violation::ReservedBits
            | Violation::BadOpcode
            | Violation::FragmentedControl
            | Violation::ControlTooLong
            | Violation::BadFragment
            | Violation::BadClose => Some(Code::Protocol),
        }
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}: {}", self.number(), self.name(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_given_once_and_may_be_sent() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::of_number(code.number()), Some(*code));
            let others = Code::ALL[at + 1..].iter();
            assert!(others.clone().all(|other| other.number() > code.number()));
            // Neither those that stand for what was not sent, nor those that nobody has given a meaning.
            assert!(matches!(code.number(), 1000..=1003 | 1007..=1014 | 3000..=3999));
        }
        assert_eq!(Code::of_number(1006), None);
    }

    #[test]
    fn who_was_closed_for_what_it_would_do_again_does_not_come_back() {
        let (back, away): (Vec<Code>, Vec<Code>) =
            Code::ALL.iter().partition(|code| code.reconnects());
        let numbers = |codes: &[Code]| codes.iter().map(|code| code.number()).collect::<Vec<u16>>();
        assert_eq!(numbers(&back), [3000, 3001, 3002, 3008, 3009, 3013]);
        assert_eq!(numbers(&away), [1000, 1002, 1007, 1009, 3500, 3501]);
    }

    #[test]
    fn what_wire_closes_with_is_the_number_here() {
        for violation in Violation::ALL {
            match Code::of_violation(*violation) {
                Some(code) => assert_eq!(code.number(), violation.code()),
                None => assert_eq!(violation.code(), 1006),
            }
        }
    }
}
