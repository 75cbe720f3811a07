//! ECDSA keys on the curves of RFC 5656 that are signed on.

use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use zeroize::Zeroizing;

use super::wire::put_mpint;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256, which is signed on with SHA-256.
    P256,
    /// NIST P-384, which is signed on with SHA-384.
    P384,
}

impl Curve {
    const ALL: [Self; 2] = [Self::P256, Self::P384];

    /// The curve of this SSH name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// Its name in SSH.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::P256 => b"nistp256",
            Self::P384 => b"nistp384",
        }
    }

    /// The name of its keys and signatures in SSH.
    pub fn algorithm(self) -> &'static [u8] {
        match self {
            Self::P256 => b"ecdsa-sha2-nistp256",
            Self::P384 => b"ecdsa-sha2-nistp384",
        }
    }

    /// How many bytes its private numbers have.
    fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }

    /// The `AlgorithmIdentifier` of its keys as DER (RFC 5480): id-ecPublicKey with the curve's OID.
    fn identifier(self) -> &'static [u8] {
        match self {
            Self::P256 => {
                b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
            }
            Self::P384 => b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
        }
    }
}

/// A key pair of its private number, without zeros before it, and its public point.
///
/// # Errors
/// When they are none, or do not belong together.
pub fn key_pair(curve: Curve, private: &[u8], public: &[u8]) -> Result<EcdsaKeyPair, KeyRejected> {
    let mut padded = Zeroizing::new(Vec::with_capacity(curve.bytes().max(private.len())));
    padded.resize(curve.bytes().saturating_sub(private.len()), 0);
    padded.extend(private);
    EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &padded, public, &SystemRandom::new())
}

/// A key in the format of PKCS#8 (RFC 5958), on whichever curve it is.
pub fn of_pkcs8(der: &[u8]) -> Option<(Curve, EcdsaKeyPair)> {
    let random = SystemRandom::new();
    Curve::ALL
        .into_iter()
        .find_map(|curve| Some((curve, EcdsaKeyPair::from_pkcs8(curve.signing(), der, &random).ok()?)))
}

/// A key in the format of SEC 1 (RFC 5915), by wrapping it into PKCS#8.
pub fn of_sec1(sec1: &[u8]) -> Option<(Curve, EcdsaKeyPair)> {
    let key = element(0x04, &[sec1]);
    Curve::ALL.into_iter().find_map(|curve| {
        let version = b"\x02\x01\x00";
        of_pkcs8(&element(0x30, &[version, curve.identifier(), &key]))
    })
}

/// A signature of the data as RFC 5656, section 3.1.2, has it: two numbers.
pub fn sign(pair: &EcdsaKeyPair, data: &[u8]) -> Option<Vec<u8>> {
    let signature = pair.sign(&SystemRandom::new(), data).ok()?;
    let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
    let mut numbers = Vec::new();
    put_mpint(&mut numbers, r);
    put_mpint(&mut numbers, s);
    Some(numbers)
}

/// A DER element of these parts, less than 64 KiB together: what is longer is no key.
fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let mut element = Zeroizing::new(Vec::with_capacity(4 + length));
    element.push(tag);
    match length {
        0..=0x7f => element.push(low),
        0x80..=0xff => element.extend([0x81, low]),
        _ => element.extend([0x82, high, low]),
    }
    parts.iter().for_each(|part| element.extend(*part));
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_elements_have_the_shortest_length() {
        for (length, header) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65_535, &[4, 0x82, 255, 255]),
        ] {
            let content = vec![7; length];
            let element = element(4, &[&content]);
            assert!(element.starts_with(header) && element.ends_with(&content), "{length}");
            assert_eq!(element.len(), header.len() + length);
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for bytes in [&[][..], &[0x30, 0], &[0; 70_000]] {
            assert!(of_sec1(bytes).is_none() && of_pkcs8(bytes).is_none());
        }
        assert!(key_pair(Curve::P256, &[1; 33], &[4; 65]).is_err());
        assert!(key_pair(Curve::P384, &[], &[]).is_err());
    }
}
