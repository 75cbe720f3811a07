//! RSA keys as OpenSSH writes them, which leaves out two numbers that signing wants.

use ring::error::KeyRejected;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::RsaKeyPair;
use zeroize::Zeroizing;

use super::openssh::RsaNumbers;

/// The key pair, with the exponents for its primes: d mod (p - 1) and d mod (q - 1).
///
/// # Errors
/// When its numbers do not fit together, or are too small or too large.
pub fn key_pair(key: &RsaNumbers<'_>) -> Result<RsaKeyPair, KeyRejected> {
    RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: key.n, e: key.e },
        d: key.d,
        p: key.p,
        q: key.q,
        dP: &*exponent(key.d, key.p),
        dQ: &*exponent(key.d, key.q),
        qInv: key.q_inverse,
    })
}

/// d mod (p - 1), without zeros before it.
fn exponent(d: &[u8], p: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut less_one = Zeroizing::new(p.to_vec());
    // A prime of a key is odd; what is not is found out later.
    if let Some(last) = less_one.last_mut() {
        *last &= !1;
    }
    let mut exponent = remainder(d, &less_one);
    let zeros = exponent.iter().take_while(|&&byte| byte == 0).count();
    exponent.drain(..zeros);
    exponent
}

/// The remainder of big-endian numbers, bit by bit: it is wanted twice for a key, when that is read.
fn remainder(dividend: &[u8], modulus: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut modulus = Zeroizing::new(modulus.to_vec());
    modulus.insert(0, 0);
    let mut rest = Zeroizing::new(vec![0; modulus.len()]);
    if modulus.iter().all(|&byte| byte == 0) {
        return rest;
    }
    for bit in dividend.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let out = *byte >> 7;
            *byte = *byte << 1 | carry;
            carry = out;
        }
        if *rest >= *modulus {
            let mut borrow = false;
            for (byte, less) in rest.iter_mut().zip(modulus.iter()).rev() {
                let (once, first) = byte.overflowing_sub(*less);
                let (twice, second) = once.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (twice, first || second);
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_of_small_numbers() {
        let of = |dividend: u64, modulus: u64| {
            let rest = remainder(&dividend.to_be_bytes(), &modulus.to_be_bytes());
            rest.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        for dividend in [0, 1, 255, 256, 65_537, 0x0123_4567_89ab_cdef, u64::MAX] {
            for modulus in [1, 2, 3, 255, 256, 257, 65_535, 0xffff_ffff_0000_0001, u64::MAX] {
                assert_eq!(of(dividend, modulus), dividend % modulus, "{dividend} % {modulus}");
            }
        }
        assert_eq!(of(7, 0), 0);
    }
}
