//! Private keys in OpenSSH's own format, `openssh-key-v1` (PROTOCOL.key in OpenSSH's sources).

use super::wire::{take_string, take_u32};

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A key that needs a passphrase.
    Encrypted,
    /// A key that needs none.
    Plain(PrivateKey<'a>),
}

/// The numbers of a private key. Those of RSA and ECDSA are big-endian, without zeros before them.
#[derive(PartialEq, Eq)]
pub enum PrivateKey<'a> {
    /// `ssh-ed25519`.
    Ed25519 { seed: &'a [u8], public: &'a [u8] },
    /// `ecdsa-sha2-...`: the name of the curve, the public point and the private number.
    Ecdsa { curve: &'a [u8], public: &'a [u8], private: &'a [u8] },
    /// `ssh-rsa`.
    Rsa(RsaNumbers<'a>),
    /// Another algorithm, by name.
    Other(&'a [u8]),
}

/// The numbers of an RSA key as OpenSSH keeps them.
#[derive(PartialEq, Eq)]
pub struct RsaNumbers<'a> {
    /// The modulus.
    pub n: &'a [u8],
    /// The public exponent.
    pub e: &'a [u8],
    /// The private exponent.
    pub d: &'a [u8],
    /// The inverse of q modulo p.
    pub q_inverse: &'a [u8],
    /// The one prime.
    pub p: &'a [u8],
    /// The other prime.
    pub q: &'a [u8],
}

/// Reads the content of a file, that is, of its PEM section; `None` where it is not of this format, or broken.
pub fn parse(bytes: &[u8]) -> Option<Content<'_>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let cipher = take_string(&mut rest)?;
    let _derivation = take_string(&mut rest)?;
    let _derivation_options = take_string(&mut rest)?;
    let keys = take_u32(&mut rest)?;
    let _public = take_string(&mut rest)?;
    let private = take_string(&mut rest)?;
    if keys != 1 {
        return None;
    }
    if cipher != b"none" {
        return Some(Content::Encrypted);
    }
    plain(private).map(Content::Plain)
}

fn plain(mut rest: &[u8]) -> Option<PrivateKey<'_>> {
    // Twice the same number: with the wrong passphrase, two different ones.
    if take_u32(&mut rest)? != take_u32(&mut rest)? {
        return None;
    }
    let key = match take_string(&mut rest)? {
        b"ssh-ed25519" => {
            let public = take_string(&mut rest)?;
            let (seed, again) = take_string(&mut rest)?.split_at_checked(32)?;
            if again != public {
                return None;
            }
            PrivateKey::Ed25519 { seed, public }
        }
        b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521" => PrivateKey::Ecdsa {
            curve: take_string(&mut rest)?,
            public: take_string(&mut rest)?,
            private: take_number(&mut rest)?,
        },
        b"ssh-rsa" => PrivateKey::Rsa(RsaNumbers {
            n: take_number(&mut rest)?,
            e: take_number(&mut rest)?,
            d: take_number(&mut rest)?,
            q_inverse: take_number(&mut rest)?,
            p: take_number(&mut rest)?,
            q: take_number(&mut rest)?,
        }),
        other => return Some(PrivateKey::Other(other)),
    };
    let _comment = take_string(&mut rest)?;
    let padding_counts = rest.iter().zip(1u8..).all(|(&byte, number)| byte == number);
    padding_counts.then_some(key)
}

/// Takes an `mpint` that is not negative.
fn take_number<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let number = take_string(from)?;
    if number.first().is_some_and(|&byte| byte >= 0x80) {
        return None;
    }
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    Some(&number[zeros..])
}

impl std::fmt::Debug for PrivateKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[private key]")
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{put_mpint, put_string, put_u32};
    use super::*;

    fn file(cipher: &str, private: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        put_string(&mut file, cipher.as_bytes());
        put_string(&mut file, b"none");
        put_string(&mut file, b"");
        put_u32(&mut file, 1);
        put_string(&mut file, b"public");
        put_string(&mut file, private);
        file
    }

    fn ecdsa(padding: &[u8]) -> Vec<u8> {
        let mut private = [7; 8].to_vec();
        put_string(&mut private, b"ecdsa-sha2-nistp256");
        put_string(&mut private, b"nistp256");
        put_string(&mut private, b"point");
        put_mpint(&mut private, &[0, 0, 0x80, 1]);
        put_string(&mut private, b"comment");
        private.extend(padding);
        private
    }

    #[test]
    fn numbers_come_without_zeros_before_them() {
        let bytes = file("none", &ecdsa(&[1, 2, 3]));
        let expected = PrivateKey::Ecdsa { curve: b"nistp256", public: b"point", private: &[0x80, 1] };
        assert_eq!(parse(&bytes), Some(Content::Plain(expected)));
        assert_eq!(format!("{:?}", parse(&bytes)), "Some(Plain([private key]))");
    }

    #[test]
    fn what_is_broken_is_no_key() {
        let whole = file("none", &ecdsa(&[]));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(&file("none", &ecdsa(&[1, 3]))), None);
        let mut unequal = ecdsa(&[]);
        unequal[0] ^= 1;
        assert_eq!(parse(&file("none", &unequal)), None);
        assert_eq!(parse(&file("aes256-ctr", b"anything")), Some(Content::Encrypted));
    }
}
