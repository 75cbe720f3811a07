//! The requests of the agent protocol that pass, and their answers from private keys (draft-ietf-sshm-ssh-agent).

use super::key::{Hash, Key};
use super::wire::{put_string, put_u32, take_string, take_u32};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// A request that a build may make of an agent. All others, which add, remove, lock or extend, are refused; so are they
/// by BuildKit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// List the keys.
    Identities,
    /// Sign some data.
    Sign,
}

impl Request {
    /// The request that a message makes, if it is one that may pass.
    pub fn of(message: &[u8]) -> Option<Self> {
        match message {
            [REQUEST_IDENTITIES] => Some(Self::Identities),
            [SIGN_REQUEST, ..] => Some(Self::Sign),
            _ => None,
        }
    }

    /// Whether a message is an answer to this request.
    pub fn is_answered_by(self, message: &[u8]) -> bool {
        let answer = match self {
            Self::Identities => IDENTITIES_ANSWER,
            Self::Sign => SIGN_RESPONSE,
        };
        message.first().is_some_and(|&kind| kind == answer || kind == FAILURE)
    }
}

/// The message that says no.
pub fn failure() -> Vec<u8> {
    vec![FAILURE]
}

/// Answers a request.
pub fn answer(request: Request, message: &[u8], keys: &[Key]) -> Vec<u8> {
    match request {
        Request::Identities => identities(keys),
        Request::Sign => sign(message.get(1..).unwrap_or_default(), keys).unwrap_or_else(failure),
    }
}

fn identities(keys: &[Key]) -> Vec<u8> {
    let mut answer = vec![IDENTITIES_ANSWER];
    put_u32(&mut answer, keys.len());
    for key in keys {
        put_string(&mut answer, key.public_blob());
        // The comment; BuildKit's keys have none.
        put_string(&mut answer, b"");
    }
    answer
}

fn sign(mut body: &[u8], keys: &[Key]) -> Option<Vec<u8>> {
    let blob = take_string(&mut body)?;
    let data = take_string(&mut body)?;
    let flags = take_u32(&mut body)?;
    if !body.is_empty() {
        return None;
    }
    let key = keys.iter().find(|key| key.public_blob() == blob)?;
    let hash = match flags {
        _ if flags & RSA_SHA2_256 != 0 => Hash::Sha256,
        _ if flags & RSA_SHA2_512 != 0 => Hash::Sha512,
        _ => Hash::Sha1,
    };
    let mut answer = vec![SIGN_RESPONSE];
    put_string(&mut answer, &key.sign(data, hash)?);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listing_and_signing_pass() {
        for kind in 0..=u8::MAX {
            let expected = match kind {
                11 => Some(Request::Identities),
                13 => Some(Request::Sign),
                _ => None,
            };
            assert_eq!(Request::of(&[kind]), expected, "{kind}");
        }
        assert_eq!(Request::of(&[11, 0]), None);
        assert_eq!(Request::of(&[]), None);
    }

    #[test]
    fn an_answer_fits_its_request() {
        assert!(Request::Identities.is_answered_by(&[12, 0, 0, 0, 0]));
        assert!(Request::Sign.is_answered_by(&[14]) && Request::Sign.is_answered_by(&[5]));
        assert!(!Request::Sign.is_answered_by(&[12]) && !Request::Identities.is_answered_by(&[6]));
        assert!(!Request::Identities.is_answered_by(&[]));
    }

    #[test]
    fn a_request_to_sign_that_is_cut_or_names_no_key_fails() {
        let mut whole = vec![SIGN_REQUEST];
        put_string(&mut whole, b"no such key");
        put_string(&mut whole, b"data");
        put_u32(&mut whole, 0);
        for length in 1..=whole.len() {
            assert_eq!(answer(Request::Sign, &whole[..length], &[]), failure(), "{length}");
        }
    }
}
