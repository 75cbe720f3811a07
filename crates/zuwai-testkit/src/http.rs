//! HTTP/1.1 as far as servers of tests need it (RFC 9112): requests are read, answers are the servers' own.

use std::io::{self, BufRead, Read};

/// Longest request line with its headers that is read.
const HEAD_LIMIT: u64 = 64 << 10;

/// A request without its body.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Names as they came, values without white space around them.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads one; `None` if the peer closed instead of asking.
    ///
    /// # Errors
    /// What the connection says, and `InvalidData` for what is no request.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut reader = reader.take(HEAD_LIMIT);
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request line"));
        };
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None if line.trim_end().is_empty() && line.ends_with('\n') => break,
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "no header")),
            }
        }
        Ok(Some(Self { method, target, headers }))
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The path, as it came.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's fields, decoded.
    #[must_use]
    pub fn query(&self) -> Vec<(String, String)> {
        self.target.split_once('?').map_or_else(Vec::new, |(_, query)| fields(query))
    }

    /// The first value of one of the query's fields, decoded.
    #[must_use]
    pub fn query_field(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The body's length in bytes, where the request says it; a request that says nothing has none.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self.header("transfer-encoding") {
            Some(_) => None,
            None => Some(self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)),
        }
    }

    /// The body that follows in `reader`.
    pub fn body<'r, R: BufRead>(&self, reader: &'r mut R) -> Body<'r, R> {
        let length = self.length();
        Body { reader, left: length.unwrap_or(0), chunked: length.is_none(), first: true }
    }
}

/// A request's body, which ends where the request does.
#[derive(Debug)]
pub struct Body<'r, R> {
    reader: &'r mut R,
    /// Of the body, or of the chunk.
    left: u64,
    chunked: bool,
    first: bool,
}

impl<R: BufRead> Body<'_, R> {
    /// Reads the next chunk's length, after the end of the one before.
    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        if !std::mem::take(&mut self.first) {
            self.reader.by_ref().take(2).read_line(&mut line)?;
            line.clear();
        }
        self.reader.by_ref().take(HEAD_LIMIT).read_line(&mut line)?;
        let digits = line.trim_end().split(';').next().unwrap_or_default();
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "no chunk");
        self.left = u64::from_str_radix(digits, 16).map_err(wrong)?;
        if self.left == 0 {
            self.chunked = false;
            // Trailers, and the empty line.
            while self.reader.by_ref().take(HEAD_LIMIT).read_line(&mut line)? > 2 {}
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.chunked {
            self.next_chunk()?;
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// The fields of a query or a form, decoded.
#[must_use]
pub fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let split = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => (unescape(name), unescape(value)),
        None => (unescape(pair), String::new()),
    };
    pairs.map(split).collect()
}

/// Undoes `%XX` and `+`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' if rest.len() >= 2 => {
                let code =
                    std::str::from_utf8(&rest[..2]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(code.unwrap_or(b'%'));
                rest = &rest[2..];
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_both_kinds_end_where_they_say() {
        let chunked = "POST /a?b=c%3Ad&e HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let plain = "PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nfg";
        let mut reader = io::BufReader::new(io::Cursor::new(format!("{chunked}{plain}")));
        let mut bodies = Vec::new();
        while let Some(head) = Head::read(&mut reader).unwrap() {
            let mut body = String::new();
            head.body(&mut reader).read_to_string(&mut body).unwrap();
            bodies.push((head.method.clone(), head.query_field("b"), body));
        }
        let expected = [("POST", Some("c:d"), "abcde"), ("PUT", None, "fg")];
        let owned = |(method, field, body): (&str, Option<&str>, &str)| {
            (method.to_owned(), field.map(str::to_owned), body.to_owned())
        };
        assert_eq!(bodies, expected.map(owned));
    }

    #[test]
    fn a_body_that_is_cut_is_an_error() {
        let mut reader = io::BufReader::new(&b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nfg"[..]);
        let head = Head::read(&mut reader).unwrap().unwrap();
        let mut body = Vec::new();
        assert!(head.body(&mut reader).read_to_end(&mut body).is_err());
        assert_eq!(body, b"fg");
    }
}
