//! Messages of the agent protocol, and the data types they are made of.
//!
//! A message is its length, as a big-endian `uint32`, and that many bytes, the first of which is its type
//! (draft-ietf-sshm-ssh-agent, section 3). `string` and `mpint` are those of RFC 4251, section 5.

use std::io::{self, ErrorKind, Read, Write};

/// No message is longer, in bytes after its length: OpenSSH's limit.
const MESSAGE_LIMIT: usize = 256 << 10;

/// Reads a message, without its length; `None` where the stream ends before one.
///
/// # Errors
/// When it cannot be read, ends half-way, is empty or is longer than the limit.
pub fn read_message(mut stream: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let first = loop {
        match stream.read(&mut length) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[first..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length == 0 || length > MESSAGE_LIMIT {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("an agent message of {length} bytes")));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// Writes a message with its length.
///
/// # Errors
/// When it cannot be written or is longer than the limit.
pub fn write_message(mut stream: impl Write, message: &[u8]) -> io::Result<()> {
    if message.len() > MESSAGE_LIMIT {
        let text = format!("an agent message of {} bytes", message.len());
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    let mut framed = Vec::with_capacity(4 + message.len());
    put_string(&mut framed, message);
    stream.write_all(&framed)
}

/// Adds a `uint32`. Lengths of what fits in a message fit in one.
pub fn put_u32(to: &mut Vec<u8>, number: usize) {
    to.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

/// Adds a `string`.
pub fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(to, bytes.len());
    to.extend(bytes);
}

/// Adds an `mpint` that is not negative, given as big-endian bytes.
pub fn put_mpint(to: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let digits = &number[zeros..];
    let sign = usize::from(digits.first().is_some_and(|&byte| byte >= 0x80));
    put_u32(to, sign + digits.len());
    to.extend(&[0][..sign]);
    to.extend(digits);
}

/// Takes a `uint32` off the front; `None` where there is none.
pub fn take_u32(from: &mut &[u8]) -> Option<u32> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_be_bytes(*number))
}

/// Takes a `string` off the front; `None` where there is no whole one.
pub fn take_string<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(from)? as usize;
    let (string, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_a_length_and_a_limit() {
        let mut stream = Vec::new();
        write_message(&mut stream, &[11]).unwrap();
        write_message(&mut stream, &vec![7; MESSAGE_LIMIT]).unwrap();
        let mut rest = stream.as_slice();
        assert_eq!(read_message(&mut rest).unwrap(), Some(vec![11]));
        assert_eq!(read_message(&mut rest).unwrap().unwrap().len(), MESSAGE_LIMIT);
        assert_eq!(read_message(&mut rest).unwrap(), None);
        assert!(write_message(io::sink(), &vec![7; MESSAGE_LIMIT + 1]).is_err());
        for bad in [&[0, 0, 0, 0][..], &[0, 4, 0, 1, 0], &[0xff; 8], &[0, 0, 0, 2, 11], &[0, 0]] {
            assert!(read_message(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn strings_are_taken_whole_or_not_at_all() {
        let mut written = Vec::new();
        put_string(&mut written, b"abc");
        put_u32(&mut written, 4);
        let mut rest = written.as_slice();
        assert_eq!(take_string(&mut rest), Some(&b"abc"[..]));
        assert_eq!(take_u32(&mut rest), Some(4));
        assert_eq!(take_u32(&mut rest), None);
        for bad in [&[][..], &[0, 0, 0], &[0, 0, 0, 2, 1], &[0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(take_string(&mut &*bad), None, "{bad:?}");
        }
    }

    /// The numbers are those of RFC 4251, section 5, and one with zeros before it.
    #[test]
    fn multiple_precision_integers_are_as_in_rfc_4251() {
        for (number, expected) in [
            (&[][..], &[0, 0, 0, 0][..]),
            (&[0], &[0, 0, 0, 0]),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[9, 0xa3, 0x78], &[0, 0, 0, 3, 9, 0xa3, 0x78]),
            (&[0, 0, 0xff], &[0, 0, 0, 2, 0, 0xff]),
        ] {
            let mut written = Vec::new();
            put_mpint(&mut written, number);
            assert_eq!(written, expected, "{number:?}");
        }
    }
}
